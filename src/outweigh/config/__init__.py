"""energy.toml -> core objects. pydantic stops here: past this door there are only frozen core types."""

from __future__ import annotations

from pathlib import Path

from outweigh.config.build import build, check
from outweigh.config.documents import read_model, read_text
from outweigh.config.schema import SCHEMA_FILE, json_schema, render_schema, schema_text
from outweigh.config.starter import starter
from outweigh.config.tables import EnergyToml
from outweigh.core.project import Project

FILE_NAME = "energy.toml"

__all__ = ["FILE_NAME", "SCHEMA_FILE", "json_schema", "load_project", "loads_project", "render_schema", "schema_text",
           "starter"]  # fmt: skip


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
    text = read_text(source, f"Write one with `outweigh init`, or name the folder that holds {FILE_NAME}")
    return loads_project(text, source)


def loads_project(text: str, source: Path) -> Project:
    """Read a project from the text of an energy.toml: the base revision's, say. `source` is where it belongs.

    Raises:
        ConfigError: as `load_project`.
    """
    return build(read_model(text, str(source), EnergyToml, "docs/energy-toml.md", check), source)
