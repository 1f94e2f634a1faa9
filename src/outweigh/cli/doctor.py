"""`outweigh doctor`: what can be seen from here, how well, why not, and how to see better."""

from __future__ import annotations

import click

from outweigh.cli.shown import echo_json, json_option, table


@click.command("doctor", epilog="Example: outweigh doctor --json | jq 'select(.usable)'")
@json_option
def command(as_json: bool) -> None:
    """Probe every meter, task, lever, executor, store, exporter and data source.

    Shows what each sees and at which grade (A wall or rack meter, B device counter, C fitted model,
    D nameplate or default), why it cannot be used here, and what would help.
    """
    from outweigh.measure.doctor import probe_all

    found = probe_all()
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
            }
            for kind, probe in found
        )
        return
    rows = []
    for kind, probe in found:
        if probe.usable:
            state, say = "ready", probe.improve
        else:
            state, say = "not here", f"{probe.reason}. {probe.remedy}".strip(". ")
        rows.append((kind, probe.name, state, probe.grade.value if probe.grade else "-", probe.sees, say))
    table(("kind", "name", "state", "grade", "sees", "why not, or how to improve"), rows)
