"""`outweigh whatif levers`: every lever on one curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table

_FILE = click.Path(path_type=Path)


@click.command(
    "levers",
    short_help="Every lever on one marginal abatement cost curve.",
    epilog="Example: outweigh whatif levers examples/levers/levers.toml --out curve.html",
)
@click.argument("levers", type=_FILE)
@click.option("--review", type=_FILE, default=None, help="review.json whose variants are the measured levers.")
@click.option("--ledger", type=_FILE, default=None, help="Or a ledger that holds a sitting of variants.")
@click.option("--batch", default="", help="Which sitting of the ledger; the latest by default.")
@click.option("--incumbent", default="", metavar="VARIANT", help="What its others are held against; the first one.")
@click.option("--energy", default="", help='Energy of a year at the meter, as in "480 MWh", instead of the file\'s.')
@click.option("--out", multiple=True, type=click.Path(path_type=Path, dir_okay=False), help="Write .json or .html.")
@json_option
def levers(out: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    """Marginal abatement cost curve over the levers of LEVERS (docs/levers-curve.md), measured and projected.

    The first row is doing nothing. Interactions count once: each lever takes its share of what the ones before it
    left, and variants of one sitting exclude each other. Each row says how to try it.
    """
    from outweigh.app.planning import write_page
    from outweigh.app.whatif_levers import Asked
    from outweigh.app.whatif_levers import levers as answer

    found = answer(Asked(**asked))
    for path in out:
        write_page(found.document, path, "levers-html")
    if as_json:
        echo_json([found.document])
    else:
        table(found.headings, found.rows, cells_below=160)
        if found.passed_rows:
            table(found.passed_headings, found.passed_rows)
        for line in found.lines:
            click.echo(line)
        for line in found.notes:
            note(line)
    for path in out:
        note(f"written: {path}")
