"""`outweigh estimate`: what was asked into estimates, and receipts held against them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any

from outweigh.app.estimating_asked import (
    Asked,
    check_belongs,
    device_of,
    overheads_of,
    parse_count,
    parse_range,
    place_of,
    work_of,
)
from outweigh.app.estimating_rows import Table, compared, document, reconciled_document, reconciled_lines, table_of
from outweigh.core.constants import S_PER_HOUR, S_PER_YEAR
from outweigh.core.errors import UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Missing
from outweigh.whatif.estimating.estimate import Estimate, Figure, Place, estimate, utilisation_of
from outweigh.whatif.estimating.learning import Learned, Observation, Reconciled, learned_factor, reconcile
from outweigh.whatif.estimating.ranges import METHOD, Propagated
from outweigh.whatif.estimating.work import DeviceHours, Serving, Training, Work

if TYPE_CHECKING:
    from outweigh.core.receipt import Receipt

_LONGEST_S = 20 * S_PER_YEAR
_METERED_S = 900  # a step of the load that is billed


@dataclass(frozen=True, slots=True)
class Estimated:
    """Rows as JSON, tables as people read them, and notes."""

    documents: list[dict[str, Any]]
    tables: list[Table]
    lines: list[str]
    notes: list[str]


def estimated(asked: Asked, now: datetime | None = None) -> Estimated:
    """The estimate that was asked for, and its reconciliation with receipts where some were named.

    Raises:
        UsageError, InvalidQuantity: what was asked cannot be estimated.
        UnknownZone, FactorMissing: a place that nobody knows.
        UnusableMeasurement, LedgerError: receipts that do not fit.
    """
    now = now or datetime.now(UTC)
    check_belongs(asked)
    work = work_of(asked)
    names: tuple[str, ...] = asked.devices or ("declared device",)
    if asked.reconcile and len(names) > 1:
        raise UsageError("receipts are of one device", "Name one --device with --reconcile")
    if not asked.devices and not asked.watts:
        raise UsageError("nothing says what draws the power", "Name a --device (nvidia-h100-sxm), or give --watts")
    place, place_notes = place_of(asked, now)
    rows = [_one(asked, work, name, place) for name in names]
    priced = [_with_tariff(asked, row) for row in rows]
    notes = [*dict.fromkeys(note for row in priced for note in row.notes), *place_notes]
    notes.append(f"intervals hold about 95 %: {METHOD}")
    documents = [document(row, work) for row in priced]
    tables = [table_of(row, work) for row in priced]
    if len(priced) > 1:
        tables = [compared(priced)]
    lines: list[str] = []
    if asked.reconcile:
        found, learned, kept = _reconciled(asked, work, names[0], place, priced[0], now)
        documents.append(reconciled_document(found, learned, kept))
        lines += reconciled_lines(found, learned, kept)
    return Estimated(documents, tables, lines, notes)


def _one(asked: Asked, work: Work, name: str, place: Place, *, learn: bool = True) -> Estimate:
    rates, power = device_of(asked, name)
    declared = parse_range(asked.utilisation, "utilisation", "1") if asked.utilisation else None
    learned = None
    if learn and not asked.fresh and not asked.watts:
        learned = learned_factor(_seen(_key(asked, name, work)))
    # What was learned stands for what is assumed of a device; a utilisation that somebody declares is no assumption.
    found = estimate(
        work, name, rates, power, utilisation_of(work, declared), place, overheads=overheads_of(asked),
        learned=learned if declared is None else None,
    )  # fmt: skip
    if learned is None or declared is None:
        return found
    told = f"{learned.told}, and not used: --utilisation is declared; leave it out to use what receipts say"
    return replace(found, notes=(*found.notes, told))


def _with_tariff(asked: Asked, row: Estimate) -> Estimate:
    """The money of a run under a tariff file: the bill of the run alone, between those of the ends of its energy."""
    if asked.tariff is None:
        return row
    if not asked.start or not asked.count:
        raise UsageError(
            "a tariff needs to know when, and how many devices", "Add --start 2026-03-02T09:00 --count 512"
        )
    from outweigh.app.whatif_tariff import moment
    from outweigh.config.tariffs import load_tariff
    from outweigh.core.quantities import Power
    from outweigh.whatif.tariff import Load, Run, bill

    tariff = load_tariff(asked.tariff)
    start = moment(asked.start, tariff.timezone).astimezone(UTC)
    if isinstance(row.facility_energy.result, Missing):
        return replace(row, money=replace(row.money, result=row.facility_energy.result))
    energy = row.facility_energy.known
    seconds = row.device_s.known.value / asked.count
    if seconds <= 0:
        nothing = Propagated(0.0, energy.bounds, {})
        return replace(row, money=Figure("money", tariff.currency, nothing, Grade.D), currency=tariff.currency)
    if seconds > _LONGEST_S:
        problem = f"the run would take {seconds / S_PER_YEAR:,.0f} years on {asked.count} devices"
        raise UsageError(problem, "A tariff bills up to 20 years: give --count as many as work at once")
    time, count = row.device_s.known, asked.count

    def billed(joules: float, device_s: float) -> float:
        lasts_s = device_s / count
        # In whole hours, as a demand may be of one; in quarters, as the run need not begin or end with an hour.
        first = start.replace(minute=0, second=0, microsecond=0)
        hours = math.ceil(((start - first).total_seconds() + lasts_s) / S_PER_HOUR)
        nothing_yet = Load.flat(Power(0.0), first, first + timedelta(hours=hours), _METERED_S)
        return float(bill(tariff, nothing_yet.plus(Run(Power(joules / lasts_s), lasts_s, start))).total)

    ends = [
        billed(joules, time.value * _longer(time.value, device_s, energy.value, joules))
        for joules, device_s in (
            (energy.bounds.low, time.bounds.low), (energy.value, time.value), (energy.bounds.high, time.bounds.high),
        )
    ]  # fmt: skip
    money = Propagated(ends[1], replace(energy.bounds, low=min(ends), high=max(ends)), {})
    told = (
        f"money: the bill of this run alone under {asked.tariff.name}, fixed charges and demand with it; its ends "
        "bill those of the energy; what it adds to a site's bill: `outweigh whatif tariff marginal`"
    )
    return replace(
        row, money=Figure("money", tariff.currency, money, Grade.worst([row.grade, Grade.D])),
        currency=tariff.currency, notes=(*row.notes, told),
    )  # fmt: skip


def _longer(device_s: float, end_s: float, joules: float, end_j: float) -> float:
    """How many times as long the run takes at an end of its energy: more of it may be more hours, or more watts.

    Of the way to that end, in logarithms, hours and watts go the share that their ranges have of the sum of squares.
    That is the likeliest point at which a product of two is so large (Hasofer and Lind, J. Eng. Mech. Div. 100, 1974).
    Where receipts made the energy the surer of the two, all of it is hours.
    """
    way, of_hours = math.log(end_j / joules), math.log(end_s / device_s)
    if way == 0:
        return 1.0
    return math.exp(math.copysign(min(of_hours**2 / abs(way), abs(way)), way))


def _key(asked: Asked, device: str, work: Work) -> str:
    """What a factor is kept under: all that was asked of the estimate it multiplies, but how much work it is.

    The utilisation is not in it, since what is learned is learned against the estimate that declares none.
    """
    said: dict[str, float | None] = {"tflops": asked.tflops, "memory-gb-s": asked.memory_gb_s}
    if asked.active and not isinstance(work, DeviceHours):
        said["active"] = parse_count(asked.active, "active parameters") / parse_count(asked.parameters, "parameters")
    if isinstance(work, Training):
        said["recompute"] = work.recompute or None
    if isinstance(work, Serving):
        said |= {"batch": work.batch, "weight-bytes": work.weight_bytes, "kv-bytes": work.kv_bytes_per_token}
    said |= {name: factor for name, factor in overheads_of(asked).items() if name != "development"}
    kind = {Training: "training", Serving: "serving", DeviceHours: "hours"}[type(work)]
    return " ".join(
        [device, kind, *(f"{name}={value:.6g}" for name, value in sorted(said.items()) if value is not None)]
    )


def _seen(key: str) -> list[Observation]:
    from outweigh.data.learned import kept_rows

    return [
        Observation(row.receipts, row.ratio, row.relative, row.grade, row.scope, row.at)
        for row in kept_rows()
        if row.key == key
    ]


def _reconciled(
    asked: Asked, work: Work, name: str, place: Place, row: Estimate, now: datetime
) -> tuple[Reconciled, Learned | None, str]:
    from outweigh.core.measurement import utc
    from outweigh.data.learned import Row, keep_rows

    if asked.development:
        raise UsageError("receipts are of one run, and --development is of what led to it", "Leave it out to reconcile")
    plain = _one(replace(asked, utilisation=""), work, name, place, learn=False)
    prior = plain.energy.joules
    receipts = list(dict(_receipts(asked)).items())
    _check_scopes(asked, [receipt for _, receipt in receipts])
    groups = [receipts] if asked.parts else [[one] for one in receipts]
    seen = [_observation(group, prior, utc(now)) for group in groups]
    found = reconcile(row.energy.joules, row.it_energy.known.bounds, prior, seen)
    learned, kept = None, ""
    if asked.watts:
        return found, learned, "declared watts are kept as declared: nothing is learned"
    if not all(receipt.total.method.is_measured for _, receipt in receipts):
        return found, learned, "not all of it was measured by a counter or a sensor: nothing is learned"
    if asked.keep:
        key = _key(asked, name, work)
        # Before they are written: rows that cannot be combined would shut out every estimate to come.
        learned_factor([*_seen(key), *seen])
        where = keep_rows(
            [Row(key, one.receipts, one.ratio, one.relative, one.grade, one.scope, one.at) for one in seen]
        )
        kept = f"kept in {where}" + (", of the estimate without --utilisation" if asked.utilisation else "")
        learned = learned_factor(_seen(key))
    return found, learned, kept


def _check_scopes(asked: Asked, receipts: Sequence[Receipt]) -> None:
    """Raises UnusableMeasurement for a meter that sees less than the estimate counts, or more."""
    from outweigh.core.measurement import Scope

    for receipt in receipts:
        scope = receipt.total.scope
        if not scope.contains(Scope.GPU):
            problem, remedy = f"its meter sees the {scope} and not the accelerator", "Name receipts of the device's own"
        elif scope is Scope.FACILITY:
            problem, remedy = "its meter sees the facility, and IT energy is compared", "Name those of devices or nodes"
        elif scope is Scope.GPU and asked.host is not None:
            problem, remedy = "its meter sees devices alone, and --host counts the whole node", "Leave out --host"
        elif scope is not Scope.GPU and asked.host is None:
            problem, remedy = f"its meter sees the {scope}, and the estimate the devices alone", "Add --host 1.5"
        else:
            continue
        raise UnusableMeasurement(f"receipt {receipt.content_hash[:8]}", problem, remedy)


def _receipts(asked: Asked) -> Iterator[tuple[str, Receipt]]:
    from outweigh.app.files import opened

    addresses = [text for text in asked.reconcile if not Path(text).is_file()]
    for text in asked.reconcile:
        if text not in addresses:
            yield _from_file(Path(text))
    for text in addresses:
        if not set(text) <= set(hexdigits):
            remedy = (
                "Name a file that `outweigh ledger show` printed, or its address, as `outweigh ledger list` shows it"
            )
            raise UsageError(f"{text!r} is neither a file here nor a receipt's address", remedy)
    if addresses:
        with opened(asked.ledger) as store:
            for text in addresses:
                receipt = store.get(text)
                yield receipt.content_hash, receipt


def _from_file(path: Path) -> tuple[str, Receipt]:
    from outweigh.core.receipt import Receipt

    remedy = "Name a receipt as `outweigh ledger show` prints it, or its address in the ledger"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        receipt = Receipt.from_dict(body)
    except OSError as err:
        raise UsageError(f"{path} cannot be read ({err.strerror})", remedy) from err
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise UsageError(f"{path} is no receipt ({type(err).__name__}: {err})", remedy) from err
    return receipt.content_hash, receipt


def _observation(group: Sequence[tuple[str, Receipt]], prior: float, at: str) -> Observation:
    from outweigh.core.receipt import RunStatus

    for address, receipt in group:
        if receipt.status is not RunStatus.COMPLETED:
            raise UnusableMeasurement(
                f"receipt {address[:8]}", f"its run {receipt.status}", "Reconcile runs that went to their end"
            )
    scopes = {receipt.total.scope for _, receipt in group}
    if len(scopes) > 1:
        raise UnusableMeasurement("the reconciliation", "its receipts see different scopes", "Take one meter's")
    measured = sum(receipt.total.value.joules for _, receipt in group)
    doubt = math.sqrt(sum(receipt.total.standard_uncertainty.joules**2 for _, receipt in group))
    if measured <= 0 or prior <= 0:
        raise UnusableMeasurement("the reconciliation", "there is no energy to compare", "Name receipts of the run")
    return Observation(
        tuple(address for address, _ in group), measured / prior, doubt / measured,
        Grade.worst(receipt.grade for _, receipt in group), str(scopes.pop()), at,
    )  # fmt: skip
