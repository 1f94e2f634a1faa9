"""A TOML file of ours, from disk to a validated model: what every kind of file has in common."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from outweigh.config.locate import Path as KeyPath
from outweigh.config.locate import locate
from outweigh.config.refusals import Refusal, dotted, from_validation, refuse
from outweigh.config.schema import shape_of
from outweigh.core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


def read_text(source: Path, missing: str) -> str:
    """The text of a file, UTF-8.

    Args:
        missing: what to do where there is no such file.

    Raises:
        ConfigError: it is missing, unreadable, or not UTF-8.
    """
    try:
        raw = source.read_bytes()
    except FileNotFoundError as err:
        raise ConfigError(str(source), 0, "there is no such file", missing) from err
    except OSError as err:
        problem = f"cannot be read ({err.strerror or type(err).__name__})"
        raise ConfigError(str(source), 0, problem, "Check that it is a file you may read") from err
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw[: err.start].count(b"\n") + 1
        raise ConfigError(str(source), line, "the file is not UTF-8 text", "Save it as UTF-8") from err


def read_model(
    text: str, source: str, model: type[M], page: str, check: Callable[[M], Sequence[Refusal]] = lambda _: ()
) -> M:
    """The text of a TOML file as a model.

    Args:
        page: of the docs that shows such a file.
        check: what the model alone cannot see, such as a name that is nowhere declared.

    Raises:
        ConfigError: it is not TOML, or says something we refuse. The error names the first such line, and the lines of
            the others.
    """
    # As tomllib does: a line ends at \n, and \r\n is one line end.
    text = text.replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
        lines = locate(text)
    except RecursionError as err:
        raise ConfigError(source, 0, "tables are nested too deeply", f"Write it as {page} does") from err
    except ValueError as err:  # TOMLDecodeError, and what Python's own number parser refuses
        raise _not_toml(str(err), text, source) from err
    return _validated(document, lines, source, model, check)


def _validated(
    document: Mapping[str, object],
    lines: Mapping[KeyPath, int],
    source: str,
    model: type[M],
    check: Callable[[M], Sequence[Refusal]],
) -> M:
    if too_large := list(_beyond_64_bits(document, ())):
        raise refuse(too_large, source, lines)
    try:
        tables = model.model_validate(document)
    except ValidationError as err:
        raise refuse(from_validation(err, shape_of(model)), source, lines) from err
    if refusals := check(tables):
        raise refuse(refusals, source, lines)
    return tables


def _not_toml(message: str, text: str, source: str) -> ConfigError:
    position = _POSITION.search(message)
    problem = _POSITION.sub("", message)
    line = 0
    if position:
        line = int(position[1]) if position[1] else len(text.splitlines())
    # tomllib shows tables as Python tuples.
    problem = re.sub(
        r"\(('[^()]*'),?\)", lambda names: f"[{names[1].replace(chr(39), '').replace(', ', '.')}]", problem
    )
    remedy = "Text goes in quotes, tables in [brackets], and no key or table is written twice"
    return ConfigError(source, line, f"not valid TOML: {problem}", remedy)


def _beyond_64_bits(value: object, path: KeyPath) -> Iterator[Refusal]:
    """TOML integers have 64 bits; tomllib takes any, and later stores and encoders would not."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _beyond_64_bits(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _beyond_64_bits(inner, (*path, index))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield Refusal(path, f"{dotted(path)} is larger than TOML allows", "Write a number of at most 64 bits")
