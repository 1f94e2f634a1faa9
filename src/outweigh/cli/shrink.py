"""`outweigh shrink`: cheaper ways, measured."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import (
    echo_json,
    json_option,
    note,
    progress,
    project_option,
    sitting_options,
    table,
)


@click.command("shrink", epilog="Example: outweigh shrink l3 --project examples/news-triage --rounds 4")
@click.argument("variant")
@click.option("--lever", "levers", multiple=True, help="Lever to try; repeatable. Every usable one by default.")
@project_option
@sitting_options
@json_option
def command(
    variant: str,
    levers: tuple[str, ...],
    project: Path,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> None:
    """Make cheaper variants of VARIANT with real levers, and measure them against it.

    Each lever is charged with the energy it took to apply; "pays off after" is the number of units whose saving
    gives that back. A lever that saves nothing here says so.
    """
    from outweigh.app.comparing import COLUMNS, compared_rows, shrink

    with progress("shrink") as tell:
        done = shrink(project, variant, levers, ledger=ledger, meter=meter, rounds=rounds, progress=tell)
    if as_json:
        echo_json(done.rows)
        return
    table(COLUMNS, compared_rows(done))
    for line in done.notes:
        note(line)
