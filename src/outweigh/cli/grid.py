"""`outweigh grid`: carbon and price of zones."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.grid_bound import bound
from outweigh.cli.grid_fetch import fetch
from outweigh.cli.grid_forecast import forecast
from outweigh.cli.grid_question import question_option
from outweigh.cli.grid_regret import regret
from outweigh.cli.grid_serve_cache import serve_cache
from outweigh.cli.shown import echo_json, json_option, note, table


@click.group("grid", epilog="Example: outweigh grid show DE")
def command() -> None:
    """Zones, their carbon and their prices. Works without key and network, from tables that ship.

    Who answers: a live source you name, your own file, the zone's year, its country's year, what you declare. Never
    the average of the world.
    """


@command.command("show", epilog="Example: outweigh grid show US-CAL-CISO --price --json")
@click.argument("zone")
@click.option("--price", is_flag=True, help="The price of electricity instead of its carbon.")
@click.option(
    "--at", default="", metavar="TIME", help="Start of the window, such as 2026-10-25T02:30Z; now by default."
)
@click.option("--hours", type=float, default=1.0, show_default=True, help="Length of the window; the mean is shown.")
@click.option(
    "--source", "sources", multiple=True, metavar="NAME[:ARG]", help="Ask this source first; may be repeated."
)
@click.option("--live", is_flag=True, help="Ask live sources, in the order of docs/grid-sources.md.")
@click.option(
    "--file", "files", multiple=True, type=click.Path(path_type=Path), help="Your own CSV or Parquet (docs/grid.md)."
)
@click.option(
    "--archive", type=click.Path(path_type=Path), default=None, help="A local archive, beside them (docs/vintages.md)."
)
@click.option("--as-of", default="", metavar="TIME", help="What was known then, from the archive alone.")
@click.option(
    "--declare", "declared", multiple=True, metavar="FIGURE", help='Where nothing else answers: "230 gCO2e/kWh".'
)
@question_option
@json_option
def show(
    zone: str,
    price: bool,
    at: str,
    hours: float,
    sources: tuple[str, ...],
    live: bool,
    files: tuple[Path, ...],
    archive: Path | None,
    as_of: str,
    declared: tuple[str, ...],
    question: str,
    as_json: bool,
) -> None:
    """Carbon intensity (or price) of ZONE: value, year, grade and source.

    ZONE is a country (DE), a part of one (US-CAL-CISO, SE-SE3), a code (DEU, CISO) or a cloud region
    (aws:eu-central-1). An unknown one lists the nearest names and ends with 2; one without a figure ends with 4.
    """
    from outweigh.app.grid import show_zone

    done = show_zone(
        zone, price=price, at=at, hours=hours, sources=sources, live=live, files=files, archive=archive, as_of=as_of,
        declared=declared, question=question,
    )  # fmt: skip
    if as_json:
        echo_json([done.document])
        return
    for line in done.lines:
        click.echo(line)
    for line in done.notes:
        note(line)


@command.command("zones", epilog="Example: outweigh grid zones --like aus")
@click.option("--like", default="", metavar="TEXT", help="Only zones with this in their key or name.")
@json_option
def zones(like: str, as_json: bool) -> None:
    """List the zones there are names for, and the years of the figures that ship."""
    from outweigh.app.grid import zone_rows

    rows = zone_rows(like)
    if as_json:
        echo_json(rows)
        return
    if not rows:
        note(f"no zone has {like!r} in its key or name")
        return
    table(
        ("zone", "name", "carbon", "price", "typical day"),
        (
            (row["zone"], row["name"], row["carbon_years"], row["price_years"], "yes" if row["typical_day"] else "")
            for row in rows
        ),
        entries_below=80,
    )


command.add_command(bound)
command.add_command(fetch)
command.add_command(regret)
command.add_command(forecast)
command.add_command(serve_cache)
