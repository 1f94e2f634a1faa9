"""The shapes that pages are made of: figures and tables, with the unit in every key.

A figure of kind "energy" and name "hum" has the keys `hum_j`, `hum_low_j` and `hum_high_j`; one that is missing is null
there, and `hum_why` says why. Tables name their columns once, so that a page, its CSV and its charts agree on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

#: Kind of a figure -> what its keys end in. A kind that is not here is text.
SUFFIXES = {
    "energy": "_j",
    "joules": "_j",  # energy of one unit, which people read in J
    "power": "_w",
    "carbon": "_g",
    "intensity": "_g_per_kwh",
    "money": "",  # its currency stands in NAME_currency
    "share": "",
    "number": "",
    "duration": "_s",
    "latency": "_ms",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: of the rows; figures have it with the suffix of their kind.
        label: what people read above it.
        kind: of SUFFIXES, or "text", "code", "time" (ISO 8601), "grade", "state", "list".
        href: key of the rows that holds where it leads, or "".
        note: key of the rows that holds a small line below it, or "".
    """

    key: str
    label: str
    kind: str = "text"
    href: str = ""
    note: str = ""


def table(caption: str, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A table as plain data. `more` may hold `empty`, a sentence for a table without rows."""
    return {
        "caption": caption,
        "columns": [
            {"key": one.key, "label": one.label, "kind": one.kind, "href": one.href, "note": one.note}
            for one in columns
        ],
        "rows": [dict(row) for row in rows],
        **more,
    }


def figure(
    kind: str, label: str, value: float | None, low: float | None = None, high: float | None = None, *,
    key: str = "value", why: str = "", **known: Any,
) -> dict[str, Any]:  # fmt: skip
    """One figure as plain data.

    Args:
        kind: of SUFFIXES.
        low, high: its 95 % interval, where one is known.
        why: why it is missing; required where the value is None.
        known: `grade`, `method`, `source`, `currency`, `note`, as far as there are.
    """
    if value is None and not why:
        raise ValueError(f"{label} is missing without a reason")
    return {"label": label, "kind": kind, "key": key, **keyed(key, kind, value, low, high, why), **known}


def keyed(
    key: str, kind: str, value: float | None, low: float | None = None, high: float | None = None, why: str = ""
) -> dict[str, Any]:
    """The keys of one figure, to go into a row."""
    end = SUFFIXES[kind]
    found: dict[str, Any] = {f"{key}{end}": value, f"{key}_low{end}": low, f"{key}_high{end}": high}
    return found | ({f"{key}_why": why} if why else {})


def span_text(seconds: float) -> str:
    """A length of time in words.

    >>> span_text(10), span_text(5400)
    ('10 s', '1:30:00')
    """
    return f"{seconds:.3g} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))


def stated(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a page with every number that is not finite taken out, and why beside it.

    A sum of receipts that hold absurd figures may be no number any more; a page without it is still a page.

    >>> stated({"rows": [{"hum_j": float("inf"), "hum_low_j": float("nan")}], "t_s": [0.5, float("inf")]})
    {'rows': [{'hum_j': None, 'hum_low_j': None, 'hum_why': 'it is no finite number'}], 't_s': [0.5, None]}
    """
    return {key: _stated(one) for key, one in data.items()} | {
        f"{_base_of(key)}_why": _NO_NUMBER for key, one in data.items() if _is_no_number(one) and not _is_an_end(key)
    }


_NO_NUMBER = "it is no finite number"
_ENDS = tuple(f"{part}{end}" for part in ("_low", "_high") for end in SUFFIXES.values())


def _stated(value: Any) -> Any:
    if isinstance(value, Mapping):
        return stated(value)
    if isinstance(value, list | tuple):
        return [_stated(one) for one in value]
    return None if _is_no_number(value) else value


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_an_end(key: str) -> bool:
    return key.endswith(_ENDS)


def _base_of(key: str) -> str:
    longest = max((end for end in SUFFIXES.values() if key.endswith(end)), key=len)
    return key.removesuffix(longest)
