"""What a language model is judged on: passages to predict, or prompts with the one right answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outweigh.backends.tasks._splitting import T, distinct, key
from outweigh.core.errors import TaskError


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage to predict, or a prompt with its `label`, the right answer. `digest` is a SHA-256 of the content."""

    text: str
    label: str
    digest: str


def read_passages(path: Path, task: str, column: str, chars: int) -> list[Passage]:
    """All distinct passages of a text file, a folder of .txt files, or the column `column` of JSON lines.

    Each document is cut at white space into passages of at most `chars` characters, so that they are of about one
    length; one of less than half of that, a document's end, is left out.

    Raises:
        TaskError: nothing to read, or a file that is not UTF-8 or not JSON lines.
    """
    if path.is_dir():
        documents = [_utf8(file, task) for file in sorted(path.glob("*.txt"))]
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        documents = [_text(row, column, where, task) for where, row in _rows(path, task)]
    else:
        documents = [_utf8(path, task)]
    found = [_passage(piece, "") for document in documents for piece in _cut(document, chars)]
    if not found:
        problem = f"{path.name} holds no passage of {chars // 2} characters or more"
        raise TaskError(task, problem, "Point `dataset` at a text, or lower the task option `chars`")
    return distinct(found)


def read_questions(path: Path, task: str, prompt_column: str, answer_column: str) -> list[Passage]:
    """All distinct prompts of JSON lines, with their answers; one that occurs again is dropped.

    Raises:
        TaskError: not JSON lines, a missing column, or an empty prompt or answer.
    """
    found = []
    for where, row in _rows(path, task):
        prompt, answer = (_text(row, column, where, task) for column in (prompt_column, answer_column))
        if not prompt.strip() or not answer.strip():
            raise TaskError(task, f"{where} has an empty prompt or answer", "Fill it in, or remove the line")
        found.append(_passage(prompt, answer))
    if not found:
        raise TaskError(task, f"{path.name} holds no prompts", "Point `dataset` at JSON lines of prompts and answers")
    return distinct(found)


def drawn(items: Sequence[T], most: int, seed: int) -> tuple[T, ...]:
    """The items in an order that depends on their content and the seed alone; the first `most` of them, 0 for all."""
    ordered = sorted(items, key=lambda item: key(seed, "order", item))
    return tuple(ordered[:most] if most else ordered)


def has_answers(path: Path, task: str, answer_column: str) -> bool:
    """Whether these are JSON lines whose first one has an answer."""
    if path.is_dir() or path.suffix.lower() not in (".jsonl", ".ndjson"):
        return False
    first = next(_rows(path, task), None)
    return first is not None and answer_column in first[1]


def _passage(text: str, answer: str) -> Passage:
    try:
        # The prompt alone tells items apart: asked twice with two answers, one of them would be wrong.
        digest = hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError as err:
        raise TaskError("language-model", "a text is not Unicode (a lone surrogate)", "Write it as UTF-8") from err
    return Passage(text, answer, digest)


def _cut(document: str, chars: int) -> Iterator[str]:
    rest = document.strip()
    while len(rest) > chars:
        # Where there is no white space at all (some scripts write without), the cut falls where it falls.
        place = max(rest.rfind(" ", chars // 2, chars + 1), rest.rfind("\n", chars // 2, chars + 1))
        piece, rest = (rest[:place], rest[place:]) if place > 0 else (rest[:chars], rest[chars:])
        yield piece.strip()
        rest = rest.strip()
    if len(rest) >= max(1, chars // 2):
        yield rest


def _rows(path: Path, task: str) -> Iterator[tuple[str, dict[str, object]]]:
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
        yield where, row


def _text(row: dict[str, object], column: str, where: str, task: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        problem = f"{where} has no text in {column!r}"
        raise TaskError(task, problem, f"It has: {', '.join(row)}. Task options name the columns")
    return value


def _utf8(path: Path, task: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise TaskError(task, f"{path} cannot be read ({err.strerror})", "Check the file and its permissions") from err
    except UnicodeDecodeError as err:
        raise TaskError(task, f"{path.name} is not UTF-8 (byte {err.start})", "Save it as UTF-8") from err
