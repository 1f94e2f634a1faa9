"""`outweigh whatif negotiate`: who pays what under which terms."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, table


@click.command(
    "negotiate",
    short_help="Buyers alone and pooled under today's tariff and offers.",
    epilog="Example: outweigh whatif negotiate examples/negotiation/sheet.toml",
)
@click.argument("sheet", type=click.Path(path_type=Path))
@json_option
def negotiate(sheet: Path, as_json: bool) -> None:
    """Buyers alone and pooled under today's tariff and every offer of SHEET (docs/tariffs.md).

    Today's tariff is the first column. Then: what pooling saves, the volume at which an offer is worth it, what a
    longer term is worth against prices that grow, and what standing to be curtailed is.
    """
    from outweigh.app.whatif_negotiate import negotiate as answer

    found = answer(sheet)
    if as_json:
        echo_json([found.document])
        return
    for title, headings, rows in found.tables:
        table(headings, rows, title=title)
    for line in found.lines:
        click.echo(line)
    for line in found.notes:
        note(line)
