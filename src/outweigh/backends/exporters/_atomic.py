"""A report is meant to be read, so unlike what we keep for ourselves it is not private to its owner."""

from __future__ import annotations

from pathlib import Path

from outweigh.data.whole_file import write_whole


def write_text(path: Path, text: str) -> None:
    """`path` becomes `text`, whole or not at all, readable by all. Raises OutputError."""
    write_whole(path, text, mode=0o644)
