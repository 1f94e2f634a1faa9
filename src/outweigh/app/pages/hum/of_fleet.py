"""The hum as a fleet's samples know it: minute by minute, run or no run."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import LONGEST, Asked, FieldRefused
from outweigh.app.pages.hum.month import Rates, fleet_rates, month_figures, with_money
from outweigh.app.pages.hum.owners import OWNERS, few_owners
from outweigh.app.pages.shape import Column, figure, keyed, table
from outweigh.core.constants import S_PER_DAY
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Bounds, Interval

if TYPE_CHECKING:
    from outweigh.app.serving import Served
    from outweigh.ledger.fleet import Fleet, HumByOwner, Known, PowerOverTime

DAYS = 30
_NOBODY = "nobody"
_MOST_NODES = 10
_POINTS = 400


def of_fleet(served: Served, fleet: Fleet, asked: Asked, window: Interval) -> dict[str, Any]:
    """What the page shows of a fleet's samples. Raises FieldRefused for a site, an owner or a time it has not."""
    state = fleet.state()
    if asked.since is None and asked.until is None:
        # Samples may be of last month: the last days there are.
        end = state.known.window.end
        window = Interval(max(state.known.window.start, end - timedelta(days=DAYS)), end)
    else:
        window = _where_samples_are(window, state.known.window)
    site = asked.choice("site", state.sites)
    owner = asked.choice("owner", tuple(_named(one) for one in state.owners)) or None
    held = None if owner is None else "" if owner == _NOBODY else owner
    try:
        by_owner = fleet.hum_by_owner(window, site=site)
        power = fleet.power(window, owner=held, site=site, points=_POINTS)
        by_day = fleet.used_by_day(window, site=site)
        nodes = fleet.top_nodes(window, by="hum", limit=_MOST_NODES, owner=held, site=site)
    except UsageError as err:
        raise FieldRefused(err.problem, "since", err.remedy) from err
    known = by_owner.known
    read = known.coverage.share
    # Nodes that were not read drew something all the same: a mean is of the time that was read.
    read_s = known.window.seconds * (read or 0.0)
    rates = fleet_rates(served, site, state.sites)
    at = [i for i, one in enumerate(by_owner.owners) if held is None or one == held]
    split = by_owner.split
    hum_j, low_j, high_j, drawn_j, unsplit_j = (
        float(sum(getattr(split, name)[i] for i in at))
        for name in ("hum_j", "hum_low_j", "hum_high_j", "energy_j", "unsplit_j")
    )
    ends = known.bounds_of_hum(low_j, high_j)
    mean_w = _over(read_s, hum_j, ends) if read_s > 0 else None
    how = _how(known)
    none = "nothing was read in this time"
    return {
        "synthetic": "This fleet was made up by a program; no figure here was measured." if known.synthetic else None,
        "figures": [
            figure("power", "mean hum", *mean_w, note=_of_what(read), **how) if mean_w
            else figure("power", "mean hum", None, why=none),
            figure("energy", "hum in this time", hum_j, ends.low, ends.high, note=_of_what(read), **how) if mean_w
            else figure("energy", "hum in this time", None, why=none),
            figure("share", "hum of all that was drawn", hum_j / drawn_j, note=_unsplit(unsplit_j, drawn_j))
            if drawn_j > 0 else figure("share", "hum of all that was drawn", None, why="nothing was read"),
            *month_figures(rates, mean_w[0] if mean_w else None, mean_w[1:] if mean_w else None,
                           {"grade": known.grade.value}, none),
            figure("share", "read, of all minutes of nodes", read, note="what is missing is in no figure")
            if read is not None else figure("share", "read", None, why="nothing was to be expected"),
        ],
        "owners": [_named(one) for one in state.owners],
        "why_no_money": rates.why,
        "sites": list(state.sites),
        "latest": state.known.window.end.isoformat(),
        "since": known.window.start.isoformat(),
        "until": known.window.end.isoformat(),
        "nodes": state.nodes,
        "gpus": state.gpus,
        "charts": {
            "power": {
                "step_s": power.step_s,
                "t_s": power.t_s.tolist(),
                **{name: _numbers(getattr(power, name)) for name in ("min_w", "mean_w", "max_w", "hum_w")},
            },
            "trend": {
                "step_s": S_PER_DAY,
                **few_owners(
                    [
                        {"start": day, "end": day, "owner": _named(one), "hum_j": float(by_day.split.hum_j[i, j]),
                         "work_j": float(by_day.split.work_j[i, j])}
                        for i, day in enumerate(by_day.periods)
                        for j, one in enumerate(by_day.owners)
                        if held is None or one == held
                    ]
                ),
            },
        },
        "tables": {
            "owners": table("Hum by owner, the largest first", with_money(FLEET_OWNERS, rates),
                            [_fleet_row(by_owner, i, read_s, rates, asked) for i in at]),
            # Its figures are in `charts` already: as a table they are only made for whoever takes it.
            **({"power": _power_table(power)} if asked.text("table") == "power" else {}),
            "nodes": table(
                f"The {len(nodes.nodes)} nodes with most hum, of {nodes.total_nodes}",
                NODES,
                [
                    {
                        "node": node, "site": nodes.sites[i], "owner": _named(nodes.owners[i]),
                        **keyed("hum", "energy", float(nodes.split.hum_j[i]), float(nodes.split.hum_low_j[i]),
                                float(nodes.split.hum_high_j[i])),
                        **_known_or("idle", nodes.idle_w[i], "it has not idled yet"),
                        **keyed("idle_time", "share", float(nodes.idle_minutes[i] / max(1, nodes.minutes[i]))),
                        **keyed("gpus", "number", float(nodes.gpus[i])),
                    }
                    for i, node in enumerate(nodes.nodes)
                ],
            ),
        },
    }  # fmt: skip


FLEET_OWNERS = (
    *OWNERS[:-1],
    Column("idle_time", "time idle", "share"),
)
NODES = (
    Column("node", "node"),
    Column("site", "site"),
    Column("owner", "mostly held by"),
    Column("hum", "hum", "energy"),
    Column("idle", "idle draw", "power"),
    Column("idle_time", "time idle", "share"),
    Column("gpus", "GPUs", "number"),
)


def _where_samples_are(asked: Interval, there: Interval) -> Interval:
    """The part of a window that there are samples of; the window itself where there are none."""
    start, end = max(asked.start, there.start), min(asked.end, there.end)
    return Interval(start, end) if start < end else asked


def _over(read_s: float, hum_j: float, ends: Bounds) -> tuple[float, float, float]:
    """A mean power and its interval [W]."""
    return hum_j / read_s, ends.low / read_s, ends.high / read_s


def _of_what(read: float | None) -> str:
    return "all of it was read" if read is None or read > 0.9995 else f"of the {read:.1%} of it that was read"


def _fleet_row(by_owner: HumByOwner, i: int, read_s: float, rates: Rates, asked: Asked) -> dict[str, Any]:
    split, owner = by_owner.split, _named(by_owner.owners[i])
    hum_j, energy_j = float(split.hum_j[i]), float(split.energy_j[i])
    ends = by_owner.known.bounds_of_hum(float(split.hum_low_j[i]), float(split.hum_high_j[i]))
    all_j = float(split.hum_j.sum())
    idle = hum_j / energy_j if energy_j else None
    return {
        "owner": owner,
        "href": f"/{asked.query(owner=owner)}" if len(owner) <= LONGEST else None,
        **keyed("hum", "energy", hum_j, ends.low, ends.high),
        **keyed("power", "power", *_over(read_s, hum_j, ends)),
        **keyed("share", "share", hum_j / all_j if all_j else None, why="" if all_j else "there is no hum"),
        **keyed("work", "energy", float(split.work_j[i])),
        **keyed("idle_share", "share", idle, why="it drew nothing" if idle is None else ""),
        **rates.cost(hum_j / read_s),
        **keyed("idle_time", "share", float(by_owner.idle_node_minutes[i]) / max(1.0, float(by_owner.node_minutes[i]))),
        "grade": by_owner.known.grade.value,
    }


def _power_table(power: PowerOverTime) -> dict[str, Any]:
    columns = (
        Column("start", "from", "time"),
        Column("least", "least", "power"),
        Column("mean", "mean", "power"),
        Column("most", "most", "power"),
        Column("hum", "of it hum", "power"),
    )

    def row(i: int, t_s: int) -> dict[str, Any]:
        pairs = (("least", power.min_w), ("mean", power.mean_w), ("most", power.max_w), ("hum", power.hum_w))
        found: dict[str, Any] = {"start": f"{datetime.fromtimestamp(t_s, UTC):%Y-%m-%dT%H:%MZ}"}
        for name, column in pairs:
            found |= _known_or(name, column[i], "nothing was read")
        return found

    return table("Power over time", columns, [row(i, t_s) for i, t_s in enumerate(power.t_s.tolist())])


def _how(known: Known) -> dict[str, Any]:
    return {
        "grade": known.grade.value,
        "method": ", ".join(one.value for one in known.methods),
        "source": f"{'; '.join(known.sources)}; scope {known.scope}",
    }


def _unsplit(unsplit_j: float, drawn_j: float) -> str:
    share = unsplit_j / drawn_j
    return f"{share:.1%} is of nodes that have not idled yet" if share >= 5e-4 else "work is the rest"


def _named(owner: str) -> str:
    return owner or _NOBODY


def _known_or(name: str, power_w: float, why: str) -> dict[str, Any]:
    known = math.isfinite(power_w)
    return keyed(name, "power", float(power_w) if known else None, why="" if known else why)


def _numbers(values: Any) -> list[float | None]:
    return [round(float(one), 1) if math.isfinite(one) else None for one in values]
