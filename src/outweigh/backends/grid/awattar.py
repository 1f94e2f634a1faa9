"""`awattar`: day-ahead prices of Germany and Austria from aWATTar's market data. No key.

    outweigh grid show AT --price --source awattar

Confirmed in clients' documentation and a published schema of the answer: `https://api.awattar.de/v1/marketdata` and
`https://api.awattar.at/v1/marketdata`, `start` and `end` in ms since 1970, `data` with `start_timestamp`,
`end_timestamp` (ms), `marketprice` and `unit` "Eur/MWh"; prices of EPEX Spot, negative ones too; tomorrow's at about
14:00. Fair use is 100 requests a day from one address, which we keep. No licence is stated.

Not checked against a live call: the longest window (we ask for a month at a time), and whether the steps are still
hours since the market went to quarters on 2025-10-01 (each row says when it ends, so either is read).

How the number can be wrong: energy alone, at the exchange, without taxes, networks and aWATTar's own margin; an hour's
mean where the market has quarters.

Under OUTWEIGH_GRID_URL_AWATTAR one address stands for both countries: it is asked for /de/v1/marketdata and
/at/v1/marketdata, the names the answers give themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import ClassVar, Self

from outweigh.backends.grid._answering import no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import check_window, invalid, number, reading, rows_of, spans
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.rates import price_unit
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

_COUNTRIES = {"AT": "at", "DE": "de"}
_NAMES = {"AT": ("Austria",), "DE": ("Germany",)}
_STEP_S = 3600.0
_WINDOW_S = 31 * 86400.0
_A_DAY = 100.0
_CURRENCY = "EUR"


@grid_sources.register("awattar")
class AwattarGrid:
    """Day-ahead prices in EUR without taxes."""

    name: ClassVar[str]

    def __init__(self, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._webs: dict[str, tuple[Web, str]] = {}
        for zone, country in _COUNTRIES.items():
            home = f"https://api.awattar.{country}"
            web = Web(self.name, home, now=now, rates=[(_A_DAY, 86400.0)])
            self._webs[zone] = web, "/v1/marketdata" if web.base_url == home else f"/{country}/v1/marketdata"

    @classmethod
    def probe(cls) -> Availability:
        return probed(cls.name, "day-ahead prices of Germany and Austria", Grade.B)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.PRICES}),
            steps_s=(_STEP_S,),
            ahead_s=34 * 3600.0,
            window_s=_WINDOW_S,
            requests_per_hour=_A_DAY / 24,
            attribution="aWATTar, market data of EPEX Spot",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(_COUNTRIES)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon intensity", zone)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        if zone not in self._webs:
            unknown_zone(self.name, zone, _NAMES)
        check_window(window)
        web, path = self._webs[zone]
        slots: list[Slot] = []
        replies: list[Reply] = []
        for piece in spans(window, _STEP_S, _WINDOW_S):
            asked = {"start": _ms(piece.start), "end": _ms(piece.end)}
            replies.append(web.get(path, asked, fresh_until=fresh_until(piece, self._now(), _STEP_S)))
            with reading(replies[-1]):
                slots += _slots(replies[-1])
        origin = Origin(
            "aWATTar",
            zone,
            f"aWATTar market data, {replies[0].where}",
            "no licence stated",
            "the price of energy at the exchange alone",
            retrieved_at=max(reply.retrieved_at for reply in replies),
        )
        return PriceSeries.of(slots, window, PriceMeaning(_CURRENCY, Market.DAY_AHEAD, taxes=False), origin)


def _slots(reply: Reply) -> Iterator[Slot]:
    for row in rows_of(reply.json()["data"], "data"):
        kwh = _kwh_in(str(row["unit"]), reply)
        price = number(row["marketprice"])
        value = Gap.NULL if price is None else price / kwh
        yield Slot(_time(row["start_timestamp"]), _time(row["end_timestamp"]), value, DataQuality.MEASURED)


def _kwh_in(unit: str, reply: Reply) -> float:
    money, slash, energy = unit.partition("/")
    try:
        currency, kwh = price_unit(f"{money.strip().upper()}{slash}{energy}")
    except InvalidQuantity as err:
        raise invalid(reply, f"its unit is {unit!r}, not Eur/MWh") from err
    if currency != _CURRENCY:
        raise invalid(reply, f"its unit is {unit!r}, not Eur/MWh")
    return kwh


def _time(ms: object) -> datetime:
    if isinstance(ms, bool) or not isinstance(ms, int):
        raise TypeError(f"{ms!r} is no time in ms")
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
