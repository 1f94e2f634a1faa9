"""`outweigh plan --place`: which regions of three clouds to go to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table

_FILE = click.Path(path_type=Path)


@click.command(
    "plan", epilog="Example: outweigh plan --place --country EU --weight carbon=3 --weight price=1 --spread 3"
)
@click.option("--place", is_flag=True, required=True, expose_value=False, help="Rank the regions of three clouds.")
@click.option("--country", "countries", multiple=True, metavar="CODE", help="Where data may reside: DE, EU, EEA ...")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="aws, azure or gcp; all by default.")
@click.option(
    "--weight", "weights", multiple=True, metavar="NAME=NUMBER",
    help="carbon, pue, water, price, governance, gpu, distance or data; all alike by default.",
)  # fmt: skip
@click.option("--near", default="", metavar="LAT,LON|REGION", help="A place distances are counted from.")
@click.option("--max-km", type=float, default=None, help="Leave out what lies farther from it.")
@click.option("--max-ms", type=float, default=None, help="The same as a round trip of light in fibre (100 km a ms).")
@click.option("--data-gb", type=float, default=None, metavar="GB", help="Data that would have to move.")
@click.option("--egress", default="", metavar="PRICE", help='What moving it costs, such as "0.09 USD/GB".')
@click.option("--data-at", default="", metavar="REGION", help="Where it is.")
@click.option("--currency", default="USD", show_default=True, metavar="CODE", help="Of prices.")
@click.option("--rate", "rates", multiple=True, metavar="CODE=NUMBER", help="What one of another currency is worth.")
@click.option("--gpu", default="", metavar="NAME", help="GPU whose price counts, as the file calls it.")
@click.option("--gpu-prices", type=_FILE, default=None, metavar="CSV", help="Its prices by region (docs/placement.md).")
@click.option("--home", default="", metavar="REGION", help="Where it runs today: the first row.")
@click.option(
    "--first",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many count as the first, for stability.",
)
@click.option("--least-known", default="50%", show_default=True, help="Share of the weights known to be ranked at all.")
@click.option("--spread", type=click.IntRange(min=1), default=None, metavar="N", help="Choose N regions together.")
@click.option(
    "--cap", "caps", multiple=True, metavar="GROUP=SHARE", help="Of them: country=50%, grid=..., provider=..."
)
@click.option("--file", "files", multiple=True, type=_FILE, help="Your own carbon and prices (docs/grid.md).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the drawn weights.")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=15,
    show_default=True,
    help="Rows of the table; --json has all regions.",
)
@json_option
def command(top: int, as_json: bool, **asked: Any) -> None:
    """Rank the regions of AWS, Azure and Google by carbon, PUE, water, price and governance, each with its age.

    What is missing of a region stays missing and is named. The Pareto front and the stability of the ranks under
    other weights stand beside the score.
    """
    from outweigh.app.place_regions import Asked, place

    done = place(Asked(**asked), top=top)
    if as_json:
        echo_json([done.document])
        return
    table(done.columns, done.rows, entries_below=160)
    for line in done.notes:
        note(line)
