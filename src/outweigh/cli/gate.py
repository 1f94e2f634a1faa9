"""`outweigh gate`: the weighing alone."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, progress, project_argument, sitting_options


@click.command("gate", epilog="Example: outweigh gate examples/news-triage --explain")
@project_argument
@click.option(
    "--from",
    "review_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Show the verdict of a finished review.json instead of measuring.",
)
@click.option("--explain", is_flag=True, help="Every test with its statistic, interval, threshold and distance.")
@sitting_options
@json_option
def command(
    project: Path,
    review_file: Path | None,
    explain: bool,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Measure PROJECT's incumbent, proposal and alternatives, and weigh the proposal.

    Ends with the verdict's exit code: 0 pass, 1 fail, 5 inconclusive.
    """
    from outweigh.app.files import read_review
    from outweigh.app.review import review
    from outweigh.app.summary import exit_code_of, gate_lines

    if review_file is not None:
        document = read_review(review_file)
    else:
        with progress("gate") as tell:
            document = dict(review(project, ledger=ledger, meter=meter, rounds=rounds, progress=tell).document)
    if as_json:
        echo_json([{"project": document["project"], "evidence": document["evidence"], "verdict": document["verdict"]}])
    else:
        click.echo("\n".join(gate_lines(document, explain=explain)))
    return exit_code_of(document)
