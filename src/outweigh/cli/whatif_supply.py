"""`outweigh whatif supply`: sun, wind, battery and contracts against the grid alone."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table


@click.command(
    "supply",
    short_help="Sun, wind, battery and contracts, hour by hour.",
    epilog="Example: outweigh whatif supply examples/supply/site.toml",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--share", default="100%", show_default=True, help="Of all that may be built.")
@click.option(
    "--residual",
    type=click.Path(path_type=Path),
    default=None,
    metavar="CSV",
    help="Write what the last way still draws, as a load for `whatif tariff bill`.",
)
@json_option
def supply(file: Path, share: str, residual: Path | None, as_json: bool) -> None:
    """What sun, wind, a battery and a contract are worth to a site, hour by hour, under its cap.

    The first row is the grid alone. FILE (TOML, docs/whatif.md) names the profiles, which are yours. The battery is run
    at least cost with perfect foresight; the last column says how far from the optimum that can be.
    """
    from outweigh.app.whatif_supply import supply as answer

    with progress("supply") as shown:
        found = answer(file, share=share, residual=residual, progress=shown)
    if as_json:
        echo_json([found.document])
        return
    table(found.headings, found.rows)
    for line in found.notes:
        note(line)
