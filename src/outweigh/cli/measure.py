"""`outweigh measure -- CMD`: run a command and keep its receipt; `--pid` follows one, `--idle` listens to none."""

from __future__ import annotations

from typing import Any

import click

from outweigh.cli.shown import echo_json, note

_OWN_FAILURE = 125


class _Misused(click.UsageError):
    """2 may be the answer of the program we run: our own mistakes end with 125, as those of `env` and `timeout` do."""

    exit_code = _OWN_FAILURE


class _LikeEnv(click.Command):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as err:
            raise _Misused(err.format_message(), err.ctx) from err


@click.command(
    "measure",
    cls=_LikeEnv,
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
@click.option(
    "--idle",
    "idle_s",
    type=float,
    default=None,
    metavar="SECONDS",
    help="Listen to the idle draw so long, and keep a receipt of the phase idle for its owner, instead of a CMD.",
)
@click.option(
    "--meter",
    default=None,
    metavar="NAME[,NAME]",
    help="Meters by name (see `outweigh doctor`), read as one; the best that work by default.",
)
@click.option(
    "--hum", "hum_s", type=float, default=2.0, show_default=True, help="Seconds to listen to the idle draw first."
)
@click.option(
    "--hum-after", "hum_after_s", type=float, default=0.0, help="Seconds to listen to it again when CMD has ended."
)
@click.option(
    "--phase",
    type=click.Choice(["development", "training", "inference", "idle"]),
    default=None,
    help="What the run is for; development by default, or the phase of the budget line.",
)
@click.option(
    "--budget",
    default="",
    metavar="LINE",
    help="Charge the run to this line of energy.toml: says what is left before, warns at 80 %, 95 % and warn_at.",
)
@click.option(
    "--stop-at-budget",
    is_flag=True,
    help="End CMD before the line is overshot: SIGTERM, so that it can write a checkpoint, then SIGKILL.",
)
@click.option(
    "--grace",
    "grace_s",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds from SIGTERM to SIGKILL; what CMD would draw in them is kept free.",
)
@click.option(
    "--project",
    metavar="NAME",
    default="",
    help="Name to book the run on; that of the nearest energy.toml by default, or the folder.",
)
@click.option(
    "--owner", default="", help="Who answers for the hum; by default the owner of the phase's budget in energy.toml."
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label to keep on the receipt; repeatable.")
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite by default.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the receipt as one JSON object on stdout after CMD's own output."
)
def command(
    cmd: tuple[str, ...],
    pid: int | None,
    idle_s: float | None,
    meter: str | None,
    hum_s: float,
    hum_after_s: float,
    phase: str | None,
    budget: str,
    stop_at_budget: bool,
    grace_s: float,
    project: str,
    owner: str,
    labels: tuple[str, ...],
    ledger: str | None,
    as_json: bool,
) -> int:
    """Run CMD, measure the hum before it and the energy during it, and keep the receipt.

    The hum is split as far as it is known: what CMD had for itself, what nobody had, the host, the cooling.

    CMD's output and exit code pass through. Our own failures end with 125 (outweigh itself), 126 (CMD
    cannot be run) or 127 (CMD not found), as with `env` and `timeout`.

    With --stop-at-budget a command that was stopped ends with 124, or 137 when it had to be killed; the receipt is
    interrupted, and keeps the command's own code. Where nothing is left of the line CMD is not started, and the
    answer is 124 too.

    With --pid nothing is started: the process is followed through /proc (Linux), and the exit code is 0.
    """
    from outweigh import app
    from outweigh.core.errors import CommandNotRun, OutweighError

    if cmd and cmd[0].startswith("-"):
        raise _Misused(f"there is no option {cmd[0]}; `outweigh measure --help` lists them, and CMD comes after --")
    if bool(cmd) + (pid is not None) + (idle_s is not None) != 1:
        raise _Misused("give one: a command, as in `outweigh measure -- python train.py`, --pid PID or --idle SECONDS")
    if stop_at_budget and not (budget and cmd):
        raise _Misused("--stop-at-budget stops a CMD at a line: outweigh measure --budget LINE --stop-at-budget -- CMD")
    common: dict[str, Any] = {
        "meter": meter, "project": project, "owner": owner, "labels": labels, "ledger": ledger, "budget": budget,
        "told": note,
    }  # fmt: skip
    try:
        if pid is not None:
            receipt, address, kept_in = app.measure_pid(pid, phase=phase, **common)
        elif idle_s is not None:
            receipt, address, kept_in = app.measure_idle(idle_s, **common)
        else:
            receipt, address, kept_in = app.measure(
                cmd, hum_s=hum_s, hum_after_s=hum_after_s, phase=phase, stop_at_budget=stop_at_budget, grace_s=grace_s,
                **common,
            )  # fmt: skip
    except CommandNotRun as err:
        note(f"outweigh: {err}")
        return err.exit_code_hint
    except OutweighError as err:
        note(f"outweigh: {err}")
        return _OWN_FAILURE
    if as_json:
        echo_json([{"receipt": address, **receipt.to_dict()}])
    note(app.receipt_line(receipt, address, kept_in))
    return app.exit_code_of(receipt)
