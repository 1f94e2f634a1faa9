"""Independent system operators of the United States, read by the library gridstatus: generation by fuel, as it runs.

Average, life-cycle and production-based: each interval's mix times the medians of `outweigh.data.fuels`. Storage is
left out on both sides and imports are not counted, as in `eia`; this source is hours sooner and has shorter steps.

What was checked, and where:
- `get_fuel_mix(date)` of each operator, its columns and which days it has: gridstatus 0.37 as installed. MISO and
  ERCOT give today and yesterday; CAISO, NYISO, SPP and ISO-NE go further back; PJM needs PJM_API_KEY of its own.
- An operator that gives "Interval Start" and "Interval End" is taken at its word; NYISO and ISO-NE give instants, and
  each of those holds until the next, for an hour at most.
Not checked against a live call. NYISO's "Dual Fuel" counts as gas and its "Other Fossil Fuels" as oil.
The library fetches by itself, past our cache and limits. Terms: those of each operator.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import clock
from outweigh.backends.grid._mix import MEANING, METHOD, STORAGE, Generation, intensity_slots
from outweigh.core.errors import FactorMissing, GridDataInvalid, GridUnavailable, MissingExtra
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.series import CarbonMeaning, CarbonSeries, Origin, PriceSeries
from outweigh.data.places import zone_names
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

# Zone -> class in gridstatus.
_ZONES: Mapping[str, str] = {
    "US-CAL-CISO": "CAISO",
    "US-CENT-SWPP": "SPP",
    "US-MIDA-PJM": "PJM",
    "US-MIDW-MISO": "MISO",
    "US-NE-ISNE": "ISONE",
    "US-NY-NYIS": "NYISO",
    "US-TEX-ERCO": "Ercot",
}
FUELS: Mapping[str, str] = {
    "Batteries": STORAGE,
    "Battery Storage": STORAGE,
    "Biogas": "biomass",
    "Biomass": "biomass",
    "Coal": "coal",
    "Coal and Lignite": "coal",
    "Diesel Fuel Oil": "oil",
    "Dual Fuel": "gas",
    "Energy Storage": STORAGE,
    "Gas": "gas",
    "Geothermal": "geothermal",
    "Hydro": "hydro",
    "Landfill Gas": "biomass",
    "Large Hydro": "hydro",
    "Natural Gas": "gas",
    "Nuclear": "nuclear",
    "Oil": "oil",
    "Other": "other",
    "Other Fossil Fuels": "oil",
    "Other Renewables": "other",
    "Power Storage": STORAGE,
    "Refuse": "other",
    "Small Hydro": "hydro",
    "Solar": "solar",
    "Storage": STORAGE,
    "Waste Disposal Services": "other",
    "Waste Heat": "other",
    "Wind": "wind",
    "Wood": "biomass",
}
_NO_FUEL = frozenset({"Time", "Interval Start", "Interval End", "Publish Time", "BAA", "Imports"})
_LONGEST = timedelta(hours=1)
_INSTALL = "pip install 'outweigh[gridstatus]'"


@grid_sources.register("gridstatus")
class GridStatusGrid:
    """Average intensity of seven US operators in steps of five minutes to an hour. Needs no key, except for PJM."""

    name: ClassVar[str]

    def __init__(self, *, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._operators: dict[str, Any] = {}

    @classmethod
    def probe(cls) -> Availability:
        sees = f"average intensity of {len(_ZONES)} US system operators, minutes old"
        if find_spec("gridstatus") is None:
            return Availability(
                cls.name, usable=False, sees=sees, reason="the package gridstatus is not installed", remedy=_INSTALL
            )
        return Availability(cls.name, usable=True, sees=sees, grade=Grade.C)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON}),
            (MEANING,),
            steps_s=(300.0, 900.0, 3600.0),
            ahead_s=0.0,
            attribution="the system operator of the zone, by gridstatus",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(_ZONES))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        if zone not in _ZONES:
            names = zone_names()
            unknown_zone(self.name, zone, {key: (names[key].name, operator) for key, operator in _ZONES.items()})
        asked = meaning_of(self.limits, meaning, self.name, zone)
        if window.start >= self._now():
            raise FactorMissing(str(asked), zone, (), "The window is still to come, and gridstatus has no forecast")
        operator = self._operator(zone)
        retrieved = self._now()
        rows = [row for day in self._days(operator, window, zone) for row in self._rows(day, zone)]
        library = importlib.import_module("gridstatus")
        origin = Origin(
            _ZONES[zone].upper(),
            zone,
            f"{operator.name}, fuel mix, read by gridstatus {library.__version__}",
            "terms of the operator",
            METHOD,
            retrieved_at=retrieved,
        )
        return CarbonSeries.of(intensity_slots(rows, FUELS, self.name, zone), window, asked, origin)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        not_offered(self.name, "electricity price", zone)

    def _operator(self, zone: str) -> Any:
        if zone not in self._operators:
            try:
                library = importlib.import_module("gridstatus")
            except ImportError as err:
                raise MissingExtra("gridstatus", f"grid source {self.name}", _INSTALL) from err
            # It tells of every address it fetches, on standard error.
            logging.getLogger("gridstatus").setLevel(logging.WARNING)
            try:
                self._operators[zone] = getattr(library, _ZONES[zone])()
            except ValueError as err:
                raise GridUnavailable(
                    self.name,
                    f"{_ZONES[zone]} needs a key",
                    "Get one at https://dataminer2.pjm.com, then set PJM_API_KEY; `eia` has the zone without it",
                ) from err
        return self._operators[zone]

    def _days(self, operator: Any, window: Interval, zone: str) -> Iterator[Any]:
        """A table for every day of the operator's own calendar that touches the window, and was."""
        base = importlib.import_module("gridstatus.base")
        pandas, pytz = importlib.import_module("pandas"), importlib.import_module("pytz")
        day = pandas.Timestamp(window.start).tz_convert(operator.default_timezone).normalize()
        end = pandas.Timestamp(min(window.end, self._now()))
        while day < end:
            try:
                yield operator.get_fuel_mix(day)
            except (base.NotSupported, base.NoDataFoundException):
                pass  # a day it does not have: the series shows a gap
            except OSError as err:  # of requests and urllib alike
                raise GridUnavailable(
                    self.name, f"{_ZONES[zone]} did not answer ({type(err).__name__})", "Ask again later, or take eia"
                ) from err
            except (
                KeyError,
                IndexError,
                AttributeError,
                TypeError,
                ValueError,
                pytz.exceptions.InvalidTimeError,
            ) as err:
                raise GridDataInvalid(
                    self.name,
                    f"{_ZONES[zone]} {day:%Y-%m-%d}",
                    f"the library cannot read it ({type(err).__name__}: {err})",
                    "Update gridstatus, or take another source (eia)",
                ) from err
            day += pandas.DateOffset(days=1)

    def _rows(self, table: Any, zone: str) -> Iterator[Generation]:
        spans = list(self._spans(table, zone))
        # When clocks go back, some operators' files hold an hour of the wall twice, and the library cannot tell which
        # is which: both are gaps.
        times = Counter(spans)
        for column in table.columns:
            if column in _NO_FUEL:
                continue
            for (start, end), value in zip(spans, table[column].tolist(), strict=True):
                if start < end and times[start, end] == 1:
                    yield Generation(start, end, str(column), _number(value))

    def _spans(self, table: Any, zone: str) -> Iterator[tuple[datetime, datetime]]:
        if "Interval Start" in table.columns:
            ends = table["Interval End"].tolist()
            for start, end in zip(table["Interval Start"].tolist(), ends, strict=True):
                yield _utc(start), _utc(end)
            return
        if "Time" not in table.columns:
            raise GridDataInvalid(self.name, zone, "its table has no times", "Update gridstatus")
        starts = [_utc(stamp) for stamp in table["Time"].tolist()]
        steps = [after - before for before, after in pairwise(starts)]
        usual = min((step for step in steps if step > timedelta(0)), default=timedelta(0))
        for start, step in zip(starts, [*steps, usual], strict=True):
            yield start, start + min(step, _LONGEST)


def _utc(stamp: Any) -> datetime:
    return datetime.fromtimestamp(stamp.timestamp(), UTC)


def _number(value: Any) -> float | None:
    """Nullable integers and floats of pandas; its NA is not a number and has no truth."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
