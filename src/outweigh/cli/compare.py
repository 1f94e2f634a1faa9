"""`outweigh compare`: variants side by side."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import (
    echo_json,
    json_option,
    note,
    progress,
    project_option,
    sitting_options,
    table,
)


@click.command("compare", epilog="Example: outweigh compare l3 l3-int8 --project examples/news-triage --rounds 4")
@click.argument("variants", nargs=-1, metavar="[VARIANT]...")
@project_option
@click.option(
    "--sweep",
    default="",
    metavar="KEY[=V,V,...]",
    help="Turn an option of one variant (batch=1,2,4,8) and fit the exponent of its energy; without values, fit it "
    "over variants that differ in `bytes` or in an option.",
)
@click.option(
    "--precision",
    default="",
    metavar="SHARE",
    help="Stop early once every energy ratio is decided or known this well (2%), at no cost in false alarms.",
)
@click.option(
    "--allow-device-settings",
    is_flag=True,
    help="Let levers such as power-cap change settings of a device while their variant runs; they are restored.",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Also project each variant on a device of the hardware table (nvidia-l4), in a table of its own; may be "
    "repeated.",
)
@sitting_options
@json_option
def command(
    variants: tuple[str, ...],
    project: Path,
    sweep: str,
    precision: str,
    allow_device_settings: bool,
    devices: tuple[str, ...],
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> None:
    """Measure variants of a project against each other; the first is what the others are held against.

    Without names, every declared variant is measured. Rounds are interleaved in random order, and the first variant
    runs twice a round, which shows the noise; every figure has its interval. "on the frontier" is how probable it is
    that nothing measured is both cheaper and better; "dominated by" names what is. A variant that fails is left out and
    named. A variant made `from` another with options = { device = "nvidia-l4" } is projected and not measured.
    """
    from outweigh.app.comparing import (
        COLUMNS,
        PROJECTED_COLUMNS,
        SWEEP_COLUMNS,
        compare,
        compared_rows,
        energy_columns,
        energy_rows,
        projected_rows,
    )

    with progress("compare") as tell:
        done = compare(
            project,
            variants,
            ledger=ledger,
            meter=meter,
            rounds=rounds,
            progress=tell,
            sweep=sweep,
            precision=precision,
            allow_device_settings=allow_device_settings,
            devices=devices,
        )
    if as_json:
        echo_json([*done.rows, *done.projected, *([done.sweep] if done.sweep else [])])
        return
    table(COLUMNS, compared_rows(done))
    table(energy_columns(done), energy_rows(done))
    if done.projected:
        table(PROJECTED_COLUMNS, projected_rows(done.projected), title="projected, not measured")
    if done.sweep:
        table(SWEEP_COLUMNS, done.sweep_rows)
    for line in done.notes:
        note(line)
