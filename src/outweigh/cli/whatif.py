"""`outweigh whatif`: what would change, in money, energy and carbon; each room's command is a file beside this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table
from outweigh.cli.whatif_cooling import cooling
from outweigh.cli.whatif_finance import finance
from outweigh.cli.whatif_hardware import hardware
from outweigh.cli.whatif_levers import levers
from outweigh.cli.whatif_links import links
from outweigh.cli.whatif_negotiate import negotiate
from outweigh.cli.whatif_policy import policy
from outweigh.cli.whatif_supply import supply
from outweigh.cli.whatif_world import world

if TYPE_CHECKING:
    from outweigh.app.whatif_tariff import Asked

_FILE = click.Path(path_type=Path)


@click.group("whatif", epilog="Example: outweigh whatif tariff bill examples/tariff/site.toml --flat '5 MW' "
             "--from 2026-01-01 --to 2027-01-01")  # fmt: skip
def command() -> None:
    """What would change, in money, energy and carbon. Doing nothing is the first row or column of every
    comparison; a bill is what doing nothing costs."""


@command.group(
    "tariff",
    short_help="Bills under a tariff file, and what one more run adds.",
    epilog="The file is described in docs/tariffs.md.",
)
def tariff() -> None:
    """Bills under a tariff file, and what one more run adds to them."""


def _site_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--intensity", default=None, help='Declared, location-based: "350 gCO2e/kWh".'),
        click.option("--carbon-price", default=None, help='Declared price of carbon: "80 EUR/t".'),
        click.option(
            "--spot",
            default=None,
            type=_FILE,
            help="CSV of market prices: start,EUR/MWh; local unless a time has a zone.",
        ),
        click.option(
            "--history", default=None, type=_FILE, help="CSV of earlier demand, for ratchets: charge,month,kw."
        ),
        click.option("--to", "until", default=None, metavar="DAY", help="End of a load that repeats, exclusive."),
        click.option("--from", "since", default=None, metavar="DAY", help="First day of a load that repeats."),
        click.option("--flat", default=None, help='The same load all along, as in "5.2 MW".'),
        click.option(
            "--load",
            default=None,
            type=_FILE,
            help="CSV of the load: start,kw or start,kwh, local times unless they have a zone; or a week, day,hour,kw.",
        ),
        click.argument("tariff", type=_FILE),
    ):
        function = option(function)
    return function


def _asked(given: dict[str, Any]) -> Asked:
    from outweigh.app.whatif_tariff import Asked

    names = ("tariff", "load", "flat", "since", "until", "history", "spot", "carbon_price", "intensity")
    return Asked(**{name: given[name] for name in names}, pue=given.get("pue"), cooling=given.get("cooling"))


@tariff.command(
    "bill",
    epilog="Example: outweigh whatif tariff bill examples/tariff/site.toml --load examples/tariff/week.csv "
    "--from 2026-01-01 --to 2027-01-01",
)
@_site_options
@click.option("--lines", is_flag=True, help="Every line of the bill instead of a row per month.")
@json_option
def bill(lines: bool, as_json: bool, **given: Any) -> int:
    """What a load costs under TARIFF, month by month, split by what it is for."""
    from outweigh.app.whatif_tariff import SHOWN, ask, bill_rows, in_money, line_rows, power_words, shown_parts

    question = ask(_asked(given))
    made = question.bill()
    rows = line_rows(made) if lines else bill_rows(made, question)
    if as_json:
        echo_json(rows)
    elif lines:
        table(
            ("month", "kind", "line", "quantity", "price", made.currency),
            (
                (
                    str(row["month"]),
                    str(row["kind"]),
                    str(row["name"]),
                    "" if row["quantity"] is None else f"{row['quantity']:,.3f} {row['unit']}",
                    "" if row["price"] is None else f"{row['price']:g}",
                    in_money(row["amount"]),
                )
                for row in rows
            ),
        )
    else:
        table(
            ("month", *(name for name, _ in SHOWN), f"total {made.currency}", "billed demand"),
            (
                (str(row["month"]), *shown_parts(row), in_money(row["total"]), power_words(row["billed_demand_w"]))
                for row in rows
            ),
        )
        price = made.average_price
        if price is not None:
            click.echo(f"{made.kwh:,.0f} kWh, {price:.5f} {made.currency}/kWh on average")
    if question.carbon is not None and not as_json:
        carbon = in_money(question.carbon_of(made.kwh))
        click.echo(f"carbon at its declared price, beside the bill: {carbon} {made.currency}")
    for one in made.notes:
        note(f"Note: {one}.")
    return 0


@tariff.command(
    "marginal",
    epilog="Example: outweigh whatif tariff marginal examples/tariff/site.toml --load examples/tariff/week.csv "
    "--from 2026-01-01 --to 2027-05-01 --gpus 512 --per-gpu '1.275 kW' --pue 1.2 --for '14 d' "
    "--start 2026-03-02T09:00 --latest 2026-04-20",
)
@_site_options
@click.option("--power", default=None, help='Power of the run, before what cools it: "650 kW".')
@click.option("--gpus", type=int, default=None, help="Instead of --power: so many GPUs.")
@click.option("--per-gpu", default=None, help='Power of each GPU with its share of host and network: "1.275 kW".')
@click.option("--pue", type=float, default=None, help="Facility over IT power of the run; 1 by default.")
@click.option("--cooling", default=None, type=_FILE, help="Or CSV of the hall's stages: up_to_kw,fixed_kw,share.")
@click.option("--for", "lasting", required=True, metavar="TIME", help='How long the run takes, as in "14 d".')
@click.option("--start", required=True, metavar="TIME", help="When it would start now; local unless it has a zone.")
@click.option("--latest", default=None, metavar="TIME", help="Latest start to look at for the best one.")
@click.option("--every", default="1 h", show_default=True, help="Distance of the starts looked at.")
@click.option("--runs", type=int, default=None, help="Instead: the price of the 1st to so-many-th run of the month.")
@json_option
def marginal(
    power: str | None,
    gpus: int | None,
    per_gpu: str | None,
    lasting: str,
    start: str,
    latest: str | None,
    every: str,
    runs: int | None,
    as_json: bool,
    **given: Any,
) -> int:
    """What one more run adds to the bill under TARIFF: now, at its best start, held under the contract.

    It is the bill with the run less the bill without it, over all of the load's time. A load that repeats is repeated
    as far beyond the run as ratchets look back; where a metered one ends before, the answer says so. What cools the
    run is a column of its own, priced on top of its IT power; beside all stands what the average price would say.
    """
    from outweigh.app.whatif_tariff import (
        NOT_RUNNING,
        SHOWN,
        ask,
        curve_rows,
        in_money,
        power_words,
        run_of,
        shown_parts,
        way_rows,
    )

    question = ask(_asked(given))
    run = run_of(question.tariff, power=power, gpus=gpus, per_gpu=per_gpu, lasting=lasting, start=start)
    money = question.tariff.currency
    if runs is not None:
        with progress("runs") as shown:
            rows, found = curve_rows(question, run, runs, shown)
        for one in found.notes:
            note(f"Note: {one}.")
        if as_json:
            echo_json(rows)
            return 0
        table(
            ("run", *(name for name, _ in SHOWN), "cooling", f"adds {money}", "peak"),
            (
                (
                    str(row["run"] or NOT_RUNNING),
                    *shown_parts(row),
                    in_money(row["cooling"]),
                    in_money(row["total"]),
                    power_words(row["peak_w"]) + (" (passes the contract)" if row["crosses_contract"] else ""),
                )
                for row in rows
            ),
        )
        click.echo(f"The price of one more run {found.slope}.")
        return 0
    with progress("starts") as shown:
        rows = way_rows(question, run, latest, every, shown)
    if as_json:
        echo_json(rows)
        return 0
    table(
        ("way", "start", "end", *(name for name, _ in SHOWN), "cooling", f"total {money}", "naive", "carbon", "peak"),
        (
            (
                str(row["way"]),
                str(row["start"] or "-")[:16],
                str(row["end"] or "-")[:16],
                *shown_parts(row),
                in_money(row["cooling"]),
                in_money(row["total"]),
                in_money(row["naive"]),
                in_money(row["carbon"]),
                power_words(row["peak_w"]),
            )
            for row in rows
        ),
    )
    for row in rows:
        if row["times_naive"] is not None:
            click.echo(
                f"{row['way']}: {row['times_naive']:.2f} times the average price, {row['per_kwh']:.4f} {money}/kWh"
            )
    for one in dict.fromkeys(one for row in rows for one in _list(row["notes"])):
        note(f"Note: {one}.")
    return 0


def _list(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


@tariff.command(
    "import",
    epilog="Example: outweigh whatif tariff import rate.json --timezone America/Chicago > site.toml",
)
@click.argument("rate", type=_FILE)
@click.option("--timezone", required=True, help="Clock of the site (IANA name); the database states none.")
@click.option("--label", default=None, help="Which rate, where the file holds several.")
def import_(rate: Path, timezone: str, label: str | None) -> int:
    """A rate of OpenEI's Utility Rate Database (JSON) as a tariff file, on standard output.

    What cannot be carried over is named in the file and on standard error; what would be billed wrongly is refused.
    """
    from outweigh.app.whatif_tariff import import_rate

    text, left_out = import_rate(rate, timezone, label)
    click.echo(text, nl=False)
    for one in left_out:
        note(f"Left out: {one}.")
    return 0


command.add_command(cooling)
command.add_command(finance)
command.add_command(hardware)
command.add_command(levers)
command.add_command(links)
command.add_command(negotiate)
command.add_command(policy)
command.add_command(supply)
command.add_command(world)
