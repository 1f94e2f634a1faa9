"""`outweigh report`: a finished review written again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report", epilog="Example: outweigh report review.json --out /tmp/report")
@click.argument("review_file", default=Path("review.json"), type=click.Path(path_type=Path), metavar="[REVIEW.JSON]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder to write to.")
def command(review_file: Path, out: Path) -> None:
    """Write report.html, report.md and review.json again from a finished review's JSON; measures nothing."""
    from outweigh.app import rewrite_report

    for path in rewrite_report(review_file, out):
        click.echo(str(path))
