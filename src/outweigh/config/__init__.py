"""energy.toml -> core objects. pydantic stops here: past this door there are only frozen core types."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from outweigh.config.build import build, check
from outweigh.config.locate import Path as KeyPath
from outweigh.config.locate import locate
from outweigh.config.refusals import Refusal, dotted, from_validation, refuse
from outweigh.config.schema import SCHEMA_FILE, json_schema, render_schema, schema_text
from outweigh.config.starter import starter
from outweigh.config.tables import EnergyToml
from outweigh.core.errors import ConfigError
from outweigh.core.project import Project

FILE_NAME = "energy.toml"

__all__ = ["FILE_NAME", "SCHEMA_FILE", "json_schema", "load_project", "loads_project", "render_schema", "schema_text",
           "starter"]  # fmt: skip

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


def load_project(path: Path) -> Project:
    """Read a project.

    Args:
        path: an energy.toml, or the folder it lies in.

    Returns:
        The project, with model and data references as written and `root` as the folder of the file.

    Raises:
        ConfigError: the file is missing or unreadable, is not TOML, or says something we refuse. The error names the
            first such line, and the lines of the others.
    """
    source = path / FILE_NAME if path.is_dir() else path
    try:
        raw = source.read_bytes()
    except FileNotFoundError as err:
        remedy = f"Write one with `outweigh init`, or name the folder that holds {FILE_NAME}"
        raise ConfigError(str(source), 0, "there is no such file", remedy) from err
    except OSError as err:
        problem = f"cannot be read ({err.strerror or type(err).__name__})"
        raise ConfigError(str(source), 0, problem, "Check that it is a file you may read") from err
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw[: err.start].count(b"\n") + 1
        raise ConfigError(str(source), line, "the file is not UTF-8 text", "Save it as UTF-8") from err
    return loads_project(text, source)


def loads_project(text: str, source: Path) -> Project:
    """Read a project from the text of an energy.toml: the base revision's, say. `source` is where it belongs.

    Raises:
        ConfigError: as `load_project`.
    """
    # As tomllib does: a line ends at \n, and \r\n is one line end.
    text = text.replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
        lines = locate(text)
    except RecursionError as err:
        raise ConfigError(
            str(source), 0, "tables are nested too deeply", "Write it as docs/energy-toml.md does"
        ) from err
    except ValueError as err:  # TOMLDecodeError, and what Python's own number parser refuses
        raise _not_toml(str(err), text, str(source)) from err
    if too_large := list(_beyond_64_bits(document, ())):
        raise refuse(too_large, str(source), lines)
    try:
        tables = EnergyToml.model_validate(document)
    except ValidationError as err:
        raise refuse(from_validation(err), str(source), lines) from err
    if refusals := check(tables):
        raise refuse(refusals, str(source), lines)
    return build(tables, source)


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
