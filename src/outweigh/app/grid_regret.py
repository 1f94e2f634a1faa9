"""What deciding on forecasts cost, day by day, against what then was: from the archive, as it was known each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from outweigh.app.grid_fetch import moment
from outweigh.app.grid_question import question_of
from outweigh.core.errors import FactorMissing, GapsTooLarge, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceMeaning, PriceSeries
from outweigh.grid import find_zone
from outweigh.grid.archive import Archive, SlotKind, default_folder
from outweigh.grid.vintages import Regret, cheapest, regret

_SHORTEST_H, _LONGEST_H = 1 / 60, 24 * 366.0


@dataclass(frozen=True, slots=True)
class Regrets:
    """Regret of one decision after another.

    Attributes:
        found: the moment of each decision and its regret.
        passed_over: decisions for which no whole forecast was known, or not all of what then was.
    """

    zone: str
    meaning: CarbonMeaning | PriceMeaning
    found: tuple[tuple[datetime, Regret], ...]
    passed_over: int

    def mean(self, figure: str) -> float:
        return math.fsum(getattr(one, figure) for _, one in self.found) / len(self.found)

    @property
    def share(self) -> float | None:
        """Part of what perfect foresight saves over starting at once that was not saved, all decisions together."""
        possible = self.mean("now") - self.mean("best")
        return self.mean("absolute") / possible if possible > 0 else None

    def document(self) -> dict[str, Any]:
        """The figures at full precision; `unit` is that of all that end in `_mean`."""
        share = self.share
        return {
            "zone": self.zone,
            "what": str(self.meaning),
            "unit": self.meaning.unit,
            "decisions": len(self.found),
            "passed_over": self.passed_over,
            "first": self.found[0][0].isoformat(),
            "last": self.found[-1][0].isoformat(),
            "now_mean": self.mean("now"),
            "chosen_mean": self.mean("chosen"),
            "best_mean": self.mean("best"),
            "promised_mean": self.mean("promised"),
            "regret_mean": self.mean("absolute"),
            "regret_share": share,
            "saved_share": None if share is None else 1 - share,
        }


def regrets(
    zone: str,
    *,
    start: str,
    end: str,
    job_h: float = 4.0,
    window_h: float = 24.0,
    every_h: float = 24.0,
    pausable: bool = False,
    price: bool = False,
    archive: Path | None = None,
    question: str = "",
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Regrets:
    """Decide every `every_h` hours when a job of `job_h` hours runs in the next `window_h`, on the forecast known then.

    Args:
        start, end: the decisions' times, `[start, end)`; ISO 8601, a bare date is its midnight in UTC.
        pausable: the job may run in pieces.
        zone: as typed; see `find_zone`.
        archive: folder; the user's by default.
        question: which carbon intensity, such as "lifecycle-production"; "" takes the first that has a forecast.

    Raises:
        UnknownZone: no zone goes by that name.
        FactorMissing: the archive has no forecast of that zone, or for none of the decisions a whole one.
        UsageError: lengths or times that cannot be.
    """
    first, last = moment("--from", start), moment("--to", end)
    asked = question_of(question, price=price)
    if not _SHORTEST_H <= job_h <= window_h <= _LONGEST_H or not _SHORTEST_H <= every_h <= _LONGEST_H or last <= first:
        raise UsageError(
            "these times make no decision",
            "Give --from before --to, --job below --window, and each of a minute to a year",
        )
    folder = archive or default_folder()
    if not folder.is_dir():
        raise UsageError(f"there is no archive in {folder}", "`outweigh grid fetch ZONE --source NAME` makes one")
    kept = Archive(folder)
    zone = find_zone(zone, kept.zones()).key
    kind = PriceMeaning if price else CarbonMeaning
    held = [one for one in kept.held(zone) if isinstance(one.meaning, kind) and SlotKind.FORECAST in one.kinds]
    held = [one for one in held if asked is None or one.meaning == asked]
    if not held:
        what = "forecast of a price" if price else f"forecast of {asked}" if asked else "carbon forecast"
        others = tuple(one for one in kept.zones() if one != zone)[:4]
        raise FactorMissing(what, zone, others, f"`outweigh grid fetch {zone} --forecast` keeps one")
    meaning = held[0].meaning
    truth = kept.known(zone, meaning, Interval(first, last + timedelta(hours=window_h)), forecasts=False)
    found: list[tuple[datetime, Regret]] = []
    passed_over = 0
    for at in _moments(first, last, timedelta(hours=every_h)):
        window = Interval.starting(at, 3600 * window_h)
        one = _decided(kept, zone, meaning, window, 3600 * job_h, truth, pausable)
        if one is None:
            passed_over += 1
        else:
            found.append((at, one))
        progress(f"{zone} {at:%Y-%m-%d}", (at - first) / (last - first))
    if not found:
        raise FactorMissing(
            f"whole forecast of {window_h:g} h", zone, (),
            f"None of {passed_over} decisions had one known at its moment, and then what was (measured or estimated)",
        )  # fmt: skip
    return Regrets(zone, meaning, tuple(found), passed_over)


def _decided(
    kept: Archive,
    zone: str,
    meaning: CarbonMeaning | PriceMeaning,
    window: Interval,
    job_s: float,
    truth: CarbonSeries | PriceSeries,
    pausable: bool,
) -> Regret | None:
    """None where the forecast was not whole, or is not known what then was: part of a forecast decides otherwise."""
    actual = truth.window(window)
    try:
        ahead = kept.forecast_as_of(zone, meaning, window, at=window.start)
        if ahead.missing_share > 0 or actual.missing_share > 0:
            return None
        chosen = cheapest(ahead, window, job_s, pausable=pausable)
    except (FactorMissing, GapsTooLarge):
        return None
    return regret(chosen, actual, within=window, forecast=ahead, pausable=pausable)


def _moments(first: datetime, last: datetime, step: timedelta) -> Iterator[datetime]:
    at = first
    while at < last:
        yield at
        at += step
