"""What carrying a plan out, and telling what came of it, read of a plan file: checked before anything is begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

#: What a value has to be: a word for it, and whether a value is that.
Kind = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_stamp(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_TEXT: Final[Kind] = ("a text", lambda value: isinstance(value, str))
_NUMBER: Final[Kind] = ("a number", _is_number)
_POSITIVE: Final[Kind] = ("a number above 0", lambda value: _is_number(value) and value > 0)
_COUNT: Final[Kind] = ("a whole number above 0", lambda value: _is_count(value) and value > 0)
_FROM_ZERO: Final[Kind] = ("a whole number from 0", lambda value: _is_count(value) and value >= 0)
_FLAG: Final[Kind] = ("true or false", lambda value: isinstance(value, bool))
_STAMP: Final[Kind] = ("a time with its zone", _is_stamp)
_TABLE: Final[Kind] = ("a table", lambda value: isinstance(value, Mapping))
_TEXTS: Final[Kind] = (
    "a list of texts", lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)  # fmt: skip
_SOME: Final[Kind] = ("a list with something in it", lambda value: isinstance(value, list) and bool(value))

_PLAN: Final[dict[str, Kind]] = {
    "plan_id": _TEXT, "created": _TEXT, "currency": _TEXT, "carbon_meaning": _TEXT,
    "carbon_price_per_tonne": _NUMBER, "horizon": _TABLE, "sites": _SOME, "jobs": _SOME,
}  # fmt: skip
_HORIZON: Final[dict[str, Kind]] = {"start": _STAMP, "end": _STAMP, "step_s": _POSITIVE, "steps": _COUNT}
_SITE: Final[dict[str, Kind]] = {
    "name": _TEXT, "pue": _POSITIVE, "move_cost_per_gb": _NUMBER, "demand_rate_per_kw": _NUMBER,
    "peak_so_far_kw": _NUMBER,
}  # fmt: skip
_JOB: Final[dict[str, Kind]] = {
    "name": _TEXT, "count": _COUNT, "home": _TEXT, "release": _STAMP, "deadline": _STAMP, "work_h": _POSITIVE,
    "preemptible": _FLAG, "levels": _SOME, "allowed_sites": _TEXTS, "checkpoint_h": _NUMBER,
    "checkpoint_kwh": _NUMBER, "checkpoint_signal": _TEXT, "checkpoint_grace_s": _NUMBER, "data_gb": _NUMBER,
    "cpus": _COUNT, "gpus": _FROM_ZERO, "nodes": _COUNT, "command": _TEXTS, "pieces": _SOME,
}  # fmt: skip
_LEVEL: Final[dict[str, Kind]] = {"speed": _POSITIVE, "power_w": _POSITIVE}
_PIECE: Final[dict[str, Kind]] = {
    "run": _FROM_ZERO, "site": _TEXT, "start": _STAMP, "end": _STAMP, "count": _COUNT, "power_w": _POSITIVE,
}  # fmt: skip


def problem_in(document: Mapping[str, Any]) -> str:
    """The first thing that a plan lacks or says otherwise, with its place in the file; "" where there is none.

    >>> problem_in({"plan_id": "1", "created": "2026-12-01T00:00Z"})
    'currency is missing'
    """
    return next(_problems(document), "")


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _of(document, _PLAN, "")
    yield from _of(document["horizon"], _HORIZON, "horizon.")
    for at, site in enumerate(document["sites"]):
        yield from _of_site(site, f"sites[{at}]", document["horizon"]["steps"])
    names = [site["name"] for site in document["sites"]]
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"sites[{at}].name is {name!r}, as another one's"
    for at, job in enumerate(document["jobs"]):
        yield from _of_job(job, f"jobs[{at}]", names)


def _of_site(site: Any, place: str, steps: int) -> Iterator[str]:
    yield from _of(site, _SITE, f"{place}.")
    for key in ("price_per_kwh", "intensity_g_per_kwh", "capacity_kw"):
        if key not in site:
            yield f"{place}.{key} is missing"
        row = site[key]
        if key == "capacity_kw" and row in (None, []):
            continue  # no limit
        if not isinstance(row, list) or not all(each is None or _is_number(each) for each in row):
            yield f"{place}.{key} is not a list of numbers"
        if len(row) != steps:
            yield f"{place}.{key} has {len(row)} values, and the horizon has {steps} steps"


def _of_job(job: Any, place: str, sites: list[str]) -> Iterator[str]:
    yield from _of(job, _JOB, f"{place}.")
    for at, level in enumerate(job["levels"]):
        yield from _of(level, _LEVEL, f"{place}.levels[{at}].")
    known = f"it has {', '.join(sites)}"
    for at, piece in enumerate(job["pieces"]):
        yield from _of(piece, _PIECE, f"{place}.pieces[{at}].")
        if piece["site"] not in sites:
            yield f"{place}.pieces[{at}].site is {piece['site']!r}, which is no site of the plan ({known})"
    for site in job["allowed_sites"]:
        if site not in sites:
            yield f"{place}.allowed_sites has {site!r}, which is no site of the plan ({known})"
    if not job["allowed_sites"]:
        yield f"{place}.allowed_sites is empty"


def _of(body: Any, wanted: Mapping[str, Kind], place: str) -> Iterator[str]:
    if not isinstance(body, Mapping):
        yield f"{place.removesuffix('.')} is not a table"
    for key, (word, holds) in wanted.items():
        if key not in body:
            yield f"{place}{key} is missing"
        if not holds(body[key]):
            yield f"{place}{key} is {_short(body[key])}, and not {word}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
