"""`outweigh serve --export DIR`: the same pages as files that open without a server, and without a network.

Links between pages are relative, data lie in the pages, tables beside them as CSV. `copy.json` names the files, so that
a later copy takes away what an earlier one left, and nothing else. A copy is made whole in a folder of its own before
any file of the earlier one is touched: whoever is cut off has the earlier copy, and the next one goes through.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from outweigh import __version__
from outweigh.app.pages.asked import Asked
from outweigh.core.errors import OutputError, OutweighError
from outweigh.core.measurement import utc
from outweigh.dashboard.pages import PAGES, rendering
from outweigh.dashboard.pages.page import Page
from outweigh.data.whole_file import write_whole

if TYPE_CHECKING:
    from outweigh.app.serving import Served

MANIFEST = "copy.json"
_REMEDY = "Choose a folder you may write to"
_HALF = ".outweigh-copy"  # inside the folder, so that a finished file is only renamed


def export(
    served: Served,
    folder: Path,
    *,
    pages: Sequence[Page] = PAGES,
    told: Callable[[str, float], None] | None = None,
) -> tuple[Path, ...]:
    """Write the pages, their tables and their scripts into `folder`; the files written, in the order written.

    Args:
        folder: made when it is missing; an empty one, or one that holds an earlier copy.
        told: before each page, its title and the share that is done.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
        LedgerError: the ledger cannot be read. A page that cannot answer for another reason says so on its own file.
    """
    earlier = _earlier(folder)
    half = folder / _HALF
    try:
        _begin(half)
        copies = _Copies(served, half, pages)
        for name in rendering.assets():
            copies.write(f"static/{name}", rendering.asset_text(name))
        wanted = [(page, address) for page in pages for address in _addresses(page, served)]
        for done, (page, address) in enumerate(wanted):
            if told is not None:
                told(page.title, done / len(wanted))
            copies.page(page, address)
        _put_in_place(half, folder, copies.written, earlier, utc(served.now()))
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return tuple(folder / name for name in (*copies.written, MANIFEST))


def _put_in_place(half: Path, folder: Path, written: Sequence[str], earlier: Sequence[str], made: str) -> None:
    """Rename the files of a whole copy into the folder. Raises OutputError."""

    def list_files(files: Iterable[str]) -> None:
        listing = {"outweigh": __version__, "made": made, "files": [*files, MANIFEST]}
        write_whole(folder / MANIFEST, json.dumps(listing, indent=1) + "\n", mode=0o644, remedy=_REMEDY)

    # Whoever is cut off in between leaves files of both copies, and each of them is named.
    list_files(dict.fromkeys([*written, *(name for name in earlier if name != MANIFEST)]))
    try:
        for name in written:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (half / name).replace(folder / name)
        for name in {*earlier} - {*written, MANIFEST}:
            (folder / name).unlink(missing_ok=True)
    except OSError as err:
        raise OutputError(str(folder), err.strerror or str(err), _REMEDY) from err
    list_files(written)


def _addresses(page: Page, served: Served) -> Iterator[str]:
    if page.in_navigation:
        yield ""
    else:
        yield from page.instances(served)


class _Copies:
    def __init__(self, served: Served, folder: Path, pages: Sequence[Page]) -> None:
        self._served, self._folder, self._pages = served, folder, pages
        self._now = served.now()
        self.written: list[str] = []

    def page(self, page: Page, address: str) -> None:
        asked = Asked({}, address)
        own = file_of(rendering.own_path(page, asked))
        taken: dict[str, None] = {}

        def href(path: str) -> str:
            target = file_of(path)
            if target.endswith(".csv"):
                taken[parse_qs(urlsplit(path).query)["table"][0]] = None
            return _from(own, target)

        around = rendering.Around(href, lambda name: _from(own, f"static/{name}"), self._now, copy=True)
        try:
            data = page.told(self._served, asked)
            text = rendering.page_text(page, data, asked, around, self._pages)
            tables: dict[str, Any] = {**data.get("tables", {})}
            for name in taken:
                table = tables.get(name) or page.told(self._served, Asked({"table": name}, address))["tables"][name]
                path = f"{rendering.csv_path(page, asked)}?table={name}"
                self.write(file_of(path), rendering.table_csv(table))
        except OutweighError as err:
            if err.exit_code == 3:  # the ledger or a measurement: a copy without it would look whole
                raise
            text = rendering.error_text(400, err, around, self._pages)
        self.write(own, text)

    def write(self, name: str, text: str) -> None:
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise OutputError(str(path), err.strerror or str(err), _REMEDY) from err
        self.written.append(name)


def file_of(path: str) -> str:
    """The file that stands for a path of the application.

    >>> file_of("/"), file_of("/runs?limit=5"), file_of("/runs/ab12"), file_of("/runs/ab12.csv?table=energy")
    ('index.html', 'runs.html', 'runs/ab12.html', 'runs/ab12.energy.csv')
    """
    parts = urlsplit(path)
    plain = parts.path.strip("/")
    if plain.endswith(".csv"):
        return f"{plain.removesuffix('.csv')}.{parse_qs(parts.query)['table'][0]}.csv"
    return f"{plain or 'index'}.html"


def _from(own: str, target: str) -> str:
    up = "../" * (len(PurePosixPath(own).parts) - 1)
    return f"{up}{target}"


def _begin(half: Path) -> None:
    """An empty folder for what is being made; what a copy that was killed left there goes. Raises OutputError."""
    try:
        if half.is_symlink():
            half.unlink()
        elif half.exists():
            shutil.rmtree(half)
        half.mkdir(parents=True)
    except OSError as err:
        raise OutputError(str(half), err.strerror or str(err), _REMEDY) from err


def _earlier(folder: Path) -> tuple[str, ...]:
    """The files of an earlier copy. Raises OutputError for a folder that holds anything else."""
    listing = folder / MANIFEST
    try:
        held = sorted(one.name for one in folder.iterdir() if one.name != _HALF) if folder.exists() else []
        if not held:
            return ()
        if not listing.is_file():
            raise OutputError(
                str(folder), f"it holds {held[0]} and no earlier copy", "Name an empty folder, or one that is not there"
            )
        files = json.loads(listing.read_text(encoding="utf-8"))["files"]
        return tuple(str(name) for name in files if _lies_in(folder / str(name), folder))
    except (KeyError, TypeError, ValueError) as err:
        raise OutputError(str(listing), "it names no files of a copy", "Name another folder") from err
    except OSError as err:
        raise OutputError(str(folder), err.strerror or str(err), _REMEDY) from err


def _lies_in(path: Path, folder: Path) -> bool:
    # By name, so that what a link points to is never followed; then by where its folder really is.
    plain = os.path.normpath(path)
    return plain.startswith(f"{os.path.normpath(folder)}{os.sep}") and path.parent.resolve().is_relative_to(
        folder.resolve()
    )
