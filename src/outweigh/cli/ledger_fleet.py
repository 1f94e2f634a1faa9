"""`outweigh ledger fleet`: minute samples of many nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table

_NOBODY = "(nobody)"


def folder_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--folder", type=click.Path(path_type=Path), default=None,
        help="Where the samples lie; .outweigh/fleet beside the ledger by default.",
    )(function)  # fmt: skip


@click.group("fleet", epilog="Example: outweigh ledger fleet hum --days 7")
def fleet() -> None:
    """Minute samples of many nodes: what they draw, what of it is hum, and whose it is.

    `outweigh serve --fleet` shows them. They are Parquet files (docs/fleet.md), and any Parquet reader opens them.
    """


@fleet.command("show", epilog="Example: outweigh ledger fleet show")
@folder_option
@json_option
def show(folder: Path | None, as_json: bool) -> None:
    """What there is: nodes, sites, owners, the time that is covered, and how the power is known."""
    from outweigh.app.fleets import fleet_rows
    from outweigh.core.rounding import si

    with progress("rolling up") as tell:
        rows = fleet_rows(folder, tell)
    if as_json:
        echo_json(rows)
        return
    (row,) = rows
    click.echo(f"{row['nodes']:,} nodes with {row['gpus']:,} GPUs, {row['samples']:,} minutes")
    click.echo(f"    from      {row['start'][:16]}Z to {row['end'][:16]}Z, {_percent(row['coverage'])} read")
    click.echo(f"    draws     {si(row['power_w'], 'W')} at {row['power_at'][:16]}Z ({row['scope']})")
    click.echo(f"    sites     {', '.join(row['sites'])}")
    click.echo(f"    owners    {', '.join(row['owners']) or 'none'}")
    click.echo(f"    how       {row['method']}, grade {row['grade']}, ± {100 * row['doubt']:.3g} %; {row['source']}")
    _ribbon(rows)


@fleet.command("hum", epilog="Example: outweigh ledger fleet hum --days 7 --site fra-1")
@click.option("--days", type=float, default=30.0, show_default=True, help="How far back from the last sample.")
@click.option("--site", default="", help="Only what stands there.")
@folder_option
@json_option
def hum(days: float, site: str, folder: Path | None, as_json: bool) -> None:
    """Who held the hum, largest first.

    The hum of a node is what it draws while nothing works on it, known from its own idle minutes (docs/fleet.md). A
    node that never idled has none that is known: its energy stands under "not split".
    """
    from outweigh.app.fleets import hum_rows
    from outweigh.core.rounding import si

    with progress("rolling up") as tell:
        rows = hum_rows(folder, days=days, site=site, progress=tell)
    if as_json:
        echo_json(rows)
        return
    table(
        ("owner", "hum", "from", "to", "share", "work", "not split", "node hours", "idle"),
        (
            (
                row["owner"] or _NOBODY,
                *(si(row[name], "J") for name in ("hum_j", "hum_low_j", "hum_high_j")),
                _percent(row["share_of_hum"]),
                si(row["work_j"], "J"),
                si(row["unsplit_j"], "J") if row["unsplit_j"] else "-",
                f"{row['node_hours']:,.0f}",
                f"{row['idle_node_hours']:,.0f}",
            )
            for row in rows
        ),
    )
    _ribbon(rows)


@fleet.command("nodes", epilog="Example: outweigh ledger fleet nodes --by peak --limit 5")
@click.option("--by", type=click.Choice(["hum", "energy", "work", "peak"]), default="hum", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many.")
@click.option("--days", type=float, default=30.0, show_default=True, help="How far back from the last sample.")
@click.option("--owner", default=None, help='Only while held by them; "" is nobody.')
@click.option("--site", default="", help="Only what stands there.")
@folder_option
@json_option
def nodes(
    by: str, limit: int, days: float, owner: str | None, site: str, folder: Path | None, as_json: bool
) -> None:  # fmt: skip
    """The nodes with the most hum, energy, work or the highest peak."""
    from outweigh.app.fleets import node_rows
    from outweigh.core.rounding import si

    with progress("rolling up") as tell:
        rows = node_rows(folder, days=days, by=by, limit=limit, owner=owner, site=site, progress=tell)
    if as_json:
        echo_json(rows)
        return
    table(
        ("node", "site", "mostly held by", "GPUs", "hum", "work", "not split", "peak", "idle"),
        (
            (
                row["node"],
                row["site"],
                row["owner"] or _NOBODY,
                str(row["gpus"]),
                si(row["hum_j"], "J"),
                si(row["work_j"], "J"),
                si(row["unsplit_j"], "J") if row["unsplit_j"] else "-",
                si(row["peak_w"], "W"),
                _percent(row["idle_share"]),
            )
            for row in rows
        ),
    )
    _ribbon(rows)


@fleet.command("import", epilog="Example: outweigh ledger fleet import power.json --owner-label namespace --site fra-1")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--metric", default="", metavar="NAME", help="Which one, where several that are known are in it.")
@click.option(
    "--owner-label", "owner_labels", multiple=True, metavar="LABEL",
    help="Label that names who holds a node; may be repeated, the first that is there counts.",
)  # fmt: skip
@click.option("--site", default="", help="Where the nodes stand.")
@click.option("--site-label", default="", metavar="LABEL", help="Label that names where each stands.")
@folder_option
@json_option
def import_(
    file: Path, metric: str, owner_labels: Sequence[str], site: str, site_label: str, folder: Path | None, as_json: bool
) -> None:
    """Take in the power of many nodes: a Prometheus server's answer to /api/v1/query_range, best with step=60.

    Knows DCGM_FI_DEV_POWER_USAGE (dcgm-exporter), kepler_node_cpu_joules_total (Kepler) and
    ipmi_dcmi_power_consumption_watts (ipmi_exporter). Importing a minute again replaces it.
    """
    from outweigh.app.fleets import import_minutes

    samples, units, into, left_out = import_minutes(
        file, folder, metric=metric, owner_labels=owner_labels, site=site, site_label=site_label
    )
    for sentence in left_out:
        note(f"left out: {sentence}")
    if as_json:
        echo_json([{"samples": samples, "nodes": units, "folder": str(into)}])
    else:
        click.echo(f"{samples:,} minutes of {units:,} nodes into {into}")


@fleet.command("synthetic", epilog="Example: outweigh ledger fleet synthetic made-up --servers 50 --days 2")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--servers", type=click.IntRange(min=1), default=600, show_default=True, help="Of 16 or 18 GPUs each.")
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--start", default="", metavar="DAY", help="First day in UTC; 2026-10-01 by default.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@json_option
def synthetic(folder: Path, servers: int, days: int, start: str, seed: int, as_json: bool) -> None:
    """Make up a fleet's samples in an empty FOLDER, to try things out. They say wherever they are shown that they are.

    The default is 10,000 GPUs for 30 days: 26 million minutes.
    """
    from outweigh.app.fleets import make_synthetic

    with progress("making up") as tell:
        rows, gpus = make_synthetic(folder, servers=servers, days=days, start=start, seed=seed, progress=tell)
    if as_json:
        echo_json([{"samples": rows, "gpus": gpus, "folder": str(folder), "synthetic": True}])
    else:
        click.echo(f"{rows:,} made-up minutes of {servers:,} servers with {gpus:,} GPUs in {folder}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _ribbon(rows: Sequence[dict[str, Any]]) -> None:
    if any(row["synthetic"] for row in rows):
        note("made up by a program: nothing here was measured")
