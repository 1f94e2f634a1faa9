"""`outweigh budget`: lines, what is left of them, and how fast they burn."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_csv, echo_json, echo_markdown, json_option, note, project_argument, table


@click.group("budget", epilog="Example: outweigh budget status examples/news-triage")
def command() -> None:
    """Budget lines against the ledger: what is drawn, how fast, and when it will be gone."""


@command.command("status", epilog="Example: outweigh budget status --json | jq 'select(.state != \"ok\")'")
@project_argument
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite of the project by default.")
@json_option
def status(project: Path, ledger: str | None, as_json: bool) -> int:
    """Show every budget line of PROJECT: drawn, left, burn rate, forecast.

    The burn rate is 1 where the line is used evenly over its period; two windows are shown, a tenth and a 120th of it.
    Ends with 1 when a line is breached, else with 0.
    """
    from outweigh.app.budgeting import budget_rows, budget_sentences, in_wh, limit_text

    rows = budget_rows(project, ledger=ledger)
    if as_json:
        echo_json(rows)
    else:
        table(
            ("budget", "state", "limit", "drawn", "left", "burn rate", "owner"),
            (
                (
                    row["budget"],
                    row["state"],
                    limit_text(row),
                    in_wh(row["drawn_j"], (row["drawn_high_j"] - row["drawn_low_j"]) / 2),
                    "-" if row["left_j"] is None else f"{in_wh(row['left_j'])} ({100 * (1 - row['share']):.0f} %)",
                    " / ".join(f"{one['rate']:.2g}" for one in row["burn_rates"]) or "-",
                    row["owner"] or "-",
                )
                for row in rows
            ),
        )
        for row in rows:
            for sentence in budget_sentences(row):
                click.echo(f"{row['budget']}: {sentence}")
    return int(any(row["state"] == "breached" for row in rows))


@command.command("roadmap", epilog="Example: outweigh budget roadmap --format csv > roadmap.csv")
@project_argument
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite of the project by default.")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["table", "markdown", "csv"]),
    default="table",
    show_default=True,
    help="Markdown for an issue, CSV at full precision for a roadmap tool.",
)
@json_option
def roadmap(project: Path, ledger: str | None, as_format: str, as_json: bool) -> None:
    """Show the roadmap of PROJECT, feature by quarter: quality, p95, energy, headroom, money, carbon.

    Energy is IT energy; money and carbon are of facility energy at the first site. A feature whose variant has no
    receipt is an estimate of grade D; once it is measured, what was planned is held against it.
    """
    from outweigh.app.roadmapping import HEADINGS, roadmap_rows, roadmap_sentences, roadmap_table

    rows = roadmap_rows(project, ledger=ledger)
    if as_json:
        echo_json(rows)
        return
    if not rows:
        note("energy.toml has no [[roadmap]] that holds from this quarter on; docs/energy-toml.md shows an entry")
        return
    if as_format == "csv":
        echo_csv(rows)
        return
    if as_format == "markdown":
        echo_markdown(HEADINGS, roadmap_table(rows))
        click.echo()
    else:
        table(HEADINGS, roadmap_table(rows), entries_below=130)
    for sentence in roadmap_sentences(rows):
        click.echo(f"- {sentence}" if as_format == "markdown" else sentence)
