"""The decision record: one page for every verdict, and a log that is only ever added to."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from outweigh.app.files import check_writable
from outweigh.core.errors import LedgerCorrupt, OutputError, UsageError
from outweigh.registry import exporters

#: Folder of the pages and their log, beside energy.toml, where it is committed with the code.
FOLDER = "decisions"
LOG = "verdicts.jsonl"

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    page: Path
    log: Path


def record(document: Mapping[str, object], folder: Path) -> Recorded:
    """Write the page of a verdict and add its line to the log.

    The log is one JSON object a line, each with the SHA-256 of its page. Lines do not lean on each other, so that two
    branches that each recorded a verdict merge by keeping both.

    Args:
        document: a review document with the key `weighing`.

    Raises:
        OutputError: the folder cannot be written.
    """
    check_writable(folder)
    doc = cast("Mapping[str, Any]", document)
    verdict, weighing = doc["verdict"], doc["weighing"]
    name = re.sub(r"[^A-Za-z0-9_.+-]", "-", verdict["proposal"])
    # Recorded again under other waivers, a verdict is another page: the first one stays as it was signed for.
    whole = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
    page = folder / f"{doc['created'][:10]}-{name}-{weighing['verdict_id'][:12]}-{whole[:6]}.md"
    exporters.get("decision")().write(document, page)
    request = doc.get("pull_request") or {}
    line = {
        "schema": 1,
        "verdict_id": weighing["verdict_id"],
        "created": doc["created"],
        "project": doc["project"]["name"],
        "incumbent": verdict["incumbent"],
        "proposal": verdict["proposal"],
        "content_hash": weighing["content_hash"],
        "outcome": verdict["outcome"],
        "waived": weighing["waived"],
        "provisional": verdict["provisional"],
        "grade": verdict["grade"],
        "decided_by": verdict["decided_by"],
        "waivers": weighing["waivers"],
        "base": (request.get("base") or {}).get("commit", ""),
        "head": (request.get("head") or {}).get("commit", ""),
        "page": page.name,
        "page_sha256": hashlib.sha256(page.read_bytes()).hexdigest(),
    }
    log = folder / LOG
    _append(log, json.dumps(line, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n")
    return Recorded(page, log)


def _append(log: Path, line: str) -> None:
    # One write of one line: with O_APPEND the kernel puts it at the end, whoever else is writing.
    try:
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as err:
        raise OutputError(str(log), err.strerror or str(err), "Choose a folder you may write to") from err


def logged(folder: Path) -> Iterator[dict[str, Any]]:
    """The verdicts of a log, oldest line first, each checked against its page.

    Raises:
        UsageError: there is no log.
        LedgerCorrupt: a line cannot be read, or a page is not the one that was recorded.
    """
    log = folder / LOG
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError as err:
        problem = f"{log} cannot be read ({err.strerror})"
        raise UsageError(problem, "Record a verdict with `outweigh gate --record`, or name the folder") from err
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            page = folder / Path(line["page"]).name
            recorded = line["page_sha256"]
        except (ValueError, KeyError, TypeError) as err:
            raise LedgerCorrupt(str(log), f"line {number} is no verdict", "Take it back from version control") from err
        if not page.is_file() or hashlib.sha256(page.read_bytes()).hexdigest() != recorded:
            problem = f"line {number}: {page.name} is missing or was changed since"
            raise LedgerCorrupt(str(log), problem, "Take it back from version control")
        yield line


HEADINGS = ("verdict", "day", "proposal", "against", "outcome", "decided by", "grade", "waiver")


def log_rows(verdicts: Sequence[Mapping[str, Any]], now: datetime | None = None) -> tuple[tuple[str, ...], list[Row]]:
    """Headings and rows of the log for people. A waiver has its owner, its end, and whether it still counts."""
    now = now or datetime.now(UTC)
    rows: list[Row] = []
    for one in verdicts:
        waivers = "; ".join(_waiver(each, now) for each in one["waivers"] if each["state"] != "other")
        outcome = (
            f"{one['outcome']}{', waived' if one['waived'] else ''}{' (provisional)' if one['provisional'] else ''}"
        )
        rows.append(
            (
                one["verdict_id"][:12], one["created"][:10], one["proposal"], one["incumbent"], outcome,
                one["decided_by"], one["grade"], waivers,
            )
        )  # fmt: skip
    return HEADINGS, rows


def _waiver(waiver: Mapping[str, Any], now: datetime) -> str:
    ends = datetime.fromisoformat(waiver["expires"])
    state = "until" if now < ends else "ran out"
    return f"{waiver['owner']}, {state} {waiver['expires'][:10]}: {waiver['reason']}"
