"""Labelled texts: read from a folder of class folders, CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import difflib
import hashlib
import importlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outweigh.backends.tasks._splitting import distinct
from outweigh.core.errors import MissingExtra, TaskError


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text with its class. `digest` is the SHA-256 of the text in UTF-8, in hexadecimal."""

    text: str
    label: str
    digest: str


def read_labelled(path: Path, task: str, text_column: str = "text", label_column: str = "label") -> list[Labelled]:
    """All distinct texts of a data set, with their labels.

    A text that occurs more than once is kept once, under the label it has first in reading order (class folders and
    files by name, rows as they come): a copy in both halves of the split would test memory, not skill. Files are read
    as UTF-8; a text file that is not UTF-8 is read as Windows-1252, which older corpora are written in.

    Args:
        path: folder of class folders, or a .csv, .jsonl, .ndjson or .parquet file.
        task: name of the task, for errors.
        text_column, label_column: what the columns are called; a folder has none.

    Raises:
        TaskError: nothing to read, a text that cannot be read or is empty, a missing column.
        MissingExtra: a Parquet file without pyarrow.
    """
    if path.is_dir():
        rows = _folder(path, task)
    elif path.suffix.lower() == ".csv":
        rows = _csv(path, task, text_column, label_column)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        rows = _json_lines(path, task, text_column, label_column)
    elif path.suffix.lower() == ".parquet":
        rows = _parquet(path, task, text_column, label_column)
    else:
        raise TaskError(
            task,
            f"{path.name} is no data set this task reads",
            "Give a folder of class folders, or a .csv, .jsonl or .parquet file with a text and a label column",
        )
    found: list[Labelled] = []
    for where, text, label in rows:
        if not text.strip() or not label.strip():
            raise TaskError(task, f"{where} has no {'text' if label.strip() else 'label'}", "Fill it in, or remove it")
        try:
            digest = hashlib.sha256(text.encode()).hexdigest()
        except UnicodeEncodeError as err:
            problem = f"{where} is not Unicode text (a lone surrogate)"
            raise TaskError(task, problem, "Write the data set again as UTF-8") from err
        found.append(Labelled(text, label, digest))
    if not found:
        raise TaskError(task, f"{path.name} holds no texts", "Point `dataset` at labelled texts")
    return distinct(found)


# --- readers: (where, text, label) of each row ------------------------------------------------------

_Row = tuple[str, str, str]


def _folder(path: Path, task: str) -> Iterator[_Row]:
    classes = sorted(folder for folder in _shown(path, task) if folder.is_dir())
    if not classes:
        raise TaskError(task, f"{path} has no class folders", "Put the texts of each class into a folder of its name")
    for folder in classes:
        for file in sorted(_shown(folder, task)):
            if file.is_file():
                where = f"{folder.name}/{file.name}"
                yield where, _decode(_read(file, task), where, task), folder.name


def _shown(folder: Path, task: str) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__"))]
    except OSError as err:
        raise TaskError(task, f"{folder} cannot be listed ({err.strerror})", "Check its permissions") from err


def _read(path: Path, task: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise TaskError(task, f"{path} cannot be read ({err.strerror})", "Check the file and its permissions") from err


def _decode(data: bytes, where: str, task: str) -> str:
    # Text of no encoding has NULs; UTF-16 and binary files do.
    if b"\0" not in data:
        for encoding in ("utf-8-sig", "cp1252"):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                continue
    raise TaskError(task, f"{where} is not text", "Save it as UTF-8, or remove it")


def _utf8(path: Path, task: str) -> str:
    try:
        return _read(path, task).decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise TaskError(task, f"{path.name} is not UTF-8 (byte {err.start})", "Save it as UTF-8") from err


def _csv(path: Path, task: str, text_column: str, label_column: str) -> Iterator[_Row]:
    rows = csv.DictReader(io.StringIO(_utf8(path, task), newline=""), strict=True)
    try:
        _check_columns(rows.fieldnames or (), (text_column, label_column), path.name, task)
        for row in rows:
            # A row shorter than the header has None for what is missing.
            yield f"{path.name}:{rows.line_num}", row[text_column] or "", row[label_column] or ""
    except csv.Error as err:
        raise TaskError(task, f"{path.name}:{rows.line_num} is not CSV ({err})", "Mend the line") from err


def _json_lines(path: Path, task: str, text_column: str, label_column: str) -> Iterator[_Row]:
    # splitlines would also cut at U+2028 and its like, which JSON allows inside a string.
    for number, line in enumerate(_utf8(path, task).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            raise TaskError(task, f"{where} is not JSON ({err.msg})", "Write one JSON object a line") from err
        if not isinstance(row, dict):
            raise TaskError(task, f"{where} is not a JSON object", "Write one JSON object a line")
        _check_columns(row, (text_column, label_column), where, task)
        text, label = row[text_column], row[label_column]
        if not isinstance(text, str) or not isinstance(label, str | int):
            raise TaskError(task, f"{where}: text is not a string, or label neither string nor number", "Mend the line")
        yield where, text, str(label)


def _parquet(path: Path, task: str, text_column: str, label_column: str) -> Iterator[_Row]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        arrow = importlib.import_module("pyarrow")
    except ImportError as err:
        remedy = "Run: pip install pyarrow, or save the data set as CSV or JSON lines"
        raise MissingExtra("pyarrow", f"reading {path.name}", remedy) from err
    try:
        _check_columns(parquet.read_schema(path).names, (text_column, label_column), path.name, task)
        table = parquet.read_table(path, columns=[text_column, label_column])
    except (arrow.ArrowInvalid, OSError) as err:
        raise TaskError(task, f"{path.name} is not a readable Parquet file ({err})", "Write it again") from err
    for number, row in enumerate(table.to_pylist(), start=1):
        text, label = row[text_column], row[label_column]
        yield f"{path.name} row {number}", "" if text is None else str(text), "" if label is None else str(label)


def _check_columns(found: Iterable[str], wanted: Sequence[str], where: str, task: str) -> None:
    names = list(found)
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(names) or 'no columns'}."
            remedy = f"{hint} The task options `text_column` and `label_column` name the two"
            raise TaskError(task, f"{where} has no column {column!r}", remedy)
