"""Carbon and money of receipts under new factors. Receipts never change; every version of the figure is kept.

A view is energy times a rate. Its uncertainty is the energy's alone: few sources of factors state theirs, and where
they do not, a number of ours would be made up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import cast

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.measurement import Factor, Grade, Scope, utc
from outweigh.core.quantities import (
    Carbon,
    CarbonBasis,
    CarbonIntensity,
    CarbonScope,
    LocationCarbon,
    MarginalCarbon,
    MarketCarbon,
    Money,
    Price,
)
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ports import KeepsViews, ReceiptFilter, Store, View, ViewKind

METHOD = "energy-times-rate 1"
_BATCH = 500  # views a transaction: one flush for many, and no writer waits long
_CARBON: dict[CarbonBasis, type[Carbon]] = {
    CarbonBasis.LOCATION: LocationCarbon,
    CarbonBasis.MARKET: MarketCarbon,
    CarbonBasis.MARGINAL: MarginalCarbon,
}


def recompute(
    store: Store,
    which: ReceiptFilter,
    factors: tuple[CarbonIntensity, Factor] | tuple[Price, Factor],
    *,
    pue: tuple[float, Factor] | None = None,
    now: datetime | None = None,
) -> tuple[View, ...]:
    """Take a view of each receipt and keep it beside the earlier ones.

    Args:
        which: the receipts. Those whose figure is unusable get no view: carbon of an unknown energy is unknown.
        factors: the rate and where it came from, as a `GridSource` gives them.
        pue: power usage effectiveness (at least 1) and where it came from; the view is then of facility energy, and a
            receipt measured at the facility already gets none of it twice. None leaves IT energy as it is.
        now: the stamp of new views; the clock's when None.

    Returns:
        One view a receipt, in the ledger's order, whether new or kept already: doing it twice adds nothing.

    Raises:
        UsageError: the store keeps no views.
        InvalidQuantity: a PUE below 1.
        LedgerError: the ledger cannot be read or written. Views kept before stay; repeating goes on from there.
    """
    keeper = _keeper(store)
    if pue is not None and not pue[0] >= 1:
        raise InvalidQuantity("PUE", repr(pue[0]), "a facility draws at least what its machines draw: give 1 or more")
    stamp = utc(now or datetime.now(UTC))
    taken = [
        _view(address, receipt, factors, pue, stamp)
        for address, receipt in store.receipts(which)
        if receipt.status is not RunStatus.UNUSABLE
    ]
    for start in range(0, len(taken), _BATCH):
        keeper.append_views(taken[start : start + _BATCH])
    kept = {_identity(view): view for view in _of(keeper, taken)}
    return tuple(kept[_identity(view)] for view in taken)


def views(store: Store, address: str) -> tuple[View, ...]:
    """Every view of the receipt at `address` (or the start of it), the oldest first.

    Raises:
        UsageError: no receipt or several begin so, or the store keeps no views.
    """
    keeper = _keeper(store)
    return tuple(keeper.views(store.get(address).content_hash))


def carbon_of(view: View) -> Carbon:
    """The carbon of a view, typed by its basis and scope, so that two kinds never add."""
    value = _value(view, ViewKind.CARBON)
    kind = _CARBON[CarbonBasis(str(value["basis"]))]
    return kind(float(value["carbon_g"]), CarbonScope(str(value["scope"])))


def money_of(view: View) -> Money:
    """The money of a view, in its currency."""
    value = _value(view, ViewKind.COST)
    return Money(float(value["cost"]), str(value["currency"]))


def _view(
    address: str,
    receipt: Receipt,
    factors: tuple[CarbonIntensity, Factor] | tuple[Price, Factor],
    pue: tuple[float, Factor] | None,
    stamp: str,
) -> View:
    rate, factor = factors
    times = 1.0
    sources: tuple[Factor, ...] = (factor,)
    if pue is not None and receipt.total.scope is not Scope.FACILITY:
        times, sources = pue[0], (factor, pue[1])
    energy, spread = receipt.total.value * times, receipt.total.standard_uncertainty * times
    value: dict[str, str | float] = {
        "energy_j": energy.joules,
        "energy_scope": receipt.total.scope.value,
        "pue": times,
        "grade": Grade.worst((receipt.grade, *(source.grade for source in sources))).value,
    }
    if isinstance(rate, Price):
        money = energy * rate
        value |= {
            "cost": money.amount,
            "cost_standard_of_energy": abs((spread * rate).amount),
            "currency": money.currency,
            "price_per_kwh": rate.amount_per_kwh,
        }
    else:
        carbon = energy * rate
        value |= {
            "carbon_g": carbon.grams,
            "carbon_standard_of_energy_g": abs((spread * rate).grams),
            "basis": carbon.basis.value,
            "scope": carbon.scope.value,
            "intensity_g_per_kwh": rate.g_per_kwh,
        }
    kind = ViewKind.COST if isinstance(rate, Price) else ViewKind.CARBON
    return View(
        receipt=address,
        kind=kind,
        factor_set=_factor_set(kind, value, sources),
        factors=sources,
        value=tuple(sorted(value.items())),
        method=METHOD,
        computed_at=stamp,
    )


_RATE = ("basis", "scope", "intensity_g_per_kwh", "currency", "price_per_kwh", "pue")


def _factor_set(kind: ViewKind, value: dict[str, str | float], sources: Sequence[Factor]) -> str:
    rate = {name: value[name] for name in _RATE if name in value}
    body = {"kind": kind.value, "rate": rate, "factors": [asdict(source) for source in sources]}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _identity(view: View) -> tuple[str, str, str, str]:
    return view.receipt, view.kind.value, view.factor_set, view.method


def _of(keeper: KeepsViews, taken: Sequence[View]) -> Iterator[View]:
    """What is kept of the receipts in `taken`; one look at all of them where there are many."""
    if len(taken) > _BATCH:
        yield from keeper.views()
        return
    for view in taken:
        yield from keeper.views(view.receipt)


def _keeper(store: Store) -> KeepsViews:
    if not isinstance(store, KeepsViews):
        raise UsageError(f"a {store.name} ledger keeps no views", "Use a sqlite or postgresql ledger")
    return cast("KeepsViews", store)


def _value(view: View, kind: ViewKind) -> dict[str, str | float]:
    if view.kind is not kind:
        raise TypeError(f"this is a {view.kind} view, not a {kind} view")
    return dict(view.value)
