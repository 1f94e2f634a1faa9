"""`octopus`: half-hourly unit rates of Octopus Energy's Agile tariff in the regions of Great Britain. No key.

    outweigh grid show GB-C --price --source octopus                          London, without VAT
    outweigh grid show GB-C --price --source octopus:AGILE-24-10-01,inc-vat

The argument names the product and whether VAT is in ("inc-vat", "exc-vat"), in either order.

Confirmed in developer.octopus.energy and in clients' recorded answers of 2026: base address,
`/v1/products/{product}/electricity-tariffs/E-1R-{product}-{region}/standard-unit-rates/` with `period_from`,
`period_to` (ISO 8601; without a zone it is taken as Europe/London, so we always send Z), `page_size` up to 1,500,
pages newest first with `next`, `value_exc_vat` and `value_inc_vat` in p/kWh, `valid_from` and `valid_to` in UTC,
`payment_method`; tomorrow's rates come at about 16:00 in London and run from 23:00 to 23:00. AGILE-24-10-01 was the
product on sale in October 2026. No rate limit is published; we keep to 60 a minute. No licence is stated.

Not checked against a live call: the name of the product after 2026, and whether `valid_to` is ever null on Agile.

How the number can be wrong: it is what a household pays (5 % VAT, a cap of 100 p/kWh, a formula with a peak premium
from 16:00 to 19:00), without the standing charge: a shape of GB's day, not what a data centre pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import ClassVar, NoReturn, Self

from outweigh.backends.grid._answering import not_offered, unknown_zone
from outweigh.backends.grid._gb import NAMES, REGIONS
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import check_window, invalid, number, reading, rows_of, spans, stamp
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.series import (
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Slot,
)
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_PRODUCT = "AGILE-24-10-01"
_STEP_S = 1800.0
_PAGE = 1500
_PAGES = 50
_VAT = {"inc-vat": True, "exc-vat": False}
_PENCE_PER_POUND = 100.0
# Some tariffs have a second rate for who pays otherwise; Agile says null.
_PAID_BY = (None, "DIRECT_DEBIT")


@grid_sources.register("octopus")
class OctopusGrid:
    """Retail prices in GBP, published a day ahead.

    Args:
        product: the tariff's product code.
        vat: whether 5 % VAT is in the prices.
    """

    name: ClassVar[str]

    def __init__(self, product: str = _PRODUCT, *, vat: bool = False, now: Callable[[], datetime] = clock) -> None:
        self._product, self._vat, self._now = product, vat, now
        self._web = Web(self.name, "https://api.octopus.energy", now=now, requests_per_minute=60)

    @classmethod
    def probe(cls) -> Availability:
        return probed(cls.name, "Agile retail prices of 14 regions of Great Britain, half-hours, a day ahead", Grade.B)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """
        >>> OctopusGrid.make("inc-vat").limits.window_s is None
        True
        """
        parts = [part.strip() for part in argument.split(",") if part.strip()]
        vat = [part for part in parts if part in _VAT]
        products = [part for part in parts if part not in _VAT]
        if len(vat) > 1 or len(products) > 1 or not all(_is_product(product) for product in products):
            raise UsageError(
                f"octopus:{argument} does not name a product and its VAT", f"Write octopus:{_PRODUCT},inc-vat"
            )
        return cls(products[0] if products else _PRODUCT, vat=bool(vat) and _VAT[vat[0]])

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.PRICES}),
            steps_s=(_STEP_S,),
            ahead_s=31 * 3600.0,
            attribution="Octopus Energy, Agile Octopus unit rates",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(REGIONS)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon intensity", zone)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        if zone not in REGIONS:
            unknown_zone(self.name, zone, NAMES)
        check_window(window)
        replies = list(self._pages(zone, window))
        slots: list[Slot] = []
        for reply in replies:
            with reading(reply):
                slots += self._slots(reply, window)
        origin = Origin(
            "Octopus Energy",
            zone,
            f"Octopus Energy API, {replies[0].where}",
            "no licence stated",
            f"{self._product}, {'with' if self._vat else 'without'} VAT, a household's unit rate",
            retrieved_at=max(reply.retrieved_at for reply in replies),
        )
        return PriceSeries.of(slots, window, PriceMeaning("GBP", Market.RETAIL, taxes=self._vat), origin)

    def _pages(self, zone: str, window: Interval) -> Iterator[Reply]:
        tariff = f"E-1R-{self._product}-{zone.removeprefix('GB-')}"
        path = f"/v1/products/{self._product}/electricity-tariffs/{tariff}/standard-unit-rates/"
        whole = next(spans(window, _STEP_S, float("inf")))
        params = {
            "period_from": f"{whole.start:%Y-%m-%dT%H:%MZ}",
            "period_to": f"{whole.end:%Y-%m-%dT%H:%MZ}",
            "page_size": str(_PAGE),
        }
        # By number and not by the address in `next`, which names a host of the provider's choice.
        for page in range(1, _PAGES + 1):
            extra = {} if page == 1 else {"page": str(page)}
            reply = self._web.get(path, {**params, **extra}, fresh_until=fresh_until(window, self._now(), _STEP_S))
            yield reply
            with reading(reply):
                more = reply.json()["next"] is not None
            if not more:
                return
        self._endless(reply)

    @staticmethod
    def _endless(reply: Reply) -> NoReturn:
        raise invalid(reply, f"it has more than {_PAGES} pages")

    def _slots(self, reply: Reply, window: Interval) -> Iterator[Slot]:
        for row in rows_of(reply.json()["results"], "results"):
            if row.get("payment_method") not in _PAID_BY:
                continue
            start = stamp(row["valid_from"])
            end = stamp(row["valid_to"]) if row["valid_to"] is not None else max(window.end, start)
            if end <= start:
                continue
            pence = number(row["value_inc_vat" if self._vat else "value_exc_vat"])
            yield Slot(start, end, Gap.NULL if pence is None else pence / _PENCE_PER_POUND, DataQuality.MEASURED)


def _is_product(text: str) -> bool:
    return text.isascii() and text.replace("-", "").isalnum()
