"""`outweigh plan --scenarios FILE`: where to place a load for months, under what may happen."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table


@click.command("plan", epilog="Example: outweigh plan --scenarios examples/placement/placement.toml")
@click.option(
    "--scenarios", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Sites, scenarios and shocks (TOML, docs/placement.md).",
)  # fmt: skip
@click.option(
    "--sensitivity/--no-sensitivity", default=True, show_default=True,
    help="Find the ranges of the weight of risk and of the probabilities in which the sites stay.",
)  # fmt: skip
@json_option
def command(scenarios: Path, sensitivity: bool, as_json: bool) -> None:
    """Place a load over sites for months: shares, what the hedge costs, what it takes off the tail, with a proof.

    Weighs the mean cost and the CVaR over the scenarios of FILE. The first row is what is done now.
    """
    from outweigh.app.placing import place_file

    with progress("placing") as bar:
        done = place_file(scenarios, sensitivity=sensitivity, progress=bar)
    if as_json:
        echo_json([done.document])
        return
    table(done.columns, done.rows)
    table(done.scenario_columns, done.scenario_rows)
    for line in done.notes:
        note(line)
