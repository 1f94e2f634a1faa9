"""`outweigh doctor`: what can be seen from here, how well, why not, and how to see better."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from outweigh.cli.shown import echo_json, json_option, note, progress, table

_TABLE_FROM = 120  # columns; the sentences of a narrower table are a word or two wide


@click.command("doctor", epilog="Example: outweigh doctor --json | jq 'select(.usable)'")
@click.option(
    "--calibrate",
    "calibrating",
    is_flag=True,
    help="Fit this machine's power curve and the lag of a sensor: loads every thread, up and down, for two minutes.",
)
@click.option("--against", metavar="METER", default=None, help="With --calibrate: the reference; the best by default.")
@click.option("--seconds", type=float, default=None, help="With --calibrate: how long; 120, or what the meter needs.")
@click.option("--seed", type=int, default=1, show_default=True, help="With --calibrate: of the order of the steps.")
@click.option("--note", "remark", default="", help="With --calibrate: what to remember, such as the room's warmth.")
@click.option("--save/--no-save", default=True, help="With --calibrate: keep it for `cpu-model`, or only show it.")
@json_option
def command(
    calibrating: bool,
    against: str | None,
    seconds: float | None,
    seed: int,
    remark: str,
    save: bool,
    as_json: bool,
) -> None:
    """Probe every meter, task, lever, executor, store, exporter and data source.

    Shows what each sees and at which grade (A wall or rack meter, B device counter, C fitted model,
    D nameplate or default), why it cannot be used here, and what would help.

    With --calibrate, fits the power curve that `cpu-model` goes by against a meter of grade A or B
    (docs/calibration.md) and keeps it for this user, in OUTWEIGH_CALIBRATION or the configuration folder.
    """
    if calibrating:
        _calibrate(against, seconds, seed, remark, save, as_json)
        return
    if against is not None or seconds is not None or remark:
        raise click.UsageError("--against, --seconds and --note belong to --calibrate.")
    from outweigh.ledger.samples import samples_state
    from outweigh.measure.calibrate import calibration_facts, calibration_state
    from outweigh.measure.doctor import probe_all

    state, kept = calibration_state(datetime.now(UTC))
    found = (*probe_all(), ("samples", samples_state()), ("calibration", state))
    if as_json:
        echo_json(
            {
                "kind": kind,
                "name": probe.name,
                "usable": probe.usable,
                "sees": probe.sees,
                "grade": probe.grade.value if probe.grade else None,
                "reason": probe.reason,
                "remedy": probe.remedy,
                "improve": probe.improve,
                **(calibration_facts(kept) if kept is not None and kind == "calibration" else {}),
            }
            for kind, probe in found
        )
        return
    rows = []
    for kind, probe in found:
        if probe.usable:
            state_shown, say = "ready", probe.improve
        else:
            state_shown, say = "not here", f"{probe.reason}. {probe.remedy}".strip(". ")
        rows.append((kind, probe.name, state_shown, probe.grade.value if probe.grade else "-", probe.sees, say))
    table(("kind", "name", "state", "grade", "sees", "why not, or how to improve"), rows, entries_below=_TABLE_FROM)


def _calibrate(against: str | None, seconds: float | None, seed: int, remark: str, save: bool, as_json: bool) -> None:
    from outweigh.data.calibration import keep_calibration
    from outweigh.measure.calibrate import calibrate_this_machine, calibration_facts, calibration_lines

    with progress("calibrating") as told:
        found = calibrate_this_machine(against, seconds=seconds, seed=seed, note=remark, told=told)
    if as_json:
        echo_json([calibration_facts(found)])
    else:
        table(("calibration", ""), calibration_lines(found))
    if save:
        note(f"kept in {keep_calibration(found)}; cpu-model uses it from now on")
