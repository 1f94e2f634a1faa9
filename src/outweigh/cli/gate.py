"""`outweigh gate`: the weighing alone, and what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, project_argument, sitting_options, table


class _WeighsByDefault(click.Group):
    """`outweigh gate PROJECT` weighs; the other things a gate does are named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["weigh", *args]
        return super().parse_args(ctx, args)


_only_blocking_option = click.option(
    "--only-blocking",
    is_flag=True,
    help="End with 0 for a verdict that may not block a merge, by gate.mode and gate.min_grade.",
)
_record_option = click.option(
    "--record",
    "record_to",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[FOLDER]",
    help="Keep the decision: one page, and a line in an append-only log; `decisions` beside energy.toml by default.",
)


def _keep_record(document: Mapping[str, object], record_to: str, project: Path) -> None:
    from outweigh.app.pr_record import record

    kept = record(document, _records_of(record_to, project))
    note(f"recorded in {kept.page}; {kept.log} has a line more")


def _records_of(record_to: str, project: Path) -> Path:
    from outweigh.app.pr_record import FOLDER

    folder = project.parent if project.is_file() else project
    return Path(record_to) if record_to else folder / FOLDER


@click.group(
    "gate",
    cls=_WeighsByDefault,
    epilog="Example: outweigh gate examples/news-triage --explain   (the same as `outweigh gate weigh …`)",
)
def command() -> None:
    """Weigh a proposal against budget, alternatives and benefit."""


@command.command("weigh", epilog="Example: outweigh gate examples/news-triage --explain")
@project_argument
@click.option(
    "--from",
    "review_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Show the verdict of a finished review.json instead of measuring.",
)
@click.option("--explain", is_flag=True, help="Every test with its statistic, interval, threshold and distance.")
@_only_blocking_option
@_record_option
@sitting_options
@json_option
def weigh(
    project: Path,
    review_file: Path | None,
    explain: bool,
    only_blocking: bool,
    record_to: str | None,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Measure PROJECT's incumbent, proposal and alternatives, and weigh the proposal.

    Ends with the verdict's exit code: 0 pass or waived, 1 fail, 5 inconclusive. gate.mode and gate.min_grade do not
    change it: they say what may block a merge, which --only-blocking asks for.
    """
    from outweigh.app.files import read_review
    from outweigh.app.review import review
    from outweigh.app.summary import exit_code_of, gate_lines

    if review_file is not None:
        if record_to is not None:
            raise click.UsageError("--record keeps what was measured just now; leave --from out")
        document = read_review(review_file)
    else:
        with progress("gate") as tell:
            done = review(project, ledger=ledger, meter=meter, rounds=rounds, progress=tell)
        document = dict(done.document)
        if record_to is not None:
            _keep_record(document, record_to, project)
    if as_json:
        echo_json([{key: document[key] for key in ("project", "evidence", "verdict", "weighing") if key in document}])
    else:
        click.echo("\n".join(gate_lines(document, explain=explain)))
    return exit_code_of(document, only_blocking=only_blocking)


@command.command("calibrate-eta", epilog="Example: outweigh gate calibrate-eta examples/news-triage")
@project_argument
@click.option("--ledger", default=None, help="Ledger file; .outweigh/ledger.sqlite of the project by default.")
@json_option
def calibrate_eta(project: Path, ledger: str | None, as_json: bool) -> None:
    """Fit eta to PROJECT's own comparisons: what growth in energy has bought in error so far.

    Nothing is changed: whether the gate should ask for as much as history gave is the team's decision.
    """
    from outweigh.app.eta import eta_of_project
    from outweigh.core.rounding import plus_minus

    fit, declared = eta_of_project(project, ledger=ledger)
    bounds = fit.eta.bounds
    if as_json:
        echo_json(
            [
                {
                    "eta": fit.eta.value, "eta_low": bounds.low, "eta_high": bounds.high,
                    "confidence": bounds.confidence, "declared_eta": declared, "comparisons": fit.comparisons,
                    "variants": fit.variants, "interval_by": "comparison" if fit.clustered else "variant",
                }
            ]
        )  # fmt: skip
        return
    click.echo(f"eta {plus_minus(fit.eta.value, bounds.low, bounds.high)}   declared {declared:g}")
    click.echo(
        f"from {fit.variants} variants in {fit.comparisons} comparisons, the interval by "
        f"{'comparison' if fit.clustered else 'variant'}; doubling the energy has changed the error by "
        f"{100 * (2**-fit.eta.value - 1):+.1f} %"
    )
    if bounds.low <= declared <= bounds.high:
        click.echo("the declared eta lies within what the record shows")
    else:
        side = "less" if bounds.low > declared else "more"
        click.echo(f"the declared eta asks for {side} than energy has bought here so far")


@command.command("lock-factors", epilog="Example: outweigh gate lock-factors examples/news-triage")
@project_argument
def lock(project: Path) -> None:
    """Keep the PUE, prices and carbon intensities of PROJECT's sites as the tables say them today.

    They are written to energy.factors.json beside energy.toml. Commit it: newer tables then change no figure and no
    verdict until somebody runs this again, and a pull request is held to the base's.
    """
    from outweigh.app.factor_lock import lock_factors
    from outweigh.config import load_project

    click.echo(str(lock_factors(load_project(project))))


@command.command("pull-request", epilog="Example: outweigh gate pull-request --base origin/main --head HEAD")
@project_argument
@click.option("--base", default="", help="Revision whose policy holds; on a runner the pull request's by default.")
@click.option("--head", default="", help="Revision that proposes; on a runner what it has checked out by default.")
@click.option("--number", type=int, default=None, help="Number of the pull request; on a runner known already.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outweigh-gate"),
    show_default=True,
    help="Folder for comment.md, gate.json, junit.xml, gate.sarif and report.html.",
)
@click.option("--comment", is_flag=True, help="Post the comment, or write over the one that is there.")
@click.option("--login", default="", help="Who comments, where that is no bot: only own comments are written over.")
@_only_blocking_option
@_record_option
@sitting_options
@json_option
def pull_request(
    project: Path,
    base: str,
    head: str,
    number: int | None,
    out: Path,
    comment: bool,
    login: str,
    only_blocking: bool,
    record_to: str | None,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Weigh what HEAD proposes against what BASE has in service, both measured interleaved on this machine.

    Policy, budgets, task, protocol, sites and incumbent are read from BASE alone; each side brings its own variants.
    Ends with the verdict's exit code: 0 pass, 1 fail, 5 inconclusive; 0 where nothing is proposed.
    """
    from outweigh.app.pr_runner import run_pull_request
    from outweigh.app.summary import gate_lines

    with progress("gate") as tell:
        ran = run_pull_request(
            project, environment=os.environ, base=base, head=head, number=number, out=out, comment=comment,
            login=login, only_blocking=only_blocking, ledger=ledger, meter=meter, rounds=rounds, progress=tell,
            tell=note,
        )  # fmt: skip
    document = ran.weighed.document
    if ran.weighed.judged is not None and record_to is not None:
        _keep_record(document, record_to, project)
    if ran.posted is not None:
        note(f"comment {'posted' if ran.posted.created else 'written over'}: {ran.posted.url}")
    if as_json:
        keys = ("project", "evidence", "verdict", "weighing", "pull_request")
        echo_json([{key: document[key] for key in keys if key in document}])
    elif ran.weighed.judged is None:
        click.echo("NOTHING TO WEIGH  the head adds or changes no variant and proposes none")
    else:
        click.echo("\n".join([*gate_lines(document), "  ".join(str(path) for path in ran.paths)]))
    return ran.exit_code


@command.command("comment", epilog="Example: outweigh gate comment --file outweigh-gate/comment.md")
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The comment.md of a first step."
)
@click.option("--number", type=int, default=None, help="Number of the pull request; the file's own by default.")
@click.option("--login", default="", help="Who comments, where that is no bot: only own comments are written over.")
def comment(file: Path, number: int | None, login: str) -> None:
    """Post a comment that an earlier run, whose token may only read, has left in a file.

    In a workflow_run job it is posted only on a pull request that is still at the commit of that run.
    """
    from outweigh.app.pr_runner import post_file

    posted = post_file(file, environment=os.environ, number=number, login=login)
    click.echo(f"{'posted' if posted.created else 'written over'}: {posted.url}")


@command.command("log", epilog="Example: outweigh gate log examples/news-triage")
@project_argument
@click.option("--record", "record_to", default="", metavar="FOLDER", help="`decisions` beside energy.toml by default.")
@json_option
def log(project: Path, record_to: str, as_json: bool) -> None:
    """List the recorded verdicts and their waivers, each checked against the page that was kept of it."""
    from outweigh.app.pr_record import log_rows, logged

    verdicts = list(logged(_records_of(record_to, project)))
    if as_json:
        echo_json(verdicts)
        return
    headings, rows = log_rows(verdicts)
    table(headings, rows)
