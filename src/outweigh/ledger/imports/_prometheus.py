"""The answer of a Prometheus server to a range query, as JSON, and what a counter in it grew by.

Source: Prometheus HTTP API, `/api/v1/query_range`: status "success", data.resultType "matrix", data.result a list of
{"metric": {label: text}, "values": [[seconds, "number"], ...]}.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from outweigh.core.intervals import Interval
from outweigh.ledger.imports._foreign import About, document, mapping, moment, number, refuse, span

_MANY_STEPS = 5  # a gap of more than so many steps is a gap


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, times [s, Unix epoch] and values, both strictly in order of time."""

    labels: dict[str, str]
    t_s: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.labels.get("__name__", "")

    @property
    def longest_gap_s(self) -> float:
        return max(after - before for before, after in pairwise(self.t_s))

    @property
    def has_gap(self) -> bool:
        """Whether samples are missing, judged by the usual step."""
        step_s = statistics.median(after - before for before, after in pairwise(self.t_s))
        return self.longest_gap_s > _MANY_STEPS * step_s

    def interval(self, about: About) -> Interval:
        return span(about, 0, self.t_s[-1] - self.t_s[0], start=moment(about, 0, "time", self.t_s[0]))

    def increase(self) -> tuple[float, int]:
        """What a counter grew by, and how often it started again. After a restart it counts from 0: a lower bound."""
        grown, restarts = 0.0, 0
        for before, after in pairwise(self.values):
            restarts += after < before
            grown += after - before if after >= before else after
        return grown, restarts

    def integral(self) -> float:
        """Area under a gauge, by the trapezoid rule."""
        points = list(zip(self.t_s, self.values, strict=True))
        return sum((t1 - t0) * (v0 + v1) / 2 for (t0, v0), (t1, v1) in pairwise(points))


def series(text: str, about: About) -> Iterator[Series]:
    """The series of one answer, or of several, one a line. Those of fewer than two samples say nothing and are dropped.

    Raises UsageError for what is no such answer.
    """
    lines = [(number_, line) for number_, line in enumerate(text.splitlines(), start=1) if line.strip()]
    several = len(lines) > 1 and all(line.lstrip().startswith('{"') and _whole(line) for _, line in lines)
    for part in [line for _, line in lines] if several else [text]:
        answer = mapping(about, document(about, part), "the answer")
        if answer.get("status") != "success":
            said = str(answer.get("error", answer.get("status")))
            refuse(about, 0, f"the server answered {said!r}", "Repeat the query, and keep its answer")
        data = mapping(about, answer.get("data"), "data")
        if data.get("resultType") != "matrix":
            refuse(about, 0, f"its resultType is {data.get('resultType')!r}", "Ask /api/v1/query_range for a range")
        for entry in data.get("result", []):
            found = mapping(about, entry, "a result")
            labels = {str(key): str(value) for key, value in mapping(about, found.get("metric"), "metric").items()}
            pairs = found.get("values", [])
            if not isinstance(pairs, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
                refuse(about, 0, f"{labels.get('__name__', 'a series')} has no values", "Ask /api/v1/query_range")
            what = labels.get("__name__", "a value")
            t_s = tuple(number(about, 0, "time", pair[0]) for pair in pairs)
            values = tuple(number(about, 0, what, pair[1], least=0.0) for pair in pairs)
            if any(after <= before for before, after in pairwise(t_s)):
                refuse(about, 0, f"{what} is not in order of time", "Give the answer as the server gave it")
            if len(t_s) >= 2:
                yield Series(labels, t_s, values)


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
