"""`outweigh review`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, progress, project_argument, sitting_options


@click.command("review", epilog="Example: outweigh review examples/news-triage --out /tmp/report")
@project_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for report.html, report.md and review.json; the current one by default.",
)
@click.option(
    "--allow-device-settings",
    is_flag=True,
    help="Let levers such as power-cap change settings of a device while their variant runs; they are restored.",
)
@sitting_options
@json_option
def command(
    project: Path,
    out: Path,
    allow_device_settings: bool,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Measure, compare, weigh and plan PROJECT (an energy.toml or its folder), and write one report.

    Ends with the verdict's exit code: 0 pass or waived, 1 fail, 5 inconclusive.
    """
    from outweigh.app.review import review
    from outweigh.app.summary import review_lines

    with progress("review") as tell:
        done = review(
            project,
            out=out,
            ledger=ledger,
            meter=meter,
            rounds=rounds,
            progress=tell,
            allow_device_settings=allow_device_settings,
        )
    if as_json:
        echo_json([done.document])
    else:
        click.echo("\n".join(review_lines(done)))
    return done.judged.exit_code
