"""`outweigh plan PROJECT --energy`: where to serve next month."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, project_argument, table


@click.command("plan", epilog='Example: outweigh plan examples/news-triage --energy "20 kWh"')
@project_argument
@click.option(
    "--energy", required=True, metavar="QUANTITY", help='IT energy of the month, before PUE, such as "20 kWh".'
)
@json_option
def command(project: Path, energy: str, as_json: bool) -> None:
    """Share a month of continuous serving over PROJECT's sites, with a proof of how good the plan is.

    The embedded tables hold yearly means, so this plans where and not yet when; it says so.
    """
    from outweigh.app.comparing import plan_month

    done = plan_month(project, energy)
    if as_json:
        echo_json([done.document])
        return
    table(("site", "share", "energy", "cost", "carbon (location-based, life cycle)"), done.rows)
    for line in done.notes:
        note(line)
