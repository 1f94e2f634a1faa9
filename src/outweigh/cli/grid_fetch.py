"""`outweigh grid fetch`: fill the local archive."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table

_TOLD = 5  # failures of a zone that are told in full


@click.command("fetch", epilog="Example: outweigh grid fetch GB --source neso --from 2026-01-01 --to 2026-02-01")
@click.argument("zones", nargs=-1, metavar="ZONE...")
@click.option("--source", default="", metavar="NAME[:ARG]", help="Where from: a live source, or file:PATH.")
@click.option("--from", "start", default="", metavar="TIME", help="2026-01-01 or 2026-01-01T00:00Z; a week ago.")
@click.option("--to", "end", default="", metavar="TIME", help="Its end; now by default, for prices tomorrow's.")
@click.option("--price", is_flag=True, help="Prices instead of carbon.")
@click.option(
    "--forecast", is_flag=True, help="The forecast that is out now; each one is kept beside the earlier ones."
)
@click.option(
    "--into", type=click.Path(path_type=Path), default=None,
    help="Folder of the archive; OUTWEIGH_GRID_DIR, or the user's own by default.",
)  # fmt: skip
@click.option("--known-since", default="", metavar="TIME", help="When an old download was made; a file's own time.")
@click.option("--again", is_flag=True, help="Ask for all of it, not only for what is missing or may be revised.")
@click.option(
    "--settled-after", type=float, default=72.0, show_default=True, metavar="HOURS",
    help="A figure retrieved so long after its time is not asked for again.",
)  # fmt: skip
@click.option("--patience", type=float, default=120.0, show_default=True, metavar="SECONDS",
              help="Wait so long in all for a source that asks for a pause.")  # fmt: skip
@click.option("--compact", "as_compact", is_flag=True, help="Instead: merge the archive's small files, loss-free.")
@json_option
def fetch(
    zones: tuple[str, ...],
    source: str,
    start: str,
    end: str,
    price: bool,
    forecast: bool,
    into: Path | None,
    known_since: str,
    again: bool,
    settled_after: float,
    patience: float,
    as_compact: bool,
    as_json: bool,
) -> int:
    """Bring figures of ZONEs into the local archive, where nothing is ever overwritten.

    Goes on where it stopped. What came before an outage or Ctrl-C is kept; ends with 4 when something is missing.
    """
    from outweigh.app.grid_fetch import compact, fetch
    from outweigh.core.errors import UsageError
    from outweigh.ports import Offer

    if as_compact:
        with progress("merging") as tell:
            merged = compact(into, tell)
        if as_json:
            echo_json([merged])
        else:
            click.echo(f"{merged['into']}: {merged['files_before']} files are now {merged['files_after']}")
        return 0
    if not zones or not source:
        raise UsageError("fetch needs a zone and a source", "Write outweigh grid fetch GB --source neso")
    if price and forecast:
        raise UsageError("a forecast of prices is not fetched", "Give one of --price and --forecast")
    what = Offer.PRICES if price else Offer.FORECAST if forecast else Offer.CARBON
    with progress("fetching") as tell:
        done = fetch(
            zones, source, start=start, end=end, what=what, into=into, known_since=known_since, again=again,
            settled_after_h=settled_after, patience_s=patience, progress=tell,
        )  # fmt: skip
    if as_json:
        echo_json(done.rows())
    else:
        table(
            ("zone", "was there", "came", "of it gaps", "left out", "requests"),
            (
                (one.zone, *(f"{s / 3600:.4g} h" for s in (one.there_s, one.came_s, one.gap_s, one.left_s)),
                 str(one.requests))
                for one in done.zones
            ),
            cells_below=60,
        )  # fmt: skip
    for one in done.zones:
        for part, reason in one.failures[:_TOLD]:
            note(f"{one.zone} {part.start:%Y-%m-%d} to {part.end:%Y-%m-%d}: {reason}")
        if len(one.failures) > _TOLD:
            note(f"{one.zone}: {len(one.failures) - _TOLD} more parts did not come (--json lists them)")
        if one.there_gap_s > 0:
            note(
                f"{one.zone}: of what was there {one.there_gap_s / 3600:.4g} h are gaps that {done.source} "
                "was asked for often enough; --again asks once more"
            )
        if done.stopped is None and one.out_of_reach_s > 0:
            note(f"{one.zone}: {done.source} does not reach back to the first {one.out_of_reach_s / 3600:.4g} h")
        elif done.stopped is None and one.failure is None and one.has_nothing:
            note(f"{one.zone}: {done.source} has nothing of that time")
    note(f"archive: {done.into}")
    if done.stopped is not None:
        raise done.stopped
    return done.exit_code
