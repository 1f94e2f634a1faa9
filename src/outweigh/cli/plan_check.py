"""`outweigh plan --check PLAN`: is a plan file sound, trusting nothing of what made it."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note


@click.command("plan", epilog="Example: outweigh plan --check plan.json")
@click.option("--check", "plan", required=True, type=click.Path(path_type=Path), metavar="PLAN", help="A plan file.")
@json_option
@click.pass_context
def command(ctx: click.Context, plan: Path, as_json: bool) -> None:
    """Check PLAN from the jobs and series in it: windows, work, capacity, every sum, and the bound with its proof.

    Ends with 0 where it is sound, with 1 where it is not.
    """
    from outweigh.app.checking_plans import check_file

    found = check_file(plan)
    if as_json:
        echo_json([found.document])
    else:
        for line in found.lines:
            click.echo(line)
        for line in found.notes:
            note(line)
    ctx.exit(0 if found.sound else 1)
