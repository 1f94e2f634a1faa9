"""Files of a project's folder that pages can show: reviews, plans, tariffs, and what else has a form we know.

An address never names a path: it names one of these, by its place in the folder, so there is nothing to climb out of.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from outweigh.app.pages.asked import Asked
from outweigh.core.errors import UsageError


class FileKind(StrEnum):
    REVIEW = "review"
    PLAN = "plan"
    TARIFF = "tariff"
    CASE = "case"
    LEVERS = "levers"
    PLACEMENT = "placement"
    LOAD = "load"
    NEGOTIATION = "negotiation"


@dataclass(frozen=True, slots=True)
class Found:
    """A file by its place in the folder ("tariffs/fra-1.toml"); `stamp` is its last change [ns] and `size` [bytes]."""

    kind: FileKind
    name: str
    path: Path
    stamp: int
    size: int

    @property
    def changed(self) -> datetime:
        return datetime.fromtimestamp(self.stamp / 1e9, UTC)


_DEEPEST = 3  # folders below the project's
_MOST_ENTRIES = 4000
_MOST_TEXT = 1_000_000  # bytes of a file written by hand
_MOST_JSON = 64_000_000
_HEAD = 4096  # bytes that tell what a JSON or CSV file is
_PASSED_OVER = {"node_modules", "__pycache__", "site-packages", "build", "dist", "mlruns"}
_PLAN = re.compile(rb'"schema"\s*:\s*"outweigh\.plan/1"')
_REVIEW = re.compile(rb'"kind"\s*:\s*"outweigh\.review"')


def files_of(folder: Path, kind: FileKind | None = None) -> tuple[Found, ...]:
    """What there is in the folder and up to three below it, newest first; all kinds by default.

    Folders whose name begins with a dot are left out, and so is what a link leads to outside.
    """
    found = [one for one in _walk(folder.resolve()) if kind is None or one.kind is kind]
    return tuple(sorted(found, key=lambda one: (-one.stamp, one.name)))


def _walk(root: Path) -> Iterator[Found]:
    waiting, seen = [(root, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda one: one.name)
        except OSError:
            continue  # a folder we may not read holds nothing we may show
        for entry in entries:
            seen += 1
            if seen > _MOST_ENTRIES:
                return
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST and entry.name not in _PASSED_OVER:
                    waiting.append((Path(entry.path), depth + 1))
                continue
            path = Path(entry.path)
            if path.suffix in (".toml", ".json", ".csv"):
                one = _found(root, path)
                if one is not None:
                    yield one


def _found(root: Path, path: Path) -> Found | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    kind = _kind_of(path, stat.st_mtime_ns, stat.st_size)
    if kind is None:
        return None
    return Found(kind, path.relative_to(root).as_posix(), path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _kind_of(path: Path, stamp: int, size: int) -> FileKind | None:
    """By its content; the name says nothing. None for every other file."""
    try:
        if path.suffix == ".toml":
            return None if size > _MOST_TEXT else _kind_of_toml(path.read_text(encoding="utf-8-sig"))
        if size > (_MOST_JSON if path.suffix == ".json" else _MOST_TEXT):
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, UnicodeDecodeError):
        return None
    return _kind_of_json(head) if path.suffix == ".json" else _kind_of_csv(head)


def _kind_of_json(head: bytes) -> FileKind | None:
    if _REVIEW.search(head):
        return FileKind.REVIEW
    return FileKind.PLAN if _PLAN.search(head) else None


def _kind_of_toml(text: str) -> FileKind | None:
    try:
        keys = set(tomllib.loads(text))
    except (ValueError, RecursionError):
        return None
    for kind, needed in (
        (FileKind.PLACEMENT, {"placement", "site"}),
        (FileKind.CASE, {"case", "base"}),
        (FileKind.LEVERS, {"base", "lever"}),
        (FileKind.NEGOTIATION, {"sheet", "buyer"}),
        (FileKind.TARIFF, {"currency", "timezone", "source"}),
    ):
        if needed <= keys:
            return kind
    return None


def _kind_of_csv(head: bytes) -> FileKind | None:
    names = {name.strip() for name in head.decode("utf-8-sig", "replace").partition("\n")[0].split(",")}
    return FileKind.LOAD if {"day", "hour", "kw"} <= names else None


def named(files: tuple[Found, ...], name: str, what: str) -> Found:
    """The file of that name among those found. Raises UsageError."""
    for one in files:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in files[:8]) or "none"
    raise UsageError(f"the project's folder holds no {what} {name!r}", f"It holds {known}")


def chosen(folder: Path, kind: FileKind, asked: Asked, field: str, what: str) -> Found:
    """The file that a field of a form names, the newest where it names none. Raises FieldRefused, UsageError."""
    files = files_of(folder, kind)
    return named(files, asked.choice(field, [one.name for one in files], files[0].name if files else ""), what)


def json_of(one: Found) -> Mapping[str, Any]:
    """The document of a JSON file. Raises UsageError where it cannot be read."""
    return _json_of(one.path, one.stamp, one.size)


@lru_cache(maxsize=64)
def _json_of(path: Path, stamp: int, size: int) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise UsageError(f"{path.name} cannot be read as JSON", "Write it again with outweigh") from err
    if not isinstance(document, dict):
        raise UsageError(f"{path.name} is no document", "Write it again with outweigh")
    return document
