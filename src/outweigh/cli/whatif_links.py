"""`outweigh whatif links`: superconducting links, projected."""

from __future__ import annotations

from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "links",
    short_help="Superconducting links beside optics, a projection.",
    epilog="Example: outweigh whatif links --gbit-per-s 400 --use 30% --leak '10 mW'",
)
@click.option("--device", default="nvidia-h100-sxm", show_default=True, help="What is linked, of the hardware table.")
@click.option("--device-power", default="", help='Or its power: "1.2 kW".')
@click.option("--gbit-per-s", type=float, default=400.0, show_default=True, help="Rate of its link.")
@click.option("--use", default="30%", show_default=True, help="Share of the rate that is sent.")
@click.option("--optics", default="pluggable", show_default=True, help="Today's: pluggable or co-packaged.")
@click.option("--warm-pj", default="", metavar="PJ", help="Or their energy per bit at full use: 18 or 15:20.")
@click.option("--standing", default="100%", show_default=True, help="Share of it drawn whatever is sent.")
@click.option("--cold-pj", default="", metavar="PJ", help="Energy per bit of the cold link, at its temperature.")
@click.option("--leak", default="", help='Heat that leaks into one cold link: "10 mW".')
@click.option("--carnot", default="", metavar="F", help="Share of Carnot that the cooler reaches: 0.02:0.2.")
@click.option("--cold-k", type=float, default=4.2, show_default=True, help="Temperature of the link [K].")
@click.option("--warm-k", type=float, default=300.0, show_default=True, help="Where the cooler gives its heat off [K].")
@click.option("--adopted", default="100%", show_default=True, help="Share of the links replaced; 0 changes nothing.")
@json_option
def links(as_json: bool, **asked: Any) -> None:
    """Superconducting links with their coolers beside today's optics. A projection, all of it.

    The first column is what links draw today, which no saving can exceed. Below the table: the cooler's overhead, the
    use at which both draw the same, the heat leak that would eat the saving, and how ready the technology is.
    """
    from outweigh.app.whatif_links import Asked, projected

    found = projected(Asked(**asked))
    if as_json:
        echo_json([found.document])
        return
    table(found.headings, found.rows, title=found.title)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
