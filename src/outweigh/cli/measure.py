"""`outweigh measure -- CMD`: run a command and keep its receipt; `--pid` measures one that runs already."""

from __future__ import annotations

import click

from outweigh.cli.shown import echo_json, note


@click.command(
    "measure",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: outweigh measure --phase training -- python train.py",
)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--pid",
    type=click.IntRange(min=1),
    default=None,
    help="Measure this running process and all it starts, until it ends or Ctrl-C, instead of a CMD.",
)
@click.option("--meter", default=None, help="Meter by name (see `outweigh doctor`); the best that works by default.")
@click.option(
    "--hum",
    "hum_s",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Seconds to listen to the idle draw first.",
)
@click.option(
    "--phase",
    type=click.Choice(["development", "training", "inference", "idle"]),
    default="development",
    show_default=True,
    help="What the run is for.",
)
@click.option("--project", default="", help="Name to book the run on; the current folder's name by default.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label to keep on the receipt; repeatable.")
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite by default.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the receipt as one JSON object on stdout after CMD's own output."
)
def command(
    cmd: tuple[str, ...],
    pid: int | None,
    meter: str | None,
    hum_s: float,
    phase: str,
    project: str,
    labels: tuple[str, ...],
    ledger: str | None,
    as_json: bool,
) -> int:
    """Run CMD, measure the hum before it and the energy during it, and keep the receipt.

    CMD's output and exit code pass through. Our own failures end with 125 (outweigh itself), 126 (CMD
    cannot be run) or 127 (CMD not found), as with `env` and `timeout`.

    With --pid nothing is started: the process is followed through /proc (Linux), and the exit code is 0.
    """
    from outweigh import app
    from outweigh.core.errors import CommandNotRun, OutweighError

    if bool(cmd) == (pid is not None):
        raise click.UsageError("give either a command, as in `outweigh measure -- python train.py`, or --pid PID")
    try:
        if pid is not None:
            receipt, address, kept_in = app.measure_pid(
                pid, meter=meter, phase=phase, project=project, labels=labels, ledger=ledger, told=note
            )
        else:
            receipt, address, kept_in = app.measure(
                cmd, meter=meter, hum_s=hum_s, phase=phase, project=project, labels=labels, ledger=ledger, told=note
            )
    except CommandNotRun as err:
        note(f"outweigh: {err}")
        return err.exit_code_hint
    except OutweighError as err:
        note(f"outweigh: {err}")
        return 125
    if as_json:
        echo_json([{"receipt": address, **receipt.to_dict()}])
    note(app.receipt_line(receipt, address, kept_in))
    return receipt.exit_code if receipt.exit_code is not None else 0
