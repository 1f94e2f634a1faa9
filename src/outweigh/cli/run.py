"""`outweigh run PLAN` follows a plan; `outweigh run -- CMD` starts one command when it is clean or cheap."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from outweigh.cli.shown import echo_json, json_option, note, table

_OWN_FAILURE = 125
_MOST_ROWS = 60


class _Misused(click.UsageError):
    """2 may be the answer of the program we run: our own mistakes end with 125, as those of `env` and `timeout` do."""

    exit_code = _OWN_FAILURE


class _LikeEnv(click.Command):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as err:
            raise _Misused(err.format_message(), err.ctx) from err

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A command begins behind --; what stands before it and is no option is the plan.
        ctx.meta["outweigh.command"] = tuple(args[args.index("--") + 1 :]) if "--" in args else ()
        return super().parse_args(ctx, args[: args.index("--")] if "--" in args else args)


@click.command(
    "run",
    cls=_LikeEnv,
    epilog="Example: outweigh run --when clean --deadline 12h --expect 30min --zone DE -- make eval",
)
@click.argument("plan", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[PLAN] [-- CMD ...]")
@click.option(
    "--on", default="local", show_default=True, metavar="NAME[:ARG]", help="Executor (see `outweigh doctor`)."
)
@click.option(
    "--source", "sources", multiple=True, metavar="NAME[:ARG]", help="Look up newer carbon and prices here; repeatable."
)
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="And in your own (docs/grid.md).")
@click.option("--ledger", default=None, help="Ledger file or URL, which also keeps the state of the run.")
@click.option("--every", "every_s", type=float, default=None, metavar="SECONDS", help="Time between two looks.")
@click.option(
    "--clock-factor", type=float, default=1.0, metavar="N", help="Try a PLAN with a clock that runs N times as fast."
)
@click.option("--again", is_flag=True, help="Follow a PLAN once more that was followed to its end.")
@click.option(
    "--out", multiple=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write what came of it: .json, or of a PLAN .html to look at; repeatable.",
)  # fmt: skip
@click.option("--gantt", is_flag=True, help="Show the jobs over time, the carbon of each site above.")
@click.option(
    "--resume", default=None, metavar="ID", help="Go on with a plan or a command that is on its way (--list)."
)
@click.option("--cancel", default=None, metavar="ID", help="End the jobs of one, and close it.")
@click.option("--list", "listing", is_flag=True, help="List the plans that are followed, and who leads each.")
@click.option(
    "--when", type=click.Choice(["clean", "cheap", "best", "now"]), default="clean", help="What CMD waits for."
)
@click.option("--deadline", "--within", default="24h", show_default=True, metavar="SPAN", help="CMD is done by then.")
@click.option("--expect", default=None, metavar="SPAN", help="How long CMD runs; learnt from receipts by default.")
@click.option("--power", default=None, metavar="POWER", help="What CMD draws, such as 2kW; where nothing measures it.")
@click.option(
    "--zone",
    "zones",
    multiple=True,
    envvar="OUTWEIGH_ZONE",
    metavar="[SITE=]ZONE",
    help="Where CMD may run; repeatable.",
)
@click.option("--least-saving", default="2%", show_default=True, help="Do not wait for less than this.")
@click.option("--mixed-prices", is_flag=True, help="Weigh prices of different markets against one another.")
@click.option("--offline", is_flag=True, help="Ask no live source for CMD's zone.")
@click.option("--wait-only", is_flag=True, help="Run nothing: end when it is time to start (cron, CI).")
@click.option("--name", default="", help="Name of the job on its receipts; the command's by default.")
@click.option("--meter", default=None, metavar="NAME[,NAME]", help="Meters for a local CMD, as `outweigh measure` has.")
@click.option("--project", metavar="NAME", default="", help="Name to book on; as `outweigh measure` has.")
@click.option("--phase", type=click.Choice(["development", "training", "inference"]), default="training")
@json_option
@click.pass_context
def command(ctx: click.Context, /, plan: Path | None, as_json: bool, **given: Any) -> int:
    """Follow PLAN (of `outweigh plan --out plan.json`) to its end, or run CMD when it is clean, cheap or both.

    A PLAN is started where and when it says, and planned again when prices, carbon or a job come otherwise. Deadlines
    come before savings. It may be stopped or killed at any time: the same command goes on where it was, and so does
    --resume ID. Exit code 0 when every job was done in time, 1 when one was not, 125 to 127 for failures of our own.

    A local CMD runs in the foreground and is measured; its output and exit code pass through. With --on slurm it is
    submitted with its begin time (`-- sbatch train.sh`) and followed; --resume ID takes it up again, for the same
    command once more is another job.
    """
    from outweigh.core.errors import CommandNotRun, OutweighError

    cmd: tuple[str, ...] = ctx.meta["outweigh.command"]
    if given["listing"]:
        return _list(given["ledger"], as_json=as_json)
    named = [each for each in ("resume", "cancel") if given[each] is not None]
    if (plan is not None) + bool(cmd) + given["wait_only"] + len(named) != 1:
        raise _Misused(
            "give one: a PLAN, a command behind --, --wait-only, --resume ID or --cancel ID. `outweigh run --help` has "
            "examples"
        )
    if named:
        _check_as_it_began(ctx, named[0])
    try:
        if named:
            return _take_up(given, as_json=as_json)
        if plan is not None:
            return _follow(plan, given, as_json=as_json)
        return _one(cmd, given, as_json=as_json)
    except CommandNotRun as err:
        note(f"outweigh: {err}")
        return err.exit_code_hint
    except OutweighError as err:
        note(f"outweigh: {err}")
        return _OWN_FAILURE


def _follow(plan: Path, given: dict[str, Any], *, as_json: bool) -> int:
    from outweigh.app.supervising import check_outputs, exit_code_of, read_plan_file, run_plan

    check_outputs(given["out"])
    document = read_plan_file(plan)
    with _Shown() as shown:
        came = run_plan(document, str(plan), _options(given), told=shown.told, shown=shown)
    _tell(came, given, as_json=as_json)
    return exit_code_of(came)


def _take_up(given: dict[str, Any], *, as_json: bool) -> int:
    from outweigh.app.supervising import check_outputs
    from outweigh.app.taking_up import take_up

    check_outputs(given["out"])
    with _Shown() as shown:
        code, came = take_up(
            given["resume"] or given["cancel"] or "", _options(given), cancel=given["cancel"] is not None,
            told=shown.told, shown=shown,
        )  # fmt: skip
    _tell(came, given, as_json=as_json)
    return code


def _check_as_it_began(ctx: click.Context, option: str) -> None:
    """What is on its way stays as it began, and is not silently something else than was typed."""
    for name in ("on", "clock_factor", "again", "project", "phase"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise _Misused(f"--{option} takes it up as it began: leave --{name.replace('_', '-')} out")


def _tell(came: dict[str, Any], given: dict[str, Any], *, as_json: bool) -> None:
    from outweigh.app.supervising import COLUMNS, lines, rows

    _write(came, given["out"])
    if as_json:
        echo_json([came])
        return
    found = rows(came)
    table(COLUMNS, found[:_MOST_ROWS])
    if len(found) > _MOST_ROWS:
        note(f"... and {len(found) - _MOST_ROWS} more; --out run.json or --json has all of them")
    if given["gantt"]:
        from outweigh.run.gantt import gantt

        click.echo(gantt(came))
    for line in lines(came):
        note(line)


def _one(cmd: tuple[str, ...], given: dict[str, Any], *, as_json: bool) -> int:
    from outweigh.app.commanding import Ask, document_of, run_here, run_there, seconds, wait, watts
    from outweigh.app.supervising import check_outputs
    from outweigh.core.units import parse_share
    from outweigh.run.clock import system_now

    check_outputs(given["out"], page=bool(cmd) and given["on"] != "local")
    ask = Ask(
        cmd, given["when"], seconds(given["deadline"], "--deadline"),
        None if given["expect"] is None else seconds(given["expect"], "--expect"),
        None if given["power"] is None else watts(given["power"]), given["zones"], given["sources"], given["files"],
        given["offline"], parse_share(given["least_saving"]), given["name"], given["mixed_prices"],
    )  # fmt: skip
    code, document = 0, None
    if not cmd:
        document = document_of(wait(ask, told=note, ledger=given["ledger"]), system_now())
    elif given["on"] == "local":
        code, document = run_here(
            ask, told=note, ledger=given["ledger"], meter=given["meter"], project=given["project"], phase=given["phase"]
        )
    else:
        with _Shown() as shown:
            code, document = run_there(ask, _options(given), told=shown.told, shown=shown)
    _write(document, given["out"])
    if as_json:
        echo_json([document])
    return code


def _options(given: dict[str, Any]) -> Any:
    from outweigh.app.supervising import Options

    return Options(
        on=given["on"], sources=given["sources"], files=given["files"], ledger=given["ledger"],
        clock_factor=given["clock_factor"], every_s=given["every_s"], again=given["again"], project=given["project"],
        phase=given["phase"],
    )  # fmt: skip


def _write(document: Any, paths: tuple[Path, ...]) -> None:
    from outweigh.app.supervising import write_report

    for path in paths:
        write_report(document, path)
        note(f"written: {path}")


def _list(ledger: str | None, *, as_json: bool) -> int:
    from outweigh.app.supervising import following_rows

    found = following_rows(ledger)
    if as_json:
        echo_json(found)
        return 0
    keys = ("following", "on", "jobs", "over", "leader", "said")
    shown = [{**row, "over": "yes" if row["over"] else "no"} for row in found]
    table(keys, [tuple(str(row[key]) for key in keys) for row in shown])
    return 0


class _Shown:
    """A line on the terminal that says how far it is, and is gone at the end; nothing in a pipe."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Shown:
        if sys.stderr.isatty():
            from rich.console import Console

            self._bar = Console(stderr=True).status("starting")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, cycle: Any, jobs: int) -> None:
        if self._bar is not None:
            self._bar.update(f"{jobs} jobs: " + ", ".join(f"{n} {word}" for word, n in sorted(cycle.states.items())))

    def told(self, text: str) -> None:
        note(text)
