"""`outweigh budget`: lines, what is left of them, and how fast they burn."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, project_argument, table


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
