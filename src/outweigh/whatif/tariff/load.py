"""What a site draws, step by step, in whole milliwatt-hours: sums are exact, so a bill is exact to the cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy, Power

MILLI_WH_PER_KWH = 10**6
_HOUR_S = 3600
# A day of int64 milliwatt-hours at this power fits a year many times over.
_MOST_KW = 1e9
_LONGEST_S = 100 * 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of work that draws constant power at the site's meter (cooling included) from `start` on."""

    power: Power
    seconds: float
    start: datetime
    name: str = "run"

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InvalidQuantity("start of a run", str(self.start), "write its time with a zone")
        if not 0 <= self.power.watts < _MOST_KW * 1e3 or not 0 <= self.seconds <= _LONGEST_S:
            given = f"{self.power.to_kw():g} kW for {self.seconds:g} s"
            raise InvalidQuantity("run", given, "give 0 or more, and at most a thousand gigawatts for a hundred years")

    @property
    def energy(self) -> Energy:
        return self.power.over(self.seconds)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def at(self, start: datetime) -> Run:
        """The same run, started then."""
        return Run(self.power, self.seconds, start, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Energy drawn in each of n adjoining steps [milliwatt-hours].

    Attributes:
        start: of the first step; aware.
        step_s: length of a step [s]; it divides an hour.
        milli_wh: shape (n,), int64, not negative.
    """

    start: datetime
    step_s: int
    milli_wh: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InvalidQuantity("start of a load", str(self.start), "write its time with a zone")
        if self.step_s < 1 or _HOUR_S % self.step_s:
            raise InvalidQuantity("step of a load", f"{self.step_s} s", "steps divide an hour: 15 min, 30 min, 1 h")
        if self.start.timestamp() % self.step_s:
            raise InvalidQuantity("start of a load", str(self.start), f"start on a multiple of {self.step_s} s")
        if self.milli_wh.ndim != 1 or not self.milli_wh.size:
            raise InvalidQuantity("load", f"shape {self.milli_wh.shape}", "give one figure or more, in one row")
        if int(self.milli_wh.min()) < 0:
            at = self.start + timedelta(seconds=self.step_s * int(self.milli_wh.argmin()))
            remedy = "a demand is 0 or more; what is fed back has its own tariff and is not billed here"
            raise InvalidQuantity("load", f"a negative demand at {at.isoformat()}", remedy)

    @classmethod
    def from_kwh(cls, start: datetime, step_s: int, kwh: ArrayLike) -> Load:
        """Energy per step [kWh], shape (n,), rounded to the milliwatt-hour.

        Raises:
            InvalidQuantity: a figure that is missing, negative or beyond a thousand gigawatts.
        """
        figures = np.asarray(kwh, dtype=np.float64)
        if not np.isfinite(figures).all():
            remedy = "what is missing stays missing: cut the load there, or fill it and say so"
            raise InvalidQuantity("load", "a step without a figure", remedy)
        if figures.size and np.abs(figures).max() > _MOST_KW * step_s / _HOUR_S:
            raise InvalidQuantity("load", f"{np.abs(figures).max():g} kWh in a step", "is it in Wh?")
        return cls(start, step_s, np.rint(figures * MILLI_WH_PER_KWH).astype(np.int64))

    @classmethod
    def from_kw(cls, start: datetime, step_s: int, kw: ArrayLike) -> Load:
        """Mean power per step [kW], shape (n,)."""
        return cls.from_kwh(start, step_s, np.asarray(kw, dtype=np.float64) * (step_s / _HOUR_S))

    @classmethod
    def flat(cls, power: Power, start: datetime, end: datetime, step_s: int = _HOUR_S) -> Load:
        """The same power all along `[start, end)`."""
        n = _steps(start, end, step_s)
        return cls.from_kw(start, step_s, np.full(n, power.to_kw()))

    @classmethod
    def weekly(
        cls, kw: Mapping[int, Sequence[float]], start: datetime, end: datetime, timezone: str, step_s: int = _HOUR_S
    ) -> Load:
        """A week that repeats on the local clock: kw[day of the week, Monday 0][hour]."""
        n = _steps(start, end, step_s)
        zone, first = ZoneInfo(timezone), start.timestamp()
        local = [datetime.fromtimestamp(first + step_s * i, UTC).astimezone(zone) for i in range(n)]
        return cls.from_kw(start, step_s, [kw[one.weekday()][one.hour] for one in local])

    def __len__(self) -> int:
        return int(self.milli_wh.size)

    @property
    def start_s(self) -> int:
        return int(self.start.timestamp())

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * len(self))

    @property
    def energy(self) -> Energy:
        return Energy.wh(int(self.milli_wh.sum()) / 1e3)

    @property
    def peak_kw(self) -> float:
        """Highest mean power of a step [kW]."""
        return int(self.milli_wh.max()) * (_HOUR_S // self.step_s) / MILLI_WH_PER_KWH

    def split(self, parts: int) -> Load:
        """Each step as `parts` equal ones. What does not divide goes to the first of them: the sum stays."""
        if parts == 1:
            return self
        share, rest = np.divmod(self.milli_wh, parts)
        fine = np.repeat(share, parts).reshape(-1, parts)
        fine += np.arange(parts) < rest[:, None]
        return Load(self.start, self.step_s // parts, fine.reshape(-1))

    def cut(self, start: datetime, end: datetime) -> Load:
        """The steps of `[start, end)`."""
        first = (int(start.timestamp()) - self.start_s) // self.step_s
        return Load(start, self.step_s, self.milli_wh[first : first + _steps(start, end, self.step_s)])

    def adding(self, milli_wh: NDArray[np.int64]) -> Load:
        """This load and more energy in its steps [milliwatt-hours], shape (n,)."""
        return Load(self.start, self.step_s, self.milli_wh + milli_wh)

    def plus(self, run: Run) -> Load:
        """This load with a run on top.

        Raises:
            InvalidQuantity: the run does not lie within the load.
        """
        return self.adding(self.steps_of(run))

    def steps_of(self, run: Run) -> NDArray[np.int64]:
        """Energy of a run in each step of this load [milliwatt-hours], shape (n,); its sum is the run's, rounded."""
        if run.start < self.start or run.end > self.end:
            given = f"{run.start.isoformat()} to {run.end.isoformat()}"
            remedy = f"the load is known from {self.start.isoformat()} to {self.end.isoformat()}; start it inside"
            raise InvalidQuantity("time of a run", given, remedy)
        # Rounding the running total, and not each step, keeps the run's energy.
        edges = np.arange(len(self) + 1) * float(self.step_s) + (self.start_s - run.start.timestamp())
        drawn_s = np.clip(edges, 0.0, run.seconds)
        drawn: NDArray[np.int64] = np.diff(np.rint(drawn_s * (run.power.watts / _HOUR_S * 1e3)).astype(np.int64))
        return drawn


def power_mw_per_step(load: Load) -> int:
    """What one milliwatt-hour in a step is in milliwatts."""
    return _HOUR_S // load.step_s


def _steps(start: datetime, end: datetime, step_s: int) -> int:
    n = Fraction(int(end.timestamp()) - int(start.timestamp()), step_s)
    if n.denominator != 1 or n <= 0:
        given = f"{start.isoformat()} to {end.isoformat()}"
        raise InvalidQuantity("span of a load", given, f"it ends a whole number of {step_s} s after it starts")
    return int(n)
