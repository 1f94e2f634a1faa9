"""Whether a document read from a file is a whole review: every key that is read, with a value of its kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

from outweigh.core.measurement import Grade
from outweigh.core.verdict import Outcome
from outweigh.report.shape import ReviewDocument


def trouble_with(document: Mapping[str, Any]) -> str:
    """What keeps a document from being a review of schema 1, where in it, or "" when nothing does.

    Keys that are not in the shape are left alone: later versions and pull requests add some.

    >>> trouble_with({"schema": 1})[:32]
    'it lacks comparisons, cost_of_re'
    """
    return _trouble(ReviewDocument, document, "") or _meaning(document)


def _trouble(wanted: Any, found: object, at: str) -> str:
    if is_typeddict(wanted):
        return _table(wanted, found, at)
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is UnionType:
        said = [_trouble(one, found, at) for one in inner]
        # Of two kinds that both do not fit, null is never the one that was meant.
        return "" if "" in said else next(text for one, text in zip(inner, said, strict=True) if one is not NoneType)
    if origin is list:
        if not isinstance(found, list):
            return f"{at} is no list"
        return _first(_trouble(inner[0], each, f"{at}[{index}]") for index, each in enumerate(found))
    if origin is dict:
        if not isinstance(found, dict):
            return f"{at} is no table"
        return _first(_trouble(inner[1], each, f"{at}.{key}") for key, each in found.items())
    return "" if _is(wanted, found) else f"{at} is {_shown(found)}, not {_KINDS.get(wanted, wanted.__name__)}"


_KINDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false", NoneType: "null"}


def _is(wanted: type, found: object) -> bool:
    if wanted is float:
        return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    if wanted is int:
        return isinstance(found, int) and not isinstance(found, bool)
    return isinstance(found, wanted)


def _table(wanted: Any, found: object, at: str) -> str:
    if not isinstance(found, dict):
        return f"{at or 'it'} is no table"
    hints, required = _keys(wanted)
    lacking = sorted(required - found.keys())
    if lacking:
        return f"{at or 'it'} lacks {', '.join(lacking)}"
    return _first(
        _trouble(hints[key], value, f"{at}.{key}" if at else key) for key, value in found.items() if key in hints
    )


@cache
def _keys(wanted: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Kinds of a table's keys, and those it must have."""
    # `__required_keys__` does not see a NotRequired that is kept as text (PEP 563), so the hints are asked.
    told = get_type_hints(wanted, include_extras=True)
    return get_type_hints(wanted), frozenset(key for key, kind in told.items() if get_origin(kind) is not NotRequired)


def _first(said: Iterable[str]) -> str:
    return next((text for text in said if text), "")


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _meaning(document: Mapping[str, Any]) -> str:
    """Words out of a list that is closed."""
    verdict = document["verdict"]
    for key, known in (("outcome", [one.value for one in Outcome]), ("grade", [one.value for one in Grade])):
        if verdict[key] not in known:
            return f"verdict.{key} is {_shown(verdict[key])}, not one of {', '.join(known)}"
    return "" if document["variants"] else "it has no variants"
