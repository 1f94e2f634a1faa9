"""`outweigh plan JOBS --backtest`: what each policy would have saved over history."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table

_FILE = click.Path(path_type=Path)


@click.command(
    "plan",
    epilog="Example: outweigh plan examples/plan/jobs.toml --backtest --file history.csv --from 2025-01-01T00:00Z "
    "--to 2025-03-01T00:00Z",
)
@click.argument("jobs", type=_FILE)
@click.option("--backtest", is_flag=True, required=True, expose_value=False, help="Play the jobs over history.")
@click.option("--from", "since", default=None, metavar="TIME", help="Start of the history; a year before the jobs.")
@click.option("--to", "until", default=None, metavar="TIME", help="End of it; where the jobs begin.")
@click.option("--every", type=float, default=24.0, show_default=True, metavar="HOURS", help="Distance of repetitions.")
@click.option(
    "--forecast",
    default="persistence",
    show_default=True,
    metavar="NAME",
    help="What plans go by: persistence, own, archive[:FOLDER] or perfect.",
)
@click.option("--source", "sources", multiple=True, metavar="NAME[:ARG]", help="Where the past comes from.")
@click.option("--file", "files", multiple=True, type=_FILE, help="Your own carbon and prices (docs/grid.md).")
@click.option(
    "--out",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it: .json, or .html to look at.",
)
@json_option
def command(
    jobs: Path,
    since: str | None,
    until: str | None,
    every: float,
    forecast: str,
    sources: tuple[str, ...],
    files: tuple[Path, ...],
    out: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Play the jobs of JOBS over history, on what was known at each decision, policy by policy.

    Against starting at once: thresholds, the best constant rule, planning once, planning again and again, and the
    oracle that knows what comes. A saving inside the forecast's own error is called noise.
    """
    from outweigh.app.backtesting import COLUMNS, backtest_file
    from outweigh.app.planning import check_pages, write_page
    from outweigh.core.intervals import Interval

    check_pages(out)
    window = None
    if (since is None) != (until is None):
        raise click.UsageError("give both --from and --to, or neither")
    if since is not None and until is not None:
        window = Interval(_stamp("--from", since), _stamp("--to", until))
    with progress("back-test") as bar:
        done = backtest_file(
            jobs, window=window, every_h=every, forecast=forecast, sources=sources, files=files, progress=bar
        )
    for path in out:
        write_page(done.document, path, "backtest-html")
    if as_json:
        echo_json([done.document])
    else:
        table(COLUMNS, done.rows)
        for line in done.notes:
            note(line)
    for path in out:
        note(f"written: {path}")


def _stamp(option: str, text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        raise click.UsageError(f"{option} {text!r} is not an ISO 8601 time; write 2022-01-01T00:00Z") from err
    if stamp.tzinfo is None:
        raise click.UsageError(f"{option} {text!r} does not say how far it is from UTC; write 2022-01-01T00:00Z")
    return stamp
