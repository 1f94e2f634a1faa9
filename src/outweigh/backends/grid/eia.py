"""The US Energy Information Administration: hourly generation by fuel of the balancing authorities (EIA-930).

Average life-cycle intensity, production-based: the generation of each hour times the medians of
`outweigh.data.fuels` (imports are not counted). Batteries and pumped storage are left out on both sides.

What was checked, and where:
- Route, facets, text values, `megawatthours`, `total` as text, 5,000 rows a page however many are asked for: EIA's API
  documentation v2 (https://www.eia.gov/opendata/documentation.php) and recorded answers in public repositories.
- `period` is the END of the hour, in UTC, for `frequency=hourly`: gridstatus 0.37 (`eia.py`, "Interval End") and the
  EIA-930 instructions ("hour ending"). So no local time and no daylight saving anywhere.
- About 9,000 requests an hour and 5 a second are safe; the exact rules are not published (EIA, open data FAQ).
- Terms: US public domain (https://www.eia.gov/about/copyrights_reuse.php).
Not checked against a live call: whether the codes of storage (`BAT`, `PS`, `UES`, `OES`) and hybrids (`SNB`, `WNB`)
are all there are. A code that is not known here has no factor, and an hour with more than 5 % of it is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, key_of, probed
from outweigh.backends.grid._mix import BEFORE, MEANING, METHOD, STORAGE, Generation, intensity_slots
from outweigh.backends.grid._shapes import check_window, invalid, reading, rows_of
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.series import CarbonMeaning, CarbonSeries, Origin, PriceSeries
from outweigh.data.places import zone_names
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

FUELS: Mapping[str, str] = {
    "COL": "coal",
    "NG": "gas",
    "OIL": "oil",
    "NUC": "nuclear",
    "WAT": "hydro",
    "WND": "wind",
    "WNB": "wind",
    "SUN": "solar",
    "SNB": "solar",
    "GEO": "geothermal",
    "OTH": "other",
    "UNK": "other",
    "BAT": STORAGE,
    "PS": STORAGE,
    "UES": STORAGE,
    "OES": STORAGE,
}
# Electricity Maps style name -> EIA-930 respondent is its last part; these are the authorities that generate.
_AUTHORITIES = {
    "CAL": "BANC CISO IID LDWP TIDC",
    "CAR": "CPLE CPLW DUK SC SCEG YAD",
    "CENT": "SPA SWPP",
    "FLA": "FMPP FPC FPL GVL HST JEA SEC TAL TEC",
    "MIDA": "PJM",
    "MIDW": "AECI LGEE MISO",
    "NE": "ISNE",
    "NW": "AVA AVRN BPAT CHPD DOPD GCPD GRID GWA IPCO NEVP NWMT PACE PACW PGE PSCO PSEI SCL TPWR WACM WAUW WWA",
    "NY": "NYIS",
    "SE": "SEPA SOCO",
    "SW": "AZPS DEAA EPE GRIF HGMA PNM SRP TEPC WALC",
    "TEN": "TVA",
    "TEX": "ERCO",
}
_ZONES: Mapping[str, str] = {
    f"US-{region}-{code}": code for region, codes in _AUTHORITIES.items() for code in codes.split()
}

_PAGE = 5000
_PATH = "/v2/electricity/rto/fuel-type-data/data/"
_GET_A_KEY = "Get one free at https://www.eia.gov/opendata/register.php"
_HOUR = timedelta(hours=1)


@grid_sources.register("eia")
class EiaGrid:
    """Hourly average intensity of US balancing authorities, from 2018-07 to about a day ago. Needs a free key.

    A zone is "US-CAL-CISO", or the authority's own code ("CISO").
    """

    name: ClassVar[str]

    def __init__(self, *, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web: Web | None = None

    @classmethod
    def probe(cls) -> Availability:
        sees = f"hourly average intensity of {len(_ZONES)} US balancing authorities, from their generation by fuel"
        return probed(cls.name, sees, Grade.C, key=True, where_to_get=_GET_A_KEY)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON}),
            (MEANING,),
            steps_s=(3600.0,),
            ahead_s=0.0,
            requests_per_hour=9000.0,
            needs_key=True,
            attribution="U.S. Energy Information Administration, Hourly Electric Grid Monitor (EIA-930)",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(_ZONES))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        respondent = _ZONES.get(zone) or (zone if zone in _ZONES.values() else "")
        if not respondent:
            names = zone_names()
            unknown_zone(
                self.name, zone, {key: (names[key].name if key in names else "", code) for key, code in _ZONES.items()}
            )
        asked = meaning_of(self.limits, meaning, self.name, zone)
        check_window(window)
        pages = self._pages(respondent, window)
        rows: list[Generation] = []
        for page, data in pages:
            with reading(page):
                rows += [_row(row, respondent) for row in data]
        key = next(key for key, code in _ZONES.items() if code == respondent)
        address = pages[0][0].where.partition("?")[0]
        origin = Origin(
            "EIA-930",
            key,
            f"U.S. Energy Information Administration, Hourly Electric Grid Monitor, {address}",
            "US public domain",
            METHOD,
            retrieved_at=max(page.retrieved_at for page, _ in pages),
        )
        slots = intensity_slots(rows, FUELS, self.name, key)
        return CarbonSeries.of(slots, window, asked, origin)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        not_offered(self.name, "electricity price", zone)

    def _pages(self, respondent: str, window: Interval) -> list[tuple[Reply, list[dict[str, object]]]]:
        """All pages of the hours that touch `window`, and of the day before it."""
        # Periods name the end of their hour, and both ends of the request are inside it.
        first = window.start.replace(minute=0, second=0, microsecond=0) + _HOUR - BEFORE
        last = window.end.replace(minute=0, second=0, microsecond=0)
        last += _HOUR if last < window.end else timedelta(0)
        query = {
            "frequency": "hourly",
            "data[0]": "value",
            "facets[respondent][]": respondent,
            "start": f"{first:%Y-%m-%dT%H}",
            "end": f"{max(first, last):%Y-%m-%dT%H}",
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            "sort[1][column]": "fueltype",
            "sort[1][direction]": "asc",
            "length": str(_PAGE),
        }
        fresh = fresh_until(window, self._now(), 3600.0)
        pages: list[tuple[Reply, list[dict[str, object]]]] = []
        got = 0
        while True:
            page = self._asked().get(_PATH, {**query, "offset": str(got)}, fresh_until=fresh)
            data, total = _body(page)
            pages.append((page, data))
            got += len(data)
            if got >= total:
                return pages
            if not data:
                raise invalid(page, f"it says that there are {total} rows and gave {got}")

    def _asked(self) -> Web:
        if self._web is None:
            self._web = Web(
                self.name,
                "https://api.eia.gov",
                params={"api_key": key_of(self.name, _GET_A_KEY)},
                now=self._now,
                requests_per_hour=9000.0,
                key_remedy=f"{_GET_A_KEY}, then set OUTWEIGH_EIA_KEY",
            )
        return self._web


def _body(page: Reply) -> tuple[list[dict[str, object]], int]:
    """The rows of a page, and how many there are in all."""
    with reading(page):
        response = page.json()["response"]
        data = rows_of(response["data"], "response.data")
        if response.get("frequency", "hourly") != "hourly":
            raise ValueError(f"its steps are {response['frequency']!r}, not hourly")
        total = _number(response.get("total", len(data)))
        if total is None or total < 0:
            raise ValueError(f"its total is {response['total']!r}")
        return data, int(total)


def _row(row: Mapping[str, object], respondent: str) -> Generation:
    if row["respondent"] != respondent:
        raise ValueError(f"it answers for {row['respondent']!r}, and {respondent} was asked")
    unit = row.get("value-units", "megawatthours")
    if unit != "megawatthours":
        raise ValueError(f"values are in {unit!r}, not megawatthours")
    end = datetime.strptime(str(row["period"]), "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return Generation(end - _HOUR, end, str(row["fueltype"]), _number(row["value"]))


def _number(value: object) -> float | None:
    """The API writes numbers as text ("6764"), and did not always; "" and null are none."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)
