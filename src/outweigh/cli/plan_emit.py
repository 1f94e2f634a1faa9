"""`outweigh plan --emit KIND PLAN`: a plan as the task files of another scheduler."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note


@click.command("plan", epilog="Example: outweigh plan --emit airflow plan.json --out dags/night.py")
@click.option("--emit", "kind", required=True, type=click.Choice(["airflow", "skypilot"]), help="For which scheduler.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The DAG file (airflow), the folder (skypilot)."
)
@json_option
def command(kind: str, plan: Path, out: Path, as_json: bool) -> None:
    """Write PLAN (of `outweigh plan --out plan.json`) as files that Airflow or SkyPilot start its jobs by.

    They say when and where each job starts; nothing plans again or keeps a deadline, as `outweigh run` does. A job
    that pauses is refused. The files were checked by their published form and not run on either scheduler.
    """
    from outweigh.app.emitting import emit

    jobs = emit(plan, kind, out)
    if as_json:
        echo_json([{"kind": kind, "jobs": jobs, "written": str(out)}])
    note(f"written: {out}, {jobs} job{'s' if jobs != 1 else ''}")
