"""`outweigh compare`: variants side by side."""

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


@click.command("compare", epilog="Example: outweigh compare l3 l3-int8 --project examples/news-triage --rounds 4")
@click.argument("variants", nargs=-1, metavar="[VARIANT]...")
@project_option
@sitting_options
@json_option
def command(
    variants: tuple[str, ...], project: Path, ledger: str | None, meter: str | None, rounds: int | None, as_json: bool
) -> None:
    """Measure variants of a project against each other; the first is what the others are held against.

    Without names, every declared variant is measured. Rounds are interleaved in random order; every figure has
    its interval, and "dominated by" names a variant that is at least as good and cheaper.
    """
    from outweigh.app.comparing import COLUMNS, compare, compared_rows

    with progress("compare") as tell:
        done = compare(project, variants, ledger=ledger, meter=meter, rounds=rounds, progress=tell)
    if as_json:
        echo_json(done.rows)
        return
    table(COLUMNS, compared_rows(done))
    for line in done.notes:
        note(line)
