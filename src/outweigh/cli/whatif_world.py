"""`outweigh whatif world`: the headline beside what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "world",
    short_help="A claim about AI's electricity beside published figures.",
    epilog="Example: outweigh whatif world --energy '3 GWh'",
)
@click.option("--scenario", default="article", show_default=True, help="Which figure is the claim; --json names all.")
@click.option("--country", default="", metavar="CODE", help="Compare the claim with a country: JP, or its name.")
@click.option(
    "--against",
    type=click.Choice(["consumption", "generation"]),
    default=None,
    help="What of the country; the table that ships has generation.",
)
@click.option("--country-twh", type=float, default=None, help="The country's figure, declared; with the next.")
@click.option("--country-year", type=int, default=None, help="Its year; that of the claim by default.")
@click.option(
    "--intensity", "intensities", multiple=True, metavar="G", help='Twice: "30 g/kWh" and "700 g/kWh", for the tonnes.'
)
@click.option("--intensity-year", type=int, default=None, help="Year of the countries' intensities.")
@click.option("--energy", default="", help='Your own use in a year, as in "3 GWh".')
@click.option("--ledger", type=click.Path(path_type=Path), default=None, help="Or all receipts of a ledger.")
@json_option
def world(as_json: bool, against: str | None, **asked: Any) -> None:
    """A claim about AI's electricity beside published figures, with year, scope and source.

    The first row is what data centres draw as things stand. Figures of different years are not divided by each other,
    nor use by production. Tonnes are a range between countries: there is no world average.
    """
    from outweigh.app.whatif_world import Asked
    from outweigh.app.whatif_world import world as answer

    found = answer(Asked(against=against or "", **asked))
    if as_json:
        echo_json([found.document])
        return
    table(found.headings, found.rows, cells_below=160)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
