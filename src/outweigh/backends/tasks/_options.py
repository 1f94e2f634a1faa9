"""Options as every task reads them: refused with the nearest known name, checked for kind and range."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from types import ModuleType

from outweigh.core.errors import MissingExtra, ModelError, TaskError
from outweigh.core.variant import Option, Variant
from outweigh.data.importing import imported


def need(module: str, package: str, needed_by: str, remedy: str) -> ModuleType:
    """The module of an extra, imported now. Raises MissingExtra."""
    try:
        return imported(module)
    except ImportError as err:
        raise MissingExtra(package, needed_by, remedy) from err


def nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}"


def task_options(task: str, given: Sequence[tuple[str, Option]], defaults: Mapping[str, Option]) -> dict[str, Option]:
    """`given` laid over `defaults`. Raises TaskError for a name that no default has."""
    for name, _ in given:
        if name not in defaults:
            raise TaskError(task, f"unknown option {name!r}", nearest(name, tuple(defaults)))
    return dict(defaults) | dict(given)


def variant_options(variant: Variant, known: Sequence[str]) -> dict[str, Option]:
    """A variant's own options. Raises ModelError for one that the task does not know."""
    for name, _ in variant.options:
        if name not in known:
            raise ModelError(variant.name, f"unknown option {name!r}", nearest(name, known))
    return dict(variant.options)


def whole(task: str, options: Mapping[str, Option], name: str, least: int) -> int:
    """A whole number of `least` or more. Raises TaskError."""
    value = options[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TaskError(task, f"option {name} is {value!r}", f"Give a whole number, {least} or more")
    return value


def number(task: str, options: Mapping[str, Option], name: str, above: float = -math.inf) -> float:
    """A finite number above `above`. Raises TaskError."""
    value = options[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= above:
        wanted = "a number" if above == -math.inf else f"a number above {above:g}"
        raise TaskError(task, f"option {name} is {value!r}", f"Give {wanted}")
    return float(value)


def choice(task: str, options: Mapping[str, Option], name: str, known: Sequence[str]) -> str:
    """One of `known`. Raises TaskError with the nearest."""
    value = options[name]
    if value not in known:
        raise TaskError(task, f"option {name} is {value!r}", f"Choose one of {', '.join(map(repr, known))}")
    return str(value)


def brief(err: BaseException) -> str:
    """What an error says, on one line of at most 200 characters."""
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= 200 else text[:199] + "…"
