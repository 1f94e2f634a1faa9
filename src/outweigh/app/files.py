"""Projects, ledgers and finished reports as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outweigh.core.errors import OutputError, UsageError
from outweigh.ports import ReceiptFilter, Store
from outweigh.registry import exporters

#: What a review writes, in the order it is named to people: file name -> exporter.
REPORT_FILES = {"report.html": "html", "report.md": "markdown", "review.json": "json"}


def start_project(
    folder: Path, *, name: str = "", unit: str = "item", items: int | None = None, error: float = 0.1,
    force: bool = False,
) -> tuple[Path, list[str]]:  # fmt: skip
    """Write a commented energy.toml, with its schema beside it for editors.

    Args:
        items, error: size of the evaluation set and error of the incumbent in (0, 1), to say how small a gain such
            a set can show; without a size that is said of some usual ones.

    Returns:
        The file, and sentences on the smallest gain.

    Raises:
        UsageError: there is a file already and `force` is not set, or `error` is not between 0 and 1.
        OutputError: it cannot be written.
    """
    from outweigh.config import FILE_NAME, SCHEMA_FILE, schema_text, starter

    path = folder / FILE_NAME
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", "Edit it, or overwrite it with --force")
    if not 0 < error < 1:
        raise UsageError(f"an error of {error:g} is not a share", "Give --error between 0 and 1, such as 0.1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(starter(name or folder.resolve().name or "project", unit), encoding="utf-8")
        (folder / Path(SCHEMA_FILE).name).write_text(schema_text(), encoding="utf-8")
    except OSError as err:
        raise OutputError(str(path), err.strerror or str(err), "Choose a folder you may write to") from err
    return path, list(_power(items, error))


#: Evaluation sets that are mostly inconclusive, usable, and decisive.
_USUAL_ITEMS = (500, 2_000, 10_000)


def _power(items: int | None, error: float) -> Iterator[str]:
    from outweigh.core.project import GateSpec
    from outweigh.gate import items_for_gain, smallest_gain

    for size in _USUAL_ITEMS if items is None else (items,):
        cut = smallest_gain(size, error)
        yield (
            f"{size:,} evaluation items at an error of {error:.1%} show a relative cut in error of {cut:.0%} or more "
            f"({error:.1%} -> {error * (1 - cut):.1%})"
        )
    eta = GateSpec("", "").eta
    asked = 1 - 2**-eta
    yield (
        f"twice the energy asks for a cut of {asked:.0%} (eta {eta:g}), and to show one that small takes "
        f"{items_for_gain(asked, error):,} items"
    )
    yield "one-sided 95 %, power 80 %; where two variants err on the same items, fewer will do"


def find_ledger(path: Path | str | None, start: Path | None = None) -> Path | str:
    """The ledger that was named; else the nearest one from `start` (the current folder) upwards; else its default."""
    from outweigh.ledger import default_path

    if path is not None:
        return path
    here = (start or Path()).resolve()
    for folder in (here, *here.parents):
        if default_path(folder).exists():
            return default_path(folder)
    return default_path(here)


@contextmanager
def opened(path: Path | str | None, *, create: bool = False) -> Iterator[Store]:
    """A ledger, closed afterwards."""
    from outweigh.ledger import open_ledger

    store = open_ledger(find_ledger(path), create=create)
    try:
        yield store
    finally:
        store.close()


def ledger_rows(
    path: Path | str | None, *, limit: int | None = None, phase: str = "", batch: str = ""
) -> list[dict[str, Any]]:
    """Rows of `outweigh ledger list`, oldest first; a limit keeps the latest."""
    from outweigh.ledger import list_rows

    with opened(path) as store:
        return list(list_rows(store, ReceiptFilter(batch=batch, phase=phase, limit=limit)))


def check_writable(folder: Path) -> None:
    """Find out before measuring, not after, that the reports cannot be written. Raises OutputError."""
    probe = folder / ".outweigh-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as err:
        raise OutputError(str(folder), err.strerror or str(err), "Choose a folder you may write to with --out") from err


def write_reports(document: Mapping[str, object], folder: Path) -> tuple[Path, ...]:
    """Write report.html, report.md and review.json. Raises OutputError."""
    paths = []
    for file, exporter in REPORT_FILES.items():
        path = folder / file
        exporters.get(exporter)().write(document, path)
        paths.append(path)
    return tuple(paths)


def read_review(path: Path) -> dict[str, object]:
    """The document of a finished review. Raises UsageError when it is none."""
    from outweigh.report.checking import trouble_with

    remedy = "Name the review.json that `outweigh review` wrote"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(f"{path} cannot be read ({err.strerror})", remedy) from err
    except ValueError as err:
        raise UsageError(f"{path} is not JSON ({err})", remedy) from err
    if not isinstance(document, dict) or document.get("kind") != "outweigh.review":
        raise UsageError(f"{path} is not a review", remedy)
    if document.get("schema") != 1:
        raise UsageError(f"{path} has schema {document.get('schema')!r}, this version reads 1", "Upgrade outweigh")
    trouble = trouble_with(document)
    if trouble:
        raise UsageError(f"{path} is no whole review: {trouble}", remedy)
    return document


def rewrite_report(review: Path, folder: Path) -> tuple[Path, ...]:
    """Write the reports of a finished review again, from its JSON alone."""
    document = read_review(review)
    check_writable(folder)
    return write_reports(document, folder)
