"""Small files of the kernel: one short value each, in /sys and /proc."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str:
    """What the file says, without white space around it; "" when it is not there or does not answer."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def number_of(path: Path) -> int | None:
    """The whole number in the file; None when there is none."""
    try:
        return int(text_of(path))
    except ValueError:
        return None
