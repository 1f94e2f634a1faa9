"""`outweigh shrink`: cheaper ways, measured."""

from __future__ import annotations

from pathlib import Path

import click

from outweigh.cli.shown import (
    echo_json,
    json_option,
    note,
    progress,
    project_option,
    sitting_options,
    table,
)

_SEARCH_ONLY = ("levers_list", "trials", "seconds", "energy", "at_least", "margin", "held_out", "seed", "place")


@click.command(
    "shrink",
    epilog="Examples: outweigh shrink l3 --project examples/news-triage --rounds 4 · "
    "outweigh shrink l3 --search --levers quantize:int8-dynamic,threads:2 --trials 10 --project examples/news-triage",
)
@click.argument("variant")
@click.option("--lever", "levers", multiple=True, help="Lever to try; repeatable. Every usable one by default.")
@click.option("--search", "searches", is_flag=True, help="Search combinations of levers, which do not compose.")
@click.option(
    "--levers",
    "levers_list",
    default=None,
    metavar="A,B,C",
    help="With --search: the levers to combine. Every usable one by default.",
)
@click.option("--trials", type=int, default=None, help="With --search: combinations to look at, 20 by default.")
@click.option("--seconds", type=float, default=None, help="With --search: stop trying after so many seconds.")
@click.option(
    "--energy", default=None, metavar="ENERGY", help='With --search: stop trying after so much energy, as in "50 kJ".'
)
@click.option(
    "--at-least",
    type=float,
    default=None,
    help="With --search: value of the primary metric to reach, instead of the variant's own less a margin.",
)
@click.option(
    "--margin",
    type=float,
    default=None,
    help="With --search: loss of the primary metric that is tolerated; the project's margin by default.",
)
@click.option(
    "--held-out",
    type=float,
    default=None,
    help="With --search: share of the items that only the verdict sees, 0.5 by default.",
)
@click.option("--seed", type=int, default=None, help="With --search: of split, order and proposals.")
@click.option(
    "--on",
    "place",
    type=click.Choice(["here", "ray"]),
    default=None,
    help="With --search: measure in this process, or on Ray's workers, one at a time on each machine.",
)
@project_option
@sitting_options
@json_option
def command(
    variant: str,
    levers: tuple[str, ...],
    searches: bool,
    levers_list: str | None,
    trials: int | None,
    seconds: float | None,
    energy: str | None,
    at_least: float | None,
    margin: float | None,
    held_out: float | None,
    seed: int | None,
    place: str | None,
    project: Path,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    """Make cheaper variants of VARIANT with real levers, and measure them against it.

    Each lever is charged with the energy it took to apply; "pays off after" is the number of units whose saving
    gives that back. A lever that saves nothing here says so.

    With --search, combinations of levers are tried: few items at first, more for those on the front, and the verdict
    on items that the search never saw. A search that was stopped goes on when it is asked for again; nothing is
    measured twice. Ends with 0 when a combination is shown to save energy and keep the quality, else with 5.
    """  # fmt: skip
    given = click.get_current_context().params
    if not searches:
        stray = [name for name in _SEARCH_ONLY if given[name] is not None]
        if stray:
            option = {"levers_list": "levers", "place": "on"}.get(stray[0], stray[0]).replace("_", "-")
            raise click.UsageError(f"--{option} goes with --search.")
        return _tried(variant, levers, project, ledger, meter, rounds, as_json)
    if rounds is not None:
        raise click.UsageError("--rounds goes without --search, which has rounds of its own.")
    from outweigh.app.searching import COLUMNS, Asked, resume_words, search
    from outweigh.core.units import parse_energy
    from outweigh.shrink.searching import Limits

    names = tuple(name.strip() for name in (levers_list or "").split(",") if name.strip())
    defaults = Asked()
    asked = Asked(
        levers=(*levers, *names),
        limits=Limits(
            trials=defaults.limits.trials if trials is None else trials,
            seconds=seconds,
            energy_j=None if energy is None else parse_energy(energy).joules,
        ),
        at_least=at_least,
        margin=margin,
        held_out=defaults.held_out if held_out is None else held_out,
        seed=seed,
        place=place or defaults.place,
    )
    try:
        with progress("search") as tell:
            done = search(project, variant, asked, ledger=ledger, meter=meter, progress=tell)
    except KeyboardInterrupt:
        note(resume_words())
        raise
    if as_json:
        echo_json(done.objects)
    else:
        table(COLUMNS, done.rows)
        click.echo(done.headline)
    for line in done.notes:
        note(line)
    return done.outcome.exit_code


def _tried(
    variant: str,
    levers: tuple[str, ...],
    project: Path,
    ledger: str | None,
    meter: str | None,
    rounds: int | None,
    as_json: bool,
) -> int:
    from outweigh.app.comparing import COLUMNS, compared_rows, shrink

    with progress("shrink") as tell:
        done = shrink(project, variant, levers, ledger=ledger, meter=meter, rounds=rounds, progress=tell)
    if as_json:
        echo_json(done.rows)
        return 0
    table(COLUMNS, compared_rows(done))
    for line in done.notes:
        note(line)
    return 0
