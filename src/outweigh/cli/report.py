"""`outweigh report`: a finished review written again, receipts in the forms of standards, sheets for people."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from outweigh.cli.report_sheets import digest, finance, roadmap
from outweigh.cli.report_standards import commands, facts

_REVIEW = "review"


class _Reports(click.Group):
    """A group in which a file is a review: `outweigh report review.json` is `outweigh report review review.json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            self._check(ctx, args[0] if args else "")
            args = [_REVIEW, *args]
        return super().parse_args(ctx, args)

    def _check(self, ctx: click.Context, first: str) -> None:
        """Refuse what is a slip of a report's name and no file."""
        near = difflib.get_close_matches(first, self.commands, n=1)
        if near and not Path(first).exists():
            raise click.UsageError(f"there is no report {first!r}, and no file. Did you mean {near[0]!r}?", ctx)


@click.group(
    "report", cls=_Reports, epilog="Example: outweigh report sci --facts facts.toml --format html --out sci.html"
)
def command() -> None:
    """Receipts and declared facts in the forms of standards, and sheets for people.

    A file is a finished review, written again: outweigh report review.json. What a standard asks for and no meter knows
    is declared in a file of facts (outweigh report facts); what is missing is named, and never 0.
    """


@command.command(_REVIEW, epilog="Example: outweigh report review.json --out /tmp/report")
@click.argument("review_file", default=Path("review.json"), type=click.Path(path_type=Path), metavar="[REVIEW.JSON]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder to write to.")
def review(review_file: Path, out: Path) -> None:
    """Write report.html, report.md and review.json again from a finished review's JSON; measures nothing."""
    from outweigh.app import rewrite_report

    for path in rewrite_report(review_file, out):
        click.echo(str(path))


for one in (*commands(), facts, digest, roadmap, finance):
    command.add_command(one)
