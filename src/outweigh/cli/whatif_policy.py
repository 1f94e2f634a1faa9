"""`outweigh whatif policy`: shocks that leaders argue about, in money."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "policy",
    short_help="Shocks, support that home would need, firm rankings.",
    epilog="Example: outweigh whatif policy examples/placement/placement.toml --new 30%",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--carbon-price", "carbon_prices", multiple=True, metavar="PRICE",
              help='"70 EUR/t"; may be repeated. Default: 0, 70 and 150.')  # fmt: skip
@click.option("--tariff", default="+50%", show_default=True, help="Rise of a site's price.")
@click.option("--curtail", default="10%", show_default=True, help="Share of the hours a site must be off.")
@click.option("--new", default="20%", show_default=True, help="Share of the load that is new: a moratorium bars it.")
@click.option("--imports", multiple=True, metavar="SITE=SHARE", help="Net imports of its grid, where you know them.")
@click.option("--weight", "weights", multiple=True, metavar="NAME=NUMBER",
              help="cost, worst, carbon, governance or imports; 1 each by default.")  # fmt: skip
@click.option("--draws", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Drawn weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of them.")
@click.option("--concentration", type=float, default=None, help="How close to yours they keep; any mix by default.")
@json_option
def policy(file: Path, as_json: bool, **asked: Any) -> None:
    """What declared shocks cost each site, what support home would need, and how firm the ranking is.

    FILE is a placement file (docs/placement.md): its sites, home and scenarios. Each of the usual shocks befalls the
    site of its row and no other; the file's scenarios befall the sites they name. "As today" comes first.
    """
    from outweigh.app.whatif_policy import Asked
    from outweigh.app.whatif_policy import policy as answer

    found = answer(file, Asked(**asked))
    if as_json:
        echo_json([found.document])
        return
    for title, headings, rows in found.tables:
        table(headings, rows, title=title)
    for line in found.notes:
        note(line)
