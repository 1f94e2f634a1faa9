"""Jobs over time as text: the carbon of each site above, then one line a job. For terminals and logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_MOST_JOBS: Final = 80


def gantt(document: Mapping[str, Any], *, width: int = 72) -> str:
    """The chart of a document of schema outweigh.run/1.

    Above: each site's carbon intensity, lowest to highest of all sites. Below: one row a job in the order of its start,
    with the initial of its site where it ran, `|` at its deadline, `·` between its release and its deadline.
    """
    start = datetime.fromisoformat(document["horizon"]["start"])
    ends = [datetime.fromisoformat(s["end"]) for job in document["jobs"] for s in job["stints"]]
    end = max([*ends, start + timedelta(hours=1), *_deadlines(document)])
    end = min(end, max([datetime.fromisoformat(document["horizon"]["end"]), *ends]))
    return "\n".join(_lines(document, start, end, width))


def _deadlines(document: Mapping[str, Any]) -> list[datetime]:
    return [datetime.fromisoformat(job["deadline"]) for job in document["jobs"]]


def _lines(document: Mapping[str, Any], start: datetime, end: datetime, width: int) -> Iterator[str]:
    names = [site["name"] for site in document["sites"]]
    marks = _initials(names)
    label = max(
        [len("deadline missed"), *(len(name) + 4 for name in names), *(len(j["name"]) for j in _drawn(document))]
    )
    label = min(label, 24)
    hours = (end - start).total_seconds() / 3600
    yield f"{'':<{label}}  {start:%Y-%m-%d %H:%M} UTC, {hours:.3g} h; one column is {60 * hours / width:.3g} min"
    known = [g for site in document["sites"] for g in site["intensity_g_per_kwh"] if g is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step_s = float(document["horizon"]["step_s"])
    for site in document["sites"]:
        strip = "".join(
            _block(site["intensity_g_per_kwh"], (column + 0.5) * hours * 3600 / width / step_s, low, high)
            for column in range(width)
        )
        yield f"{marks[site['name']] + '  ' + site['name']:<{label}.{label}}  {strip}"
    yield f"{'':<{label}}  carbon from {low:.0f} (▁) to {high:.0f} (█) gCO2e/kWh"
    for job in _drawn(document):
        row = [" "] * width

        def column(text: str) -> int:
            share = (datetime.fromisoformat(text) - start) / (end - start)
            return min(max(int(share * width), 0), width - 1)

        for at in range(column(job["release"]), column(job["deadline"])):
            row[at] = "·"
        row[column(job["deadline"])] = "|"
        for stint in job["stints"]:
            for at in range(column(stint["start"]), max(column(stint["end"]), column(stint["start"]) + 1)):
                row[at] = marks.get(stint["site"], "?")
        late = "  late" if job["deadline_met"] is False else ""
        yield f"{job['name']:<{label}.{label}}  {''.join(row)}{late}"
    if len(document["jobs"]) > _MOST_JOBS:
        yield f"{'':<{label}}  and {len(document['jobs']) - _MOST_JOBS} more jobs"


def _drawn(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    def first(job: Mapping[str, Any]) -> tuple[str, str]:
        return (job["stints"][0]["start"] if job["stints"] else job["planned"]["start"], job["name"])

    return sorted(document["jobs"], key=first)[:_MOST_JOBS]


def _block(values: list[float | None], step: float, low: float, high: float) -> str:
    at = int(step)
    value = values[at] if at < len(values) else None
    if value is None:
        return " "
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _initials(names: list[str]) -> dict[str, str]:
    """One letter a site: its own where that is free."""
    taken: dict[str, str] = {}
    for name in names:
        letters = [*name.upper(), *"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
        taken[name] = next((c for c in letters if c.isalnum() and c not in taken.values()), "#")
    return taken
