"""What is wrong with a file of ours, as sentences with lines: pydantic's findings and our own, in one ConfigError."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from outweigh.config.locate import Path, line_of
from outweigh.config.schema import Shape
from outweigh.core.errors import ConfigError, InvalidQuantity

_NOT_A = {
    "string_type": "text",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "finite",
}
_BOUND = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that is wrong: at which key, what, and what to do about it."""

    path: Path
    problem: str
    remedy: str


def refuse(refusals: Sequence[Refusal], source: str, lines: Mapping[Path, int]) -> ConfigError:
    """The first refusal in the order of the file as an error; the lines of the others follow its remedy."""
    placed = sorted(((line_of(lines, refusal.path), refusal) for refusal in refusals), key=lambda pair: pair[0])
    line, first = placed[0]
    remedy = first.remedy[:1].upper() + first.remedy[1:]
    # A path in an inline table can bring two findings of one line; a line is named once.
    others = sorted({other for other, _ in placed[1:] if other})  # what is missing stands on no line
    if others:
        where = ", ".join(str(other) for other in others)
        remedy += f"{'' if remedy[-1] in '.?' else '.'} More to mend on line{'s' * (len(others) > 1)} {where}"
    return ConfigError(source, line, first.problem, remedy)


def from_validation(error: ValidationError, shape: Shape) -> list[Refusal]:
    """pydantic's findings in the words of the file. The models hold no unions, so a location is a path of keys."""
    found = error.errors(include_url=False)
    unknown = {detail["loc"] for detail in found if detail["type"] == "extra_forbidden"}
    meant = {(*path[:-1], near) for path in unknown if (near := _nearest(shape, path))}
    refusals = []
    for detail in found:
        path = detail["loc"]
        # "lacks adapter" beside "unknown adaptor: did you mean adapter?" says one thing twice.
        if detail["type"] == "missing" and path in meant:
            continue
        refusals.append(_sentence(shape, detail["type"], path, detail["input"], detail.get("ctx", {}), detail["msg"]))
    return refusals


def unknown_name(path: Path, name: str, what: str, known: Iterable[str]) -> Refusal:
    """A name that should be declared elsewhere in the file, and is not."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Declared: {', '.join(names) or 'none'}"
    return Refusal(path, f"{dotted(path)} names {name!r}, but no {what} is called that", remedy)


def dotted(path: Path) -> str:
    """
    >>> dotted(("task", "guards", 1, "margin"))
    'task.guards[1].margin'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _nearest(shape: Shape, path: Path) -> str | None:
    near = difflib.get_close_matches(str(path[-1]), shape.known_keys(path[:-1]), n=1)
    return near[0] if near else None


def _sentence(shape: Shape, kind: str, path: Path, given: object, context: Mapping[str, Any], message: str) -> Refusal:
    key = dotted(path)
    if kind == "extra_forbidden":
        return _unknown_key(shape, path)
    if kind == "missing":
        return Refusal(path, f"{_table(path[:-1])} lacks {path[-1]!r}", f"Add {_example(shape, path)}")
    if kind == "value_error" and isinstance(cause := context.get("error"), InvalidQuantity):
        return Refusal(path, f"{key}: {cause.given} is not a valid {cause.quantity}", cause.remedy)
    shown = _shown(given)
    if kind == "enum":
        choices = [str(choice) for choice in _choices(shape, path)]
        near = difflib.get_close_matches(str(given), choices, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Write {_example(shape, path)}"
        return Refusal(path, f"{key} is {shown}, which is not one of {', '.join(choices)}", remedy)
    if kind == "string_too_short":
        return Refusal(path, f"{key} is empty", f"Write {_example(shape, path)}")
    if kind in _NOT_A:
        return Refusal(path, f"{key} is {shown}, which is not {_NOT_A[kind]}", f"Write {_example(shape, path)}")
    if kind in _BOUND:
        bound, words = _BOUND[kind]
        return Refusal(
            path, f"{key} is {shown}; it must be {words} {context[bound]:g}", f"Write {_example(shape, path)}"
        )
    return Refusal(path, f"{key}: {message}", f"Write {_example(shape, path)}")


def _shown(given: object) -> str:
    if isinstance(given, list):
        return "an array"
    if isinstance(given, dict):
        return "a table"
    return json.dumps(given, ensure_ascii=False) if isinstance(given, str | bool) else str(given)


def _unknown_key(shape: Shape, path: Path) -> Refusal:
    table, key = path[:-1], str(path[-1])
    if table[:1] == ("site",) and key == "tariff":
        problem = f"{dotted(path)}: tariff files are not read by this version"
        return Refusal(path, problem, 'Write price = "0.12 USD/kWh", or leave it out for the price table of the zone')
    problem = f"unknown key {key!r} in {_table(table)}"
    if near := _nearest(shape, path):
        return Refusal(path, problem, f"Did you mean {near!r}?")
    known = shape.known_keys(table)
    remedy = f"Known here: {', '.join(known)}"
    if "options" in known:
        remedy += f"; what only the adapter knows goes under [{dotted((*table, 'options'))}]"
    return Refusal(path, problem, remedy)


def _table(path: Path) -> str:
    return f"[{dotted(path)}]" if path else "the file"


def _choices(shape: Shape, path: Path) -> list[object]:
    choices = shape.node_at(path).get("enum")
    return choices if isinstance(choices, list) else []


def _example(shape: Shape, path: Path) -> str:
    """The key as one might write it, from the schema's first example."""
    node = shape.node_at(path)
    examples = node.get("examples")
    if isinstance(examples, list):
        return f"{path[-1]} = {_toml(examples[0])}"
    if node.get("type") == "object":
        return f"a table [{dotted(path)}]"
    return f"{path[-1]} = …"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)
