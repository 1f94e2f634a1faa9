"""How the verbs show things: JSON lines, tables, progress. Results go to stdout, all else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from outweigh.core.printable import printable

_SHORT_CELL = 20
_NO_LIMIT = 10_000  # columns

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, full precision.")


def echo_json(objects: Iterable[Mapping[str, object]]) -> None:
    for body in objects:
        click.echo(json.dumps(body, ensure_ascii=False, allow_nan=False))


def echo_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Rows of one shape at full precision (RFC 4180); what is missing is empty, and a list is joined by "; "."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "; ".join(map(str, v)) if isinstance(v, list) else v for key, v in row.items()})
    click.echo(out.getvalue(), nl=False)


def echo_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A pipe table. What a cell holds stays text."""
    for row in (headings, ["---"] * len(headings), *rows):
        click.echo(f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in row)} |")


def plain(text: str) -> str:
    """Text of files and users as a terminal may have it: line by line, and no sign that it would obey."""
    return "\n".join(printable(line) for line in text.split("\n"))


def note(text: str) -> None:
    """Something a person should know that is not the result."""
    click.echo(plain(text), err=True)


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    entries_below: int = 0,
    cells_below: int = 0,
) -> None:
    """A table fitted to the terminal; in a pipe as wide as it needs to be, so that no cell is cut.

    On a terminal too narrow for its figures, every cell is a line under its heading's name.

    Args:
        entries_below: on a terminal narrower than this [columns], a row becomes an entry of several lines: where the
            last columns hold sentences, a table would be a word wide.
        cells_below: on one narrower than this, every cell is a line under its heading's name: figures would be cut.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            # rich would exit with 1, which is a verdict of ours; the front door knows what a closed pipe means.
            raise BrokenPipeError

    rows = [[plain(cell) for cell in row] for row in rows]
    console = Piped(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    if console.width < entries_below:
        for line in entries(headings, rows, console.width):
            click.echo(line)
        return
    grid = Table(*map(plain, headings), box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for row in rows:
        grid.add_row(*row)
    wanted = [max(map(cell_len, cells)) for cells in zip(headings, *rows, strict=True)]
    # In less room than its longest word rich cuts a column, and half a figure is a wrong one.
    least = [
        max(cell_len(w) for cell in cells for w in cell.split() or [""]) for cells in zip(headings, *rows, strict=True)
    ]
    whole = grid.__rich_measure__(console, console.options.update(max_width=_NO_LIMIT)).maximum
    room = console.width - (whole - sum(wanted))
    if console.width < cells_below or (sys.stdout.isatty() and room < sum(least)):
        if title:
            click.echo(f"{title}\n")
        for row in rows:
            for heading, cell in zip(headings, row, strict=True):
                if cell:
                    click.echo(f"{heading}: {cell}" if heading else cell)
            click.echo()
        return
    for column, width in zip(grid.columns, _widths(wanted, least, max(room, sum(least))), strict=True):
        column.width = width
    console.width = max(console.width, whole - sum(wanted) + sum(least))
    console.print(grid)


def _widths(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """What each column gets: all it wants where there is room, else the widest give way first, none below its least.

    The first holds the rows' names, and gives way last.

    >>> _widths([10, 4, 20], [5, 4, 8], 25), _widths([10, 4, 20], [5, 4, 8], 20)
    ([10, 4, 11], [8, 4, 8])
    """
    widths = list(wanted)
    while sum(widths) > room:
        loose = [at for at, width in enumerate(widths) if width > least[at]]
        if not loose:
            break
        widths[max(loose, key=lambda at: (at > 0, widths[at]))] -= 1
    return widths


def entries(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Rows as entries: the short cells on one line, a line or more for each long one; all but the first by their names.

    >>> print(*entries(("name", "state", "why not"), [("rapl", "not here", "a virtual machine " * 3)], 44), sep="\\n")
    rapl  state: not here
        why not: a virtual machine a virtual
            machine a virtual machine
    """
    import textwrap

    for row in rows:
        first, *rest = zip(headings, row, strict=True)
        short = [first[1]] if first[1] and len(first[1]) <= _SHORT_CELL else []
        short += [f"{heading}: {cell}" if heading else cell for heading, cell in rest if 0 < len(cell) <= _SHORT_CELL]
        yield from textwrap.wrap("  ".join(short), width, subsequent_indent="    ", drop_whitespace=False) or [""]
        for heading, cell in zip(headings, row, strict=True):
            if len(cell) > _SHORT_CELL:
                yield from textwrap.wrap(f"{heading}: {cell}", width, initial_indent="    ", subsequent_indent=" " * 8)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on a terminal's stderr and nothing in a pipe.

    Yields a function `(what, fraction)`, fraction in [0, 1].
    """
    if not sys.stderr.isatty():
        yield lambda _what, _fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda what, fraction: bar.update(task, description=what, completed=fraction)


def project_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("project", default=Path(), type=click.Path(path_type=Path), metavar="[PROJECT]")(function)


def project_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--project",
        default=Path(),
        type=click.Path(path_type=Path),
        help="energy.toml or its folder; the current one by default.",
    )(function)


def sitting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options every verb has that measures a project's variants."""
    for option in (
        click.option(
            "--rounds",
            type=int,
            default=None,
            help="Measure so many interleaved rounds instead of the project's number.",
        ),
        click.option(
            "--meter", default=None, help="Meter by name (see `outweigh doctor`); the best that works by default."
        ),
        click.option(
            "--ledger",
            default=None,
            help="Ledger file; .outweigh/ledger.sqlite in the project's folder by default.",
        ),
    ):
        function = option(function)
    return function
