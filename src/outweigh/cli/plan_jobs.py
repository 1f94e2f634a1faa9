"""`outweigh plan JOBS`: when and where every job of a file runs."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table

_MOST_ROWS = 40


@click.command("plan", epilog="Example: outweigh plan examples/plan/jobs.toml --out plan.html --out plan.json")
@click.argument("jobs", type=click.Path(path_type=Path))
@click.option(
    "--source", "sources", multiple=True, metavar="NAME[:ARG]", help="Ask this source first; may be repeated."
)
@click.option(
    "--file", "files", multiple=True, type=click.Path(path_type=Path), help="Your own carbon and prices (docs/grid.md)."
)
@click.option(
    "--out",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the plan: .json for `outweigh run`, .html to look at.",
)
@click.option(
    "--frontier/--no-frontier", default=None, help="Plan at other prices of carbon too; up to 300 jobs unasked."
)
@click.option("--gap", type=float, default=0.5, show_default=True, metavar="%", help="Stop this close to the bound.")
@click.option(
    "--learn", default=None, metavar="LEDGER", help="Correct run times and powers by the receipts of earlier runs."
)
@click.option(
    "--time-limit", type=float, default=None, metavar="SECONDS", help="Stop improving then, the frontier included."
)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), default=None, metavar="FOLDER",
    help="Keep what the sources said in this archive, so that the plan can be replayed.",
)  # fmt: skip
@json_option
def command(
    jobs: Path,
    sources: tuple[str, ...],
    files: tuple[Path, ...],
    out: tuple[Path, ...],
    frontier: bool | None,
    gap: float,
    learn: str | None,
    time_limit: float | None,
    into: Path | None,
    as_json: bool,
) -> None:
    """Plan when and where every job of JOBS (a TOML file, docs/planner.md) runs, with a proof of how good the plan is.

    Weighs cost + carbon x its price under the capacity that the jobs share.

    \b
    Other questions of this verb, each with a help of its own (outweigh plan --backtest --help):
      JOBS --backtest           what each policy would have saved over history
      --check PLAN              is a plan file sound, trusting nothing that made it
      --replay PLAN             make it again on what it saw
      --emit KIND PLAN          as task files of Airflow or SkyPilot
      PROJECT --energy QUANTITY share a month of serving over a project's sites
      --scenarios FILE          shares over sites for months, under declared risks
      --place                   rank and spread over the regions of three clouds
    """
    from outweigh.app.planning import COLUMNS, check_pages, plan_file, write_page

    check_pages(out)
    with progress("planning") as bar:
        done = plan_file(
            jobs, sources=sources, files=files, frontier=frontier, goal_gap=gap / 100, time_limit_s=time_limit,
            learn=learn, into=into, progress=bar,
        )  # fmt: skip
    for path in out:
        write_page(done.document, path)
    if as_json:
        echo_json([done.document])
    else:
        table(COLUMNS, done.rows[:_MOST_ROWS])
        if len(done.rows) > _MOST_ROWS:
            note(f"... and {len(done.rows) - _MOST_ROWS} more; --out plan.json or --json has all of them")
        for line in done.notes:
            note(line)
    for path in out:
        note(f"written: {path}")
