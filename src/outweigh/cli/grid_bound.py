"""`outweigh grid bound`: whether shifting is worth a thought."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.grid_question import question_option
from outweigh.cli.shown import echo_json, json_option, note, progress, table


@click.command("bound", epilog="Example: outweigh grid bound US-CAL-CISO --job 4h --window 24h")
@click.argument("zone")
@click.option("--job", "jobs", multiple=True, metavar="LENGTH", help="Run time: 4h, 90min, 7d; may be repeated.")
@click.option(
    "--window", "windows", multiple=True, metavar="LENGTH", help="Earliest start to latest end; may be repeated."
)
@click.option("--price", is_flag=True, help="The price of electricity instead of its carbon.")
@click.option(
    "--file", type=click.Path(path_type=Path), default=None, help="Your own CSV or Parquet with a year of data."
)
@click.option("--source", default="", metavar="NAME[:ARG]", help="Or a source: archive is what `grid fetch` kept.")
@click.option("--year", type=int, default=None, help="Calendar year, UTC; the last 365 days there are by default.")
@question_option
@json_option
def bound(
    zone: str,
    jobs: tuple[str, ...],
    windows: tuple[str, ...],
    price: bool,
    file: Path | None,
    source: str,
    year: int | None,
    question: str,
    as_json: bool,
) -> None:
    """The most that running later could save in ZONE, by job length and window.

    With perfect foresight over a year that has been: no forecast saves more on it. Of the starts, those count whose
    window is known to nine tenths. Without --file and --source, typical days stand in as an example.
    """
    from outweigh.app.grid_bound import zone_bound

    with progress("bound") as tell:
        found = zone_bound(
            zone, jobs=jobs, windows=windows, price=price, source=source, file=file, year=year, question=question,
            tell=tell,
        )  # fmt: skip
    if as_json:
        echo_json(found.documents)
        return
    for line in found.head:
        click.echo(line)
    table(found.headings, found.rows, cells_below=84)
    for line in found.notes:
        note(line)
