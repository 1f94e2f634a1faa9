"""`outweigh grid forecast`: hours to come where the provider does not tell."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.grid_question import question_option
from outweigh.cli.shown import echo_csv, echo_json, json_option, note, progress, table


@click.command(
    "forecast",
    epilog="Example: outweigh grid forecast DE --file history.csv --hours 48 --clocks Europe/Berlin",
)
@click.argument("zone")
@click.option("--file", type=click.Path(path_type=Path), default=None, help="Your own history: CSV or Parquet.")
@click.option("--source", default="", metavar="NAME[:ARG]", help="Or a source: archive is what `grid fetch` kept.")
@click.option("--hours", type=int, default=48, show_default=True, help="How far ahead, up to 168.")
@click.option("--issued", default="", metavar="TIME", help="As if issued then, knowing nothing later; now by default.")
@click.option("--price", is_flag=True, help="The price of electricity instead of its carbon.")
@click.option(
    "--method",
    type=click.Choice(["boosted", "seasonal"]),
    default="boosted",
    show_default=True,
    help="seasonal needs no extra package.",
)
@click.option("--clocks", default="UTC", show_default=True, metavar="TZ", help="Clocks of the zone: Europe/Berlin.")
@click.option("--csv", "as_csv", is_flag=True, help="Lines that --file of other verbs reads.")
@question_option
@json_option
def forecast(
    zone: str,
    file: Path | None,
    source: str,
    hours: int,
    issued: str,
    price: bool,
    method: str,
    clocks: str,
    as_csv: bool,
    question: str,
    as_json: bool,
) -> None:
    """Forecast ZONE from its own past, hour by hour with 90 % intervals.

    Says how it did on a part of that past which it had not seen, next to yesterday's value and last week's, and says so
    where it is no better. Needs 42 known days; a year is good.
    """
    from outweigh.app.grid_forecast import zone_forecast

    with progress("forecast") as tell:
        told = zone_forecast(
            zone,
            hours=hours,
            issued=issued,
            price=price,
            source=source,
            file=file,
            method=method,
            clocks=clocks,
            question=question,
            tell=tell,
        )
    if as_json:
        echo_json([told.document])
    elif as_csv:
        echo_csv(told.records)
    else:
        for line in told.head:
            click.echo(line)
        if told.chart:
            click.echo(f"    hours    {told.chart}")
        table(told.headings, told.rows)
    for line in told.notes:
        note(line)
