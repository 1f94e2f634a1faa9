"""`outweigh whatif cooling`: air, cold plate and immersion against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table

_FILE = click.Path(path_type=Path)
_TECHNOLOGIES = click.Choice(["air", "cold-plate", "immersion-1", "immersion-2"])


@click.command(
    "cooling",
    short_help="PUE, water, money of air, cold plate and immersion.",
    epilog="Example: outweigh whatif cooling --it '10 MW' --dry 12 --humidity 70 --load 70% --price '0.12 EUR/kWh' "
    "--capex cold-plate='300 EUR/kW'",
)
@click.option("--it", required=True, help='IT power at full load under air, server fans included: "10 MW".')
@click.option("--weather", type=_FILE, default=None, help="CSV: start,dry_c and wet_c or humidity_pct; and load.")
@click.option("--timezone", default="UTC", show_default=True, help="Of times in it that name none.")
@click.option("--dry", type=float, default=None, metavar="C", help="Instead: one outdoor temperature [degC].")
@click.option("--wet", type=float, default=None, metavar="C", help="Its wet-bulb temperature [degC].")
@click.option("--humidity", type=float, default=None, metavar="PCT", help="Or its relative humidity [%].")
@click.option("--load", default="", help="Computing over that of full load; 100% by default.")
@click.option("--rejection", type=click.Choice(["wet", "dry"]), default="wet", show_default=True,
              help="A tower that drinks, or a dry cooler.")  # fmt: skip
@click.option("--now", type=_TECHNOLOGIES, default="air", show_default=True, help="What cools the hall today.")
@click.option("--share", default="100%", show_default=True, help="Of the hall that would be converted.")
@click.option("--reuse", default="0%", show_default=True, help="Share of its heat that somebody takes.")
@click.option("--price", default="", help='Of electricity: "0.12 EUR/kWh".')
@click.option("--intensity", default="", help='Declared, location-based: "350 gCO2e/kWh".')
@click.option("--carbon-price", default="", help='Declared price of carbon: "80 EUR/t".')
@click.option("--water", default="", help='Price of water, as in "2 EUR/m3".')
@click.option("--heat", default="", help='What a buyer pays for heat, as in "0.02 EUR/kWh".')
@click.option("--capex", multiple=True, metavar="NAME=PRICE", help="Extra capital: cold-plate='300 EUR/kW'.")
@click.option("--years", type=float, default=10.0, show_default=True, help="Over which capital is paid back.")
@click.option("--rate", default="0%", show_default=True, help="Yearly interest on it.")
@click.option("--parameters", type=_FILE, default=None, help="CSV of your own: technology,parameter,value,low,high.")
@json_option
def cooling(as_json: bool, **asked: Any) -> None:
    """What a hall draws and drinks under air, cold plate and immersion, by load and weather.

    The first row is what cools it now. PUE counts server fans as IT, so ITUE and TUE stand beside it: liquid takes
    the fans away. All figures are modelled from the table that ships, or from your own parameters.
    """
    from outweigh.app.whatif_cooling import Asked, cool

    found = cool(Asked(**asked))
    if as_json:
        echo_json([found.document])
        return
    table(found.headings, found.rows)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
