"""`outweigh grid regret`: what deciding on forecasts cost, against what then was."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.grid_question import question_option
from outweigh.cli.shown import echo_json, json_option, note, progress


@click.command(
    "regret", epilog="Example: outweigh grid regret GB --from 2026-01-01 --to 2026-07-01 --job 4 --window 24"
)
@click.argument("zone")
@click.option("--from", "start", required=True, metavar="TIME", help="First decision: 2026-01-01 or 2026-01-01T06:00Z.")
@click.option("--to", "end", required=True, metavar="TIME", help="No decision from then on.")
@click.option("--job", "job_h", type=float, default=4.0, show_default=True, help="How long the job runs [h].")
@click.option("--window", "window_h", type=float, default=24.0, show_default=True, help="In how long it must [h].")
@click.option("--every", "every_h", type=float, default=24.0, show_default=True, help="Decide so often [h].")
@click.option("--pausable", is_flag=True, help="The job may run in pieces.")
@click.option("--price", is_flag=True, help="Of prices instead of carbon.")
@click.option(
    "--archive", type=click.Path(path_type=Path), default=None, help="Folder of the archive; your own by default."
)
@question_option
@json_option
def regret(
    zone: str,
    start: str,
    end: str,
    job_h: float,
    window_h: float,
    every_h: float,
    pausable: bool,
    price: bool,
    archive: Path | None,
    question: str,
    as_json: bool,
) -> None:
    """What it cost in ZONE to decide on the forecast that was known, rather than on what then was.

    Every decision sees the archive as of its own moment; regret is what was chosen less the best there was.
    """
    from outweigh.app.grid_regret import regrets

    with progress("deciding") as tell:
        done = regrets(
            zone, start=start, end=end, job_h=job_h, window_h=window_h, every_h=every_h, pausable=pausable, price=price,
            archive=archive, question=question, progress=tell,
        )  # fmt: skip
    body = done.document()
    if as_json:
        echo_json([body])
        return
    unit = body["unit"]
    click.echo(f"{zone}  regret {body['regret_mean']:.3g} {unit}  {done.meaning}, {body['decisions']} decisions")
    click.echo(f"    at once  {body['now_mean']:.4g} {unit}")
    click.echo(f"    chosen   {body['chosen_mean']:.4g} {unit} (the forecasts promised {body['promised_mean']:.4g})")
    click.echo(f"    best     {body['best_mean']:.4g} {unit}")
    if body["saved_share"] is not None:
        click.echo(f"    saved    {100 * body['saved_share']:.0f} % of what perfect foresight saves")
    if done.passed_over:
        note(f"{done.passed_over} decisions passed over: no whole forecast was known, or not what then was")
