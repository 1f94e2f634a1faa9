"""`outweigh ledger`: the record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from outweigh.cli.ledger_copy import copy
from outweigh.cli.ledger_fleet import fleet
from outweigh.cli.ledger_push import push
from outweigh.cli.shown import echo_json, json_option, note, table

_TABLE_FROM = 120  # columns


def ledger_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--ledger",
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
def list_(limit: int | None, phase: str | None, batch: str, ledger: str | None, as_json: bool) -> None:
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
def show(receipt: str, ledger: str | None) -> None:
    """Show one receipt whole, as JSON, and where its power samples are. RECEIPT is its address or the start of it."""
    import json

    from outweigh import app

    found, address, folder, run = app.samples_of(receipt, ledger)
    where = {"samples": str(folder / run)} if run else {}
    click.echo(json.dumps({"receipt": address, **found.to_dict(), **where}, indent=2, ensure_ascii=False))


@command.command("samples", epilog="Example: outweigh ledger samples 8c1d --json > power.jsonl")
@click.argument("receipt")
@ledger_option
@json_option
def samples(receipt: str, ledger: str | None, as_json: bool) -> None:
    """Show the power over time of one run, where it was kept: each row the mean power up to its time.

    The samples are Parquet files in the folder that `outweigh ledger show` names; any Parquet reader opens them.
    """
    from outweigh import app
    from outweigh.core.rounding import si

    rows = app.sample_rows(receipt, ledger)
    if as_json:
        echo_json(rows)
        return
    table(
        ("time", "into the run", "channel", "power"),
        (
            (str(row["time"])[:23] + "Z", f"{row['t_s']:.2f} s", str(row["channel"]), si(row["power_w"], "W"))
            for row in rows
        ),
    )


@command.command("verify", epilog="Example: outweigh ledger verify && echo clean")
@ledger_option
def verify(ledger: str | None) -> None:
    """Check every address and the hash chain; exit 3 on the first altered or missing receipt."""
    from outweigh import app

    with app.opened(ledger) as store:
        n = store.verify()
        click.echo(f"{n} receipt{'' if n == 1 else 's'}, chain whole")


@command.command("export", epilog="Example: outweigh ledger export > receipts.jsonl")
@ledger_option
def export(ledger: str | None) -> None:
    """Write every receipt as one JSON object a line."""
    from outweigh import app
    from outweigh.ledger import export_jsonl

    with app.opened(ledger) as store:
        for line in export_jsonl(store):
            click.echo(line)


@command.command("import", epilog="Example: outweigh ledger import emissions.csv --project support-triage")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "kind",
    default="",
    metavar="NAME",
    help="jsonl (our own export), codecarbon, dcgm, kepler, sacct, trtllm, vllm or zeus; guessed by default.",
)
@click.option("--project", metavar="NAME", default="", help="Project to book foreign records on, where they name none.")
@click.option(
    "--phase",
    type=click.Choice(["development", "training", "inference", "idle"]),
    default="development",
    show_default=True,
    help="What foreign runs were for.",
)
@click.option(
    "--timezone", default="", metavar="ZONE", help="Time zone of stamps that name none, such as Europe/Berlin; UTC."
)
@click.option(
    "--ended",
    default="",
    metavar="TIME",
    help="When a record ended that does not say so (trtllm, zeus JSON), as 2026-11-23T14:05+01:00; "
    "by default when the file was last changed.",
)
@click.option(
    "--plugin",
    default="",
    metavar="NAME",
    help="For sacct: the cluster's AcctGatherEnergyType without its prefix (rapl, ipmi, xcc, pm_counters, gpu).",
)
@ledger_option
def import_(
    file: Path, kind: str, project: str, phase: str, timezone: str, ended: str, plugin: str, ledger: str | None
) -> None:
    """Take in receipts exported elsewhere, or the records of other tools as what they are: theirs, with their grade.

    What is here already is kept once. A record without an interval or a unit is left out, and said.
    """
    from outweigh import app

    new, known, left_out = app.import_records(
        file, kind=kind, project=project, phase=phase, timezone=timezone, ended=ended, plugin=plugin, ledger=ledger
    )
    for sentence in left_out:
        note(f"left out: {sentence}")
    click.echo(f"{new} new receipts, {known} already here, {len(left_out)} left out")


@command.command("recompute", epilog="Example: outweigh ledger recompute --zone US-CAL-CISO --region aws:us-west-1")
@click.option("--zone", required=True, help="Grid zone whose carbon intensity and price to take.")
@click.option(
    "--region", default="", help="Cloud region whose PUE to take, such as aws:eu-central-1; IT energy without."
)
@click.option("--batch", default="", help="Only the receipts of one review or comparison.")
@click.option("--phase", type=click.Choice(["development", "training", "inference", "idle"]), default=None)
@ledger_option
@json_option
def recompute(zone: str, region: str, batch: str, phase: str | None, ledger: str | None, as_json: bool) -> None:
    """Work out carbon and money of receipts under the factors of a zone, and keep every version.

    Receipts never change: carbon and money are views of their energy. Doing it twice with the same factors adds
    nothing.
    """
    from outweigh import app

    rows, missing = app.recompute_views(zone, region=region, batch=batch, phase=phase or "", ledger=ledger)
    for sentence in missing:
        note(sentence)
    if as_json:
        echo_json(rows)
        return
    table(
        ("receipt", "view", "value", "factor", "grade"),
        (
            (str(row["receipt"])[:12], str(row["kind"]), str(row["shown"]), str(row["factor"]), str(row["grade"]))
            for row in rows
        ),
    )


@command.command("recover", epilog="Example: outweigh ledger recover")
@ledger_option
def recover(ledger: str | None) -> None:
    """Close runs that were cut off (kill -9, power cut) with the energy seen so far; `measure` does it at its start."""
    from outweigh import app

    found = app.recover_runs(ledger)
    for sentence in found:
        click.echo(sentence)
    if not found:
        click.echo("no run was cut off")


@command.command("hum", epilog="Example: outweigh ledger hum --days 7")
@click.option("--days", type=float, default=30.0, show_default=True, help="How far back to look.")
@ledger_option
@json_option
def hum(days: float, ledger: str | None, as_json: bool) -> None:
    """Who owned the hum, largest first, what it was made of, and an action for each.

    An owner is the one that `outweigh measure --owner` or the phase's budget in energy.toml named, else the project.
    A part that no receipt knows is a dash. Cooling comes on top of the hum, which is IT energy.
    """
    from outweigh import app
    from outweigh.core.rounding import si

    rows = app.hum_rows(days, ledger=ledger)
    if as_json:
        echo_json(rows)
        return
    table(
        ("owner", "hum", "share", "allocated", "unallocated", "host", "cooling", "work", "runs", "what to do"),
        (
            (
                row["owner"],
                si(row["hum_j"], "J"),
                f"{100 * row['share_of_hum']:.0f} %",
                *(
                    "-" if row[f"hum_{part}_j"] is None else si(row[f"hum_{part}_j"], "J")
                    for part in ("allocated", "unallocated", "host", "cooling")
                ),
                si(row["work_j"], "J"),
                str(row["runs"]),
                row["action"],
            )
            for row in rows
        ),
        entries_below=_TABLE_FROM,
    )


command.add_command(copy)
command.add_command(fleet)
command.add_command(push)
