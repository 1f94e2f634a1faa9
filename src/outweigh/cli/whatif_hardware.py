"""`outweigh whatif hardware`: keep the devices or replace them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "hardware",
    short_help="Keep devices or replace them: energy, carbon debt, money.",
    epilog="Example: outweigh whatif hardware nvidia-a100-sxm-80gb nvidia-b200-sxm --count 512 --zone DE --pue 1.2 "
    "--cost '35000 EUR'",
)
@click.argument("old")
@click.argument("new")
@click.option("--count", type=int, required=True, help="How many OLD devices there are.")
@click.option("--new-count", type=int, default=None, help="How many NEW ones; as few as do the work by default.")
@click.option("--busy", default="60%", show_default=True, help="Share of the year that OLD ones work.")
@click.option("--idle", default="", metavar="SHARE", help="What an idle device draws, of its rating: 15%.")
@click.option("--years", type=float, default=4.0, show_default=True, help="Horizon.")
@click.option("--bound", type=click.Choice(["arithmetic", "memory"]), default="arithmetic", show_default=True,
              help="What limits the work: training mostly arithmetic, writing answers mostly memory.")  # fmt: skip
@click.option("--zone", default="", help="Grid zone, for carbon and price: DE.")
@click.option("--region", default="", help="Cloud region, for PUE and zone: aws:eu-central-1.")
@click.option("--pue", default="", metavar="PUE", help="Facility over IT energy.")
@click.option("--intensity", default="", metavar="G", help='Declared, location-based: "350 gCO2e/kWh".')
@click.option("--intensity-scope", type=click.Choice(["lifecycle", "direct"]), default="lifecycle", show_default=True,
              help="What a declared --intensity counts.")  # fmt: skip
@click.option("--price", default="", help='Of electricity: "0.12 EUR/kWh".')
@click.option("--file", type=click.Path(path_type=Path), default=None, help="Your own carbon or prices.")
@click.option("--cost", default="", help='Of buying and installing one NEW device: "35000 EUR".')
@click.option("--resale", default="", help="Got for one OLD device.")
@click.option("--embodied", default="", metavar="KG", help="Carbon of making one NEW device [kg]: 164:354.")
@click.option("--rate", "--discount", "discount", default="", metavar="RATE", help="Yearly interest on money: 5%.")
@click.option("--start", default="", metavar="DAY", help="Day of the purchase; today by default.")
@json_option
def hardware(as_json: bool, **asked: Any) -> None:
    """Keep OLD devices or replace them with NEW ones, for the same work: energy, carbon with its debt, money.

    Keeping is the first column. Carbon of making the new devices is owed on their first day; that of the old ones is
    spent either way. Below the table: when carbon and money are even, and what would turn the answer.
    """
    from outweigh.app.whatif_hardware import Asked, weighed

    found = weighed(Asked(**asked))
    if as_json:
        echo_json([found.document])
        return
    table(found.headings, found.rows, title="by data sheets, not measured (grade D)")
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
