"""`outweigh report digest`, `roadmap` and `finance`: sheets for people, in Markdown, HTML, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outweigh.cli.report_standards import FORMATS, deliver, format_options
from outweigh.cli.shown import project_argument

if TYPE_CHECKING:
    from outweigh.report.sheet import Sheet


def _formats(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(format_options(FORMATS)):
        function = option(function)
    return function


def _ledger(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--ledger", default=None, help="Ledger; .outweigh/ledger.sqlite of PROJECT by default.")(
        function
    )


def _deliver(sheet: Sheet, form: str, as_json: bool, table: str, out: Path | None) -> int:
    from outweigh.app.reporting import sheet_report

    reported = sheet_report(sheet, "json" if as_json else form, datetime.now(UTC), table=table)
    return deliver(reported, out, as_json=as_json)


@click.command(
    "digest",
    short_help="Monday: hum, levers, budgets, waivers, estimates.",
    epilog="Example: outweigh report digest --format html --out monday.html",
)
@project_argument
@_ledger
@click.option("--days", type=float, default=7.0, show_default=True, help="How far back to look.")
@click.option(
    "--review",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="A review.json whose levers to show; the latest sitting of the ledger by default.",
)
@_formats
def digest(
    project: Path, ledger: str | None, days: float, review: Path | None, form: str, as_json: bool, table: str,
    out: Path | None,
) -> int:  # fmt: skip
    """What to look at on Monday in PROJECT.

    The hum by owner, levers with a measured saving, budget lines at risk, waivers that end soon, and estimates against
    the receipts that came of them.
    """
    from outweigh.app.sheets import digest as sheet

    return _deliver(sheet(project, ledger=ledger, days=days, review=review), form, as_json, table, out)


@click.command(
    "roadmap",
    short_help="The roadmap, feature by quarter.",
    epilog="Example: outweigh report roadmap --format html --out roadmap.html",
)
@project_argument
@_ledger
@_formats
def roadmap(project: Path, ledger: str | None, form: str, as_json: bool, table: str, out: Path | None) -> int:
    """The roadmap of PROJECT as a sheet; `outweigh budget roadmap` shows the same on the terminal."""
    from outweigh.app.sheets import roadmap as sheet

    return _deliver(sheet(project, ledger=ledger), form, as_json, table, out)


@click.command(
    "finance",
    short_help="A business case: value, cash flow, tornado.",
    epilog="Example: outweigh report finance examples/finance/case.toml --format html --out case.html",
)
@click.argument("case", type=click.Path(path_type=Path))
@click.option("--option", default="", metavar="NAME", help="Whose tornado to show; the largest gain by default.")
@click.option("--scenarios", type=click.IntRange(min=1), default=1000, show_default=True, help="Draws of all inputs.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@_formats
def finance(
    case: Path, option: str, scenarios: int, seed: int, form: str, as_json: bool, table: str, out: Path | None
) -> int:
    """The business case in CASE (docs/finance.md) as a sheet; `outweigh whatif finance` shows it on the terminal."""
    from outweigh.app.sheets import finance_sheet

    return _deliver(finance_sheet(case, option=option, scenarios=scenarios, seed=seed), form, as_json, table, out)
