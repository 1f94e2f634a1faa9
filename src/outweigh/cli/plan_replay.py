"""`outweigh plan --replay PLAN`: a plan made again on what it saw."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("plan", epilog="Example: outweigh plan --replay plan.json --into grid-archive")
@click.option("--replay", "plan", required=True, type=click.Path(path_type=Path), metavar="PLAN", help="A plan file.")
@click.option("--into", type=_FOLDER, default=None, metavar="FOLDER", help="Archive that its series were kept in.")
@json_option
@click.pass_context
def command(ctx: click.Context, plan: Path, into: Path | None, as_json: bool) -> None:
    """Make PLAN again from the jobs and series in it, and compare.

    Where it was made on an archive (--source archive:FOLDER, or --into FOLDER), its vintages are looked up there and
    held against the series in the file. Ends with 0 where all is the same, with 1 where it is not.
    """
    from outweigh.app.checking_plans import replay_file

    with progress("planning") as bar:
        found = replay_file(plan, into=into, progress=bar)
    if as_json:
        echo_json([found.document])
    else:
        for line in found.lines:
            click.echo(line)
        for line in found.notes:
            note(line)
    ctx.exit(0 if found.sound else 1)
