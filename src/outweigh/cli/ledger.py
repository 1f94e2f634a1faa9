"""`outweigh ledger`: the record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, table


def ledger_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--ledger",
        type=click.Path(path_type=Path),
        default=None,
        help="Ledger file; found from the current folder upwards by default.",
    )(function)


@click.group("ledger", epilog="Example: outweigh ledger list --phase development | head")
def command() -> None:
    """The record of every run: list, show, verify, export and import receipts."""


@command.command("list", epilog="Example: outweigh ledger list --limit 10 --json")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most this many, the latest.")
@click.option("--phase", type=click.Choice(["development", "training", "inference", "idle"]), default=None)
@click.option("--batch", default="", help="Only the receipts of one review or comparison.")
@ledger_option
@json_option
def list_(limit: int | None, phase: str | None, batch: str, ledger: Path | None, as_json: bool) -> None:
    """List receipts, oldest first."""
    from outweigh import app
    from outweigh.core.rounding import si

    rows = app.ledger_rows(ledger, limit=limit, phase=phase or "", batch=batch)
    if as_json:
        echo_json(rows)
        return
    table(
        ("receipt", "started", "phase", "variant", "energy", "work", "grade", "status"),
        (
            (
                str(row["receipt"])[:12],
                str(row["start"])[:19] + "Z",
                str(row["phase"]),
                str(row["variant"] or "-"),
                si(float(str(row["energy_j"])), "J"),
                "-" if row["work_j"] is None else si(float(str(row["work_j"])), "J"),
                str(row["grade"]),
                str(row["status"]),
            )
            for row in rows
        ),
    )


@command.command("show", epilog="Example: outweigh ledger show 8c1d")
@click.argument("receipt")
@ledger_option
def show(receipt: str, ledger: Path | None) -> None:
    """Show one receipt whole, as JSON. RECEIPT is its address or the start of it."""
    import json

    from outweigh import app

    with app.opened(ledger) as store:
        found = store.get(receipt)
        click.echo(json.dumps({"receipt": found.content_hash, **found.to_dict()}, indent=2, ensure_ascii=False))


@command.command("verify", epilog="Example: outweigh ledger verify && echo clean")
@ledger_option
def verify(ledger: Path | None) -> None:
    """Check every address and the hash chain; exit 3 on the first altered or missing receipt."""
    from outweigh import app

    with app.opened(ledger) as store:
        click.echo(f"{store.verify()} receipts, chain whole")


@command.command("export", epilog="Example: outweigh ledger export > receipts.jsonl")
@ledger_option
def export(ledger: Path | None) -> None:
    """Write every receipt as one JSON object a line."""
    from outweigh import app
    from outweigh.ledger import export_jsonl

    with app.opened(ledger) as store:
        for line in export_jsonl(store):
            click.echo(line)


@command.command("import", epilog="Example: outweigh ledger import receipts.jsonl")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@ledger_option
def import_(file: Path, ledger: Path | None) -> None:
    """Take in receipts exported elsewhere; those already here are kept once."""
    from outweigh import app
    from outweigh.ledger import import_jsonl

    with app.opened(ledger, create=True) as store:
        taken, known = import_jsonl(store, file.read_text(encoding="utf-8").splitlines())
    click.echo(f"{taken} new receipts, {known} already here")
