"""`outweigh whatif finance`: doing nothing and what could be done, over years."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "finance",
    short_help="Cash flow over years, present value, tornado.",
    epilog="Example: outweigh whatif finance examples/finance/case.toml",
)
@click.argument("case", type=click.Path(path_type=Path))
@click.option("--scenarios", type=click.IntRange(min=1), default=1000, show_default=True, help="Draws of all inputs.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option("--option", default="", metavar="NAME", help="Whose tornado to show; the largest gain by default.")
@click.option("--bars", type=click.IntRange(min=1), default=10, show_default=True, help="Inputs in the tornado.")
@json_option
def finance(case: Path, scenarios: int, seed: int, option: str, bars: int, as_json: bool) -> None:
    """Cash flow over years of doing nothing and of each option in CASE (docs/finance.md).

    Present value, internal rate of return where it is defined, payback, the inputs the gain hangs on, and what is left
    of it when all inputs are drawn at once. Doing nothing is the first column of every table.
    """
    from outweigh.app.whatif_finance import finance as answer

    found = answer(case, scenarios=scenarios, seed=seed, option=option, bars=bars)
    if as_json:
        echo_json([found.document])
        return
    for title, headings, rows in found.tables:
        table(headings, rows, title=title)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
