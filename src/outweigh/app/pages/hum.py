"""Hum: what do we burn doing nothing, and whose is it? From a fleet's samples, or from receipts."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import LONGEST, Asked, FieldRefused
from outweigh.app.pages.runs import in_flight_receipts
from outweigh.app.pages.shape import Column, figure, keyed, table
from outweigh.app.weighing import sites_of
from outweigh.core.budget import Phase
from outweigh.core.constants import S_PER_DAY, S_PER_MONTH
from outweigh.core.errors import ConfigError, FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, half_width_95
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure.hum import OWNER, HumRow, hum_view
from outweigh.ports import ReceiptFilter, Store

if TYPE_CHECKING:
    from outweigh.app.serving import Served
    from outweigh.core.site import Site
    from outweigh.ledger.fleet import Fleet, HumByOwner, Known

TAKES = ("since", "until", "owner", "site", "of")
_DAYS = 30
_NOBODY = "nobody"
_PARTS = ("allocated", "unallocated", "host", "cooling")
_MOST_OWNERS = 7  # drawn apart; the table has them all
_MOST_NODES = 10
_POINTS = 400
_RUNNING_S, _QUIET_S = 5, 60

OWNERS = (
    Column("owner", "owner", href="href"),
    Column("hum", "hum", "energy"),
    Column("power", "mean hum", "power"),
    Column("share", "of all hum", "share"),
    Column("work", "work", "energy"),
    Column("idle_share", "hum of what it drew", "share"),
    Column("month", "a month of this hum", "money"),
    Column("grade", "grade", "grade"),
    Column("action", "what to do"),
)


def hum(served: Served, asked: Asked) -> dict[str, Any]:
    """Hum by owner over a window, its course, and what a month of it costs. Raises FieldRefused, LedgerError."""
    window = asked.window(served.now(), _DAYS)
    options = ("fleet", "receipts") if served.fleet is not None else ("receipts",)
    of = asked.choice("of", options, options[0])
    if of == "fleet" and served.fleet is not None:
        found = _of_fleet(served, served.fleet, asked, window)
    else:
        if asked.text("site"):
            raise FieldRefused("receipts are of no site", "site", "Leave it out")
        given = tuple(sorted(asked.given.items()))
        found = _answered(_Question(served.ledger, served.texts.head(), window, given, served, asked))
    if asked.text("table") == "trend":
        found = {**found, "tables": {**found["tables"], "trend": _trend_table(found["charts"]["trend"]["rows"])}}
    running = len(in_flight_receipts(served))
    return {
        "schema": "outweigh.page.hum/1",
        "live": {"every_s": _RUNNING_S if running else _QUIET_S, "running": running},
        "of": of,
        "options": list(options),
        "since": window.start.isoformat(),
        "until": window.end.isoformat(),
        **found,
    }


def _trend_table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = (
        Column("start", "from", "time"),
        Column("owner", "owner"),
        Column("hum", "hum", "energy"),
        Column("work", "work", "energy"),
    )
    return table("Hum over time, by owner", columns, rows)


# --- what an hour of it costs -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rates:
    """What hum is turned into money and carbon with, or why it cannot be."""

    site: Site | None
    why: str

    def cost(self, power_w: float | None, why: str = "") -> dict[str, Any]:
        """A month of a power, as the keys of a row: of facility energy, the PUE being that of an idle site."""
        if power_w is None or self.site is None:
            return keyed("month", "money", None, why=why or self.why)
        money = Energy(power_w * S_PER_MONTH * self.site.pue.at(0.0)) * self.site.price
        return {**keyed("month", "money", money.amount), "month_currency": money.currency}


def _carbon_g(site: Site, power_w: float) -> float:
    """A month of a power as carbon, of facility energy."""
    return (Energy(power_w * S_PER_MONTH * site.pue.at(0.0)) * site.intensity).grams


def _home(served: Served) -> _Rates:
    if served.project is None:
        return _Rates(None, "no energy.toml here declares a site")
    try:
        sites = sites_of(served.project)
    except (FactorMissing, ConfigError) as err:
        return _Rates(None, str(err))
    return _Rates(sites[0], "") if sites else _Rates(None, "energy.toml declares no [site]")


def _with_money(columns: Sequence[Column], rates: _Rates) -> list[Column]:
    """Where no money is known, why stands once among the figures, and not in every row."""
    return [one for one in columns if one.key != "month" or rates.site is not None]


def _month(
    rates: _Rates, hum_w: float | None, ends_w: tuple[float, float] | None, how: dict[str, Any], why: str
) -> list[dict[str, Any]]:
    """Figures of a month of it: energy, money, carbon; their intervals are the power's."""
    if hum_w is None:
        return [figure("energy", "a month of it", None, why=why)]
    said = "if it draws so all month; projected"
    parts = [1.0, *(end / hum_w for end in ends_w)] if ends_w and hum_w else [1.0]
    shown = [figure("energy", "a month of it", *(hum_w * S_PER_MONTH * part for part in parts), note=said, **how)]
    site = rates.site
    if site is None:
        return [*shown, figure("money", "a month costs", None, why=rates.why)]
    cost = rates.cost(hum_w)
    factors = "; ".join(f"{one.name}: {one.source}, {one.issued}" for one in site.factors) or "as declared"
    at = f"at {site.name}, PUE {site.pue.at(0.0):g} (idle); projected"
    shown.append(
        figure(
            "money",
            "a month costs",
            *(cost["month"] * part for part in parts),
            value_currency=cost["month_currency"],
            note=at,
            source=factors,
        )
    )
    shown.append(
        figure(
            "carbon", f"a month emits ({site.intensity.basis}, {site.intensity.scope})",
            *(_carbon_g(site, hum_w * part) for part in parts), note=at, source=factors,
        )
    )  # fmt: skip
    return shown


# --- from receipts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Question:
    """What was asked of which state of the ledger: the same question has the same answer, and is worked out once."""

    ledger: Store
    head: tuple[int, str]
    window: Interval
    given: tuple[tuple[str, str], ...]
    served: Served = field(compare=False)
    asked: Asked = field(compare=False)


@lru_cache(maxsize=16)
def _answered(question: _Question) -> dict[str, Any]:
    return _of_receipts(question.served, question.asked, question.window)


def _of_receipts(served: Served, asked: Asked, window: Interval) -> dict[str, Any]:
    receipts = [one for _, one in served.ledger.receipts(ReceiptFilter(within=window))]
    wanted = asked.text("owner")
    owners = sorted({_owner(one) for one in receipts})
    if wanted:
        receipts = [one for one in receipts if _owner(one) == wanted]
    rows = hum_view(receipts, window)
    known = _known(receipts, window)
    rates = _home(served)
    hum_j = math.fsum(row.hum.joules for row in rows)
    work_j = math.fsum(row.work.joules for row in rows)
    seconds = sum(one.seconds for one in known.values())
    half_j = math.fsum(one.half_j for one in known.values())
    grades = [one.grade for one in known.values() if one.grade is not None]
    grade = Grade.worst(grades) if grades else None
    how: dict[str, Any] = {"grade": grade.value} if grade else {}
    how |= {"method": ", ".join(sorted({m for one in known.values() for m in one.methods}))}
    how |= {"source": "; ".join(sorted({s for one in known.values() for s in one.sources}))}
    hum_w = hum_j / seconds if seconds else None
    ends_w = (hum_w - half_j / seconds, hum_w + half_j / seconds) if hum_w is not None else None
    none = "no receipt of this time knows its hum"
    return {
        "synthetic": "Some of these receipts were replayed from recorded or made traces."
        if any(one.total.method.value == "replayed" for one in receipts) else None,
        "figures": [
            figure("power", "mean hum under a measured run", hum_w,
                   *(ends_w or ()), why=none,
                   **(how if hum_w is not None else {})),
            figure("energy", "hum under these runs", hum_j, hum_j - half_j, hum_j + half_j, **how) if seconds
            else figure("energy", "hum under these runs", None, why=none),
            figure("share", "hum of all that was drawn", hum_j / (hum_j + work_j), note="of the runs that know theirs")
            if hum_j + work_j > 0 else figure("share", "hum of all that was drawn", None, why=none),
            *_month(rates, hum_w, ends_w, {"grade": how["grade"]} if grade else {}, none),
        ],
        "owners": owners,
        "why_no_money": rates.why,
        "sites": [],
        "latest": _latest_receipt(served),
        "charts": {"trend": _trend_of_receipts(receipts, window)},
        "tables": {
            "owners": table(
                "Hum by owner, the largest first", _with_money(OWNERS, rates),
                [_owner_row(row, known, rates, asked) for row in rows],
                empty="no receipt lies in this time.",
            ),
            "parts": _parts(rows),
        },
    }  # fmt: skip


def _owner(receipt: Receipt) -> str:
    return dict(receipt.labels).get(OWNER) or receipt.project


@dataclass(slots=True)
class _Kept:
    """How the hum of an owner is known. Meters err alike from run to run: half-widths [J] add up in full."""

    seconds: float = 0.0
    half_j: float = 0.0
    grade: Grade | None = None
    methods: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


def _known(receipts: Iterable[Receipt], window: Interval) -> dict[str, _Kept]:
    found: dict[str, _Kept] = {}
    for receipt in receipts:
        hum_of = receipt.total if receipt.phase is Phase.IDLE else receipt.hum
        length = receipt.interval.seconds
        if receipt.status is RunStatus.UNUSABLE or hum_of is None or length <= 0:
            continue
        inside = receipt.interval.overlap_s(window)
        if inside <= 0:
            continue
        kept = found.setdefault(_owner(receipt), _Kept())
        kept.seconds += inside
        kept.half_j += inside / length * half_width_95(hum_of.components)
        kept.grade = hum_of.grade if kept.grade is None else Grade.worst((kept.grade, hum_of.grade))
        kept.methods.add(hum_of.method.value)
        kept.sources.add(hum_of.source)
    return found


def _owner_row(row: HumRow, known: dict[str, _Kept], rates: _Rates, asked: Asked) -> dict[str, Any]:
    kept = known.get(row.owner)
    why = "no receipt of theirs knows its hum"
    power_w = row.hum.joules / kept.seconds if kept else None
    drawn_j = row.hum.joules + row.work.joules
    hum_j = row.hum.joules if kept else None
    ends = (row.hum.joules - kept.half_j, row.hum.joules + kept.half_j) if kept else (None, None)
    low_w, high_w = (None if kept is None or end is None else end / kept.seconds for end in ends)
    idle = row.hum.joules / drawn_j if drawn_j > 0 else None
    return {
        "owner": row.owner,
        "href": f"/{asked.query(owner=row.owner)}" if len(row.owner) <= LONGEST else None,
        **keyed("hum", "energy", hum_j, ends[0], ends[1], why="" if kept else why),
        **keyed("power", "power", power_w, low_w, high_w, why="" if kept else why),
        **keyed("share", "share", row.share if kept else None, why="" if kept else why),
        **keyed("work", "energy", row.work.joules if kept else None, why="" if kept else why),
        **keyed("idle_share", "share", idle, why=why if idle is None else ""),
        **rates.cost(power_w, why if power_w is None else ""),
        "grade": kept.grade.value if kept and kept.grade else None,
        "runs": row.runs,
        "runs_without_hum": row.unknown,
        "action": row.action,
    }  # fmt: skip


def _parts(rows: Sequence[HumRow]) -> dict[str, Any]:
    columns = (
        Column("owner", "owner"),
        Column("allocated", "of what it had", "energy"),
        Column("unallocated", "beside it, unused", "energy"),
        Column("host", "rest of the machine", "energy"),
        Column("cooling", "cooling, on top", "energy"),
    )
    rows_of = [
        {
            "owner": row.owner,
            **{
                key: value
                for part in _PARTS
                for energy in [getattr(row.split, part)]
                for key, value in keyed(
                    part, "energy", None if energy is None else energy.joules,
                    why="" if energy is not None else "no meter tells",
                ).items()
            },
        }
        for row in rows
        if any(getattr(row.split, part) is not None for part in _PARTS)
    ]  # fmt: skip
    return table("What the hum is made of, of owners of whom that is known", columns, rows_of, empty="no receipt says.")


def _latest_receipt(served: Served) -> str | None:
    found = list(served.texts.texts(ReceiptFilter(), limit=1, newest=True))
    return served.ledger.get(found[0].address).interval.end.isoformat() if found else None


def _trend_of_receipts(receipts: Sequence[Receipt], window: Interval) -> dict[str, Any]:
    """Hum and work by bucket and owner: hours of a short window, else days, else weeks."""
    step_s = next((step for step in (3600.0, S_PER_DAY, 7 * S_PER_DAY) if window.seconds <= 62 * step), 30 * S_PER_DAY)
    first = window.start.replace(minute=0, second=0, microsecond=0)
    if step_s >= S_PER_DAY:
        first = first.replace(hour=0)
    edges: list[datetime] = [first]
    while edges[-1] < window.end:
        edges.append(edges[-1] + timedelta(seconds=step_s))
    inside: list[list[Receipt]] = [[] for _ in edges[:-1]]
    for one in receipts:
        low = max(0, bisect_right(edges, one.interval.start) - 1)
        high = bisect_right(edges, one.interval.end)
        for at in range(low, min(high, len(inside))):
            inside[at].append(one)
    rows = [
        {"start": start.isoformat(), "end": end.isoformat(), "owner": row.owner, "hum_j": row.hum.joules,
         "work_j": row.work.joules}
        for start, end, some in zip(edges, edges[1:], inside, strict=False)
        if some
        for row in hum_view(some, Interval(max(start, window.start), min(end, window.end)))
    ]  # fmt: skip
    return {"step_s": step_s, **_few(rows)}


def _few(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The owners with most hum by name, the others together, at the end."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["owner"]] = sums.get(row["owner"], 0.0) + row["hum_j"]
    named = sorted(sums, key=lambda owner: -sums[owner])[:_MOST_OWNERS]
    rest = f"{len(sums) - len(named)} others"
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        owner = row["owner"] if row["owner"] in named else rest
        one = found.setdefault((row["start"], owner), {**row, "owner": owner, "hum_j": 0.0, "work_j": 0.0})
        one["hum_j"] += row["hum_j"]
        one["work_j"] += row["work_j"]
    return {"rows": list(found.values()), "owners": [*named, *([rest] if len(sums) > len(named) else [])]}


# --- from a fleet's samples ---------------------------------------------------------------------------


def _of_fleet(served: Served, fleet: Fleet, asked: Asked, window: Interval) -> dict[str, Any]:
    state = fleet.state()
    if asked.since is None and asked.until is None:
        # Samples may be of last month: the last days there are.
        end = state.known.window.end
        window = Interval(max(state.known.window.start, end - timedelta(days=_DAYS)), end)
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
    known, seconds = by_owner.known, max(by_owner.known.window.seconds, 1.0)
    rates = _fleet_rates(served, site, state.sites)
    at = [i for i, one in enumerate(by_owner.owners) if held is None or one == held]
    split = by_owner.split
    hum_j, low_j, high_j, drawn_j, unsplit_j = (
        float(sum(getattr(split, name)[i] for i in at))
        for name in ("hum_j", "hum_low_j", "hum_high_j", "energy_j", "unsplit_j")
    )
    ends = known.bounds_of_hum(low_j, high_j)
    ends_w = ends.low / seconds, ends.high / seconds
    how = _how(known)
    read = known.coverage.share
    return {
        "synthetic": "This fleet was made up by a program; no figure here was measured." if known.synthetic else None,
        "figures": [
            figure("power", "mean hum", hum_j / seconds, *ends_w, **how),
            figure("energy", "hum in this time", hum_j, ends.low, ends.high, **how),
            figure("share", "hum of all that was drawn", hum_j / drawn_j, note=_unsplit(unsplit_j, drawn_j))
            if drawn_j > 0 else figure("share", "hum of all that was drawn", None, why="nothing was read"),
            *_month(rates, hum_j / seconds, ends_w, {"grade": known.grade.value}, ""),
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
                **_few(
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
            "owners": table("Hum by owner, the largest first", _with_money(FLEET_OWNERS, rates),
                            [_fleet_row(by_owner, i, seconds, rates, asked) for i in at]),
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
                        **keyed("idle", "power", _number(nodes.idle_w[i]), why="it has not idled yet"),
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


def _fleet_row(by_owner: HumByOwner, i: int, seconds: float, rates: _Rates, asked: Asked) -> dict[str, Any]:
    split, owner = by_owner.split, _named(by_owner.owners[i])
    hum_j, energy_j = float(split.hum_j[i]), float(split.energy_j[i])
    ends = by_owner.known.bounds_of_hum(float(split.hum_low_j[i]), float(split.hum_high_j[i]))
    all_j = float(split.hum_j.sum())
    idle = hum_j / energy_j if energy_j else None
    return {
        "owner": owner,
        "href": f"/{asked.query(owner=owner)}" if len(owner) <= LONGEST else None,
        **keyed("hum", "energy", hum_j, ends.low, ends.high),
        **keyed("power", "power", hum_j / seconds, ends.low / seconds, ends.high / seconds),
        **keyed("share", "share", hum_j / all_j if all_j else None, why="" if all_j else "there is no hum"),
        **keyed("work", "energy", float(split.work_j[i])),
        **keyed("idle_share", "share", idle, why="it drew nothing" if idle is None else ""),
        **rates.cost(hum_j / seconds),
        **keyed("idle_time", "share", float(by_owner.idle_node_minutes[i]) / max(1.0, float(by_owner.node_minutes[i]))),
        "grade": by_owner.known.grade.value,
    }


def _power_table(power: Any) -> dict[str, Any]:
    columns = (
        Column("start", "from", "time"),
        Column("least", "least", "power"),
        Column("mean", "mean", "power"),
        Column("most", "most", "power"),
        Column("hum", "of it hum", "power"),
    )
    why = "nothing was read"

    def row(i: int, t_s: int) -> dict[str, Any]:
        pairs = (("least", power.min_w), ("mean", power.mean_w), ("most", power.max_w), ("hum", power.hum_w))
        found: dict[str, Any] = {"start": f"{datetime.fromtimestamp(t_s, UTC):%Y-%m-%dT%H:%MZ}"}
        for name, column in pairs:
            value = _number(column[i])
            found |= keyed(name, "power", value, why="" if value is not None else why)
        return found

    return table("Power over time", columns, [row(i, t_s) for i, t_s in enumerate(power.t_s.tolist())])


def _fleet_rates(served: Served, site: str, sites: Sequence[str]) -> _Rates:
    """The declared site of that name; a fleet of one site is that one. Several sites have no price in common."""
    name = site or (sites[0] if len(sites) == 1 else "")
    if served.project is None:
        return _Rates(None, "no energy.toml here declares a site")
    if not name:
        return _Rates(None, "the sites have prices of their own: choose one above")
    try:
        declared = {one.name: one for one in sites_of(served.project)}
    except (FactorMissing, ConfigError) as err:
        return _Rates(None, str(err))
    return _Rates(declared[name], "") if name in declared else _Rates(None, f"energy.toml declares no [site.{name}]")


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


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Any) -> list[float | None]:
    return [round(float(one), 1) if math.isfinite(one) else None for one in values]
