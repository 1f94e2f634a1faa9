"""One run: what it cost from the device to the bill, how sure that is, and how to work it out again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from outweigh.app.pages.asked import Asked, PageMissing
from outweigh.app.pages.runs import receipt_row
from outweigh.app.pages.shape import Column, figure, keyed, table
from outweigh.core.errors import LedgerError, MissingExtra, UsageError
from outweigh.core.measurement import Factor, Measurement, Scope, UncertaintyComponent, half_width_95
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ports import View, ViewKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outweigh.app.serving import Served

_MOST_POINTS = 2_000  # of a channel's trace; the lowest and the highest of every stretch are kept
_UNUSABLE = "the meter's samples do not carry the figure"


def receipt(served: Served, asked: Asked) -> dict[str, Any]:
    """The receipt at `asked.address`. Raises PageMissing where there is none, LedgerError."""
    try:
        found = served.ledger.get(asked.address)
    except UsageError as err:
        raise PageMissing(err.problem, "Choose one under Runs") from err
    address = found.content_hash
    views = _views(served, address)
    steps = _steps(found, views)
    trace = _trace(served, found)
    return {
        "schema": "outweigh.page.receipt/1",
        "receipt": address,
        "title": {
            "project": found.project,
            "what": found.variant,
            "phase": found.phase.value,
            "status": found.status.value,
            "start": receipt_row(address, found)["start"],
            "end": receipt_row(address, found)["end"],
            "exit_code": found.exit_code,
        },
        "synthetic": "Its meter replayed a recorded or made trace." if found.total.method.value == "replayed" else None,
        "figures": _figures(address, found),
        "chain": _chain(found, steps, views),
        "trace": trace,
        "facts": _facts(found),
        "notes": list(found.notes),
        "recompute": _recompute(found),
        "tables": {
            "energy": _energy_table(steps),
            "phases": _phases(found),
            "uncertainty": _uncertainty(found),
            "factors": _factors(found, views),
            "views": _view_table(views),
            "quality": _quality(found),
            # Its figures are in `trace` already: as a table they are only made for whoever takes it.
            **({"trace": _trace_table(trace)} if asked.text("table") == "trace" else {}),
        },
    }


def _figures(address: str, found: Receipt) -> list[dict[str, Any]]:
    row = receipt_row(address, found)
    total, seconds = found.total, found.interval.seconds
    how = {"grade": found.grade.value, "method": total.method.value, "source": total.source}
    shown = [_named(row, "energy", "energy", f"energy, scope {total.scope}", **how)]
    shown.append(_named(row, "hum", "energy", "of it hum", **(how if found.hum is not None else {})))
    if found.work is not None and found.status is not RunStatus.UNUSABLE:
        ends = found.work.bounds_j
        shown.append(figure("energy", "of it work", found.work.value.joules, ends.low, ends.high, **how))
    if found.units:
        shown.append(
            _named(row, "per_unit", "energy", f"per {found.unit or 'unit'}", note=f"{found.units:g} delivered")
        )
    if seconds > 0 and found.status is not RunStatus.UNUSABLE:
        ends = total.bounds_j
        shown.append(
            figure("power", "mean power", total.value.joules / seconds, ends.low / seconds, ends.high / seconds)
        )
    return [*shown, figure("duration", "took", seconds)]


def _named(row: dict[str, Any], key: str, kind: str, label: str, **known: Any) -> dict[str, Any]:
    from outweigh.app.pages.shape import SUFFIXES

    end = SUFFIXES[kind]
    value, low, high = (row[f"{key}{part}{end}"] for part in ("", "_low", "_high"))
    return figure(kind, label, value, low, high, why=row.get(f"{key}_why", ""), **(known if value is not None else {}))


# --- from the device to the bill ----------------------------------------------------------------------

_DEVICES = (Scope.GPU, Scope.CPU_THREADS, Scope.CORE, Scope.UNCORE, Scope.DRAM, Scope.PACKAGE, Scope.PSYS)
_LEVELS = (
    ("devices", "devices", _DEVICES),
    ("host", "whole machine", (Scope.NODE,)),
    ("wall", "wall", (Scope.RACK, Scope.FACILITY)),
)


def _steps(found: Receipt, views: Sequence[View]) -> list[dict[str, Any]]:
    """Energy level by level, each holding the one before: devices, the whole machine, the wall.

    A level is what a meter of that scope read, or, for the wall, what a view made of it with a PUE. What lies inside a
    wider reading is a part of it and is never added; a level nobody read is missing.
    """
    if found.status is RunStatus.UNUSABLE:
        return [_step(key, label, None, _UNUSABLE) for key, label, _ in _LEVELS]
    read = [found.total, *found.overlapping]
    steps = []
    for key, label, scopes in _LEVELS:
        inside = [one for one in read if one.scope in scopes]
        counted = [found.total] if found.total in inside else _outermost(inside)
        if counted:
            steps.append(_step(key, label, counted, ""))
        elif key == "wall" and (grown := _with_pue(found, views)) is not None:
            steps.append(grown)
        else:
            steps.append(_step(key, label, None, _not_read(key)))
    return steps


def _outermost(read: Sequence[Measurement]) -> list[Measurement]:
    """The readings that lie in no other of them, so that their sum counts nothing twice.

    Of a scope that two sources read, the first one's: nobody says whether they saw the same device.
    """
    wide = [one for one in read if not any(o.scope is not one.scope and o.scope.contains(one.scope) for o in read)]
    first = {one.scope: one.source for one in reversed(wide)}
    return [one for one in wide if one.source == first[one.scope]]


def _not_read(key: str) -> str:
    return {
        "devices": "no meter of a device beside it",
        "host": "no meter of the whole machine: `outweigh doctor` says which could",
        "wall": "no meter at the wall, and no view with a PUE: recompute below",
    }[key]


def _step(key: str, label: str, read: Sequence[Measurement] | None, why: str) -> dict[str, Any]:
    if not read:
        return {"key": key, "label": label, **keyed("energy", "energy", None, why=why), "grade": None, "how": why}
    joules = math.fsum(one.value.joules for one in read)
    # Readings of one kind of sensor err alike: their half-widths add up in full (JCGM 100:2008, 5.2.2, note 1).
    half = math.fsum(half_width_95(one.components) for one in read)
    scopes = ", ".join(dict.fromkeys(one.scope.value for one in read))
    grade = max((one.grade.value for one in read), default=None)
    how = f"{read[0].method.value}, scope {scopes}"
    return {
        "key": key, "label": label, **keyed("energy", "energy", joules, joules - half, joules + half), "grade": grade,
        "how": how, "source": read[0].source,
    }  # fmt: skip


def _with_pue(found: Receipt, views: Sequence[View]) -> dict[str, Any] | None:
    for view in reversed(views):
        value = dict(view.value)
        times = float(value.get("pue", 1.0))
        if times > 1 and len(view.factors) > 1:
            half = half_width_95(found.total.components) * times
            joules = float(value["energy_j"])
            pue = view.factors[1]
            return {
                "key": "wall", "label": "wall", **keyed("energy", "energy", joules, joules - half, joules + half),
                "grade": value["grade"], "source": pue.source,
                "how": f"{found.total.scope} × PUE {times:g} ({pue.name}, {pue.issued}); the interval is the energy's",
            }  # fmt: skip
    return None


def _chain(found: Receipt, steps: Sequence[dict[str, Any]], views: Sequence[View]) -> list[dict[str, Any]]:
    """The links from the device to the bill and the air; each view of the newest factors once."""
    links = [{**step, "kind": "energy", "counted": step["key"] == _counted_level(found)} for step in steps]
    money = [view for view in views if view.kind is ViewKind.COST]
    carbon = [view for view in views if view.kind is ViewKind.CARBON]
    why = _UNUSABLE if found.status is RunStatus.UNUSABLE else "no view was taken: recompute below"
    links.append(
        _link_of_view("money", "money", money[-1]) if money
        else {"key": "money", "label": "money", "kind": "money", **keyed("money", "money", None, why=why), "how": why}
    )  # fmt: skip
    newest: dict[tuple[str, str], View] = {}
    for view in carbon:
        value = dict(view.value)
        newest[str(value["basis"]), str(value["scope"])] = view
    for (basis, scope), view in newest.items():
        links.append(_link_of_view("carbon", f"carbon ({basis}, {scope})", view))
    if not newest:
        links.append(
            {
                "key": "carbon",
                "label": "carbon",
                "kind": "carbon",
                **keyed("carbon", "carbon", None, why=why),
                "how": why,
            }
        )
    return links


def _counted_level(found: Receipt) -> str:
    return next(key for key, _, scopes in _LEVELS if found.total.scope in scopes)


def _link_of_view(key: str, label: str, view: View) -> dict[str, Any]:
    value = dict(view.value)
    factor = view.factors[0]
    end = "_g" if key == "carbon" else ""
    amount = float(value["carbon_g" if key == "carbon" else "cost"])
    spread = 2 * float(value["carbon_standard_of_energy_g" if key == "carbon" else "cost_standard_of_energy"])
    rate = (
        f"{value['intensity_g_per_kwh']:g} g/kWh"
        if key == "carbon"
        else f"{value['price_per_kwh']:g} {value['currency']}/kWh"
    )
    return {
        "key": key, "label": label, "kind": key, f"{key}{end}": amount, f"{key}_low{end}": amount - spread,
        f"{key}_high{end}": amount + spread, "grade": value["grade"], "source": factor.source,
        "how": f"{rate}, {factor.name}, {factor.issued}; the interval is the energy's alone",
        **({"money_currency": value["currency"]} if key == "money" else {}),
    }  # fmt: skip


def _energy_table(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = (
        Column("label", "level"),
        Column("energy", "energy, what is inside it included", "energy"),
        Column("grade", "grade", "grade"),
        Column("how", "how", note="source"),
    )
    return table("Energy level by level: each holds the one before, none is added to another", columns, steps)


# --- the rest of the receipt --------------------------------------------------------------------------


def _phases(found: Receipt) -> dict[str, Any]:
    columns = (
        Column("part", "part"),
        Column("energy", "energy", "energy"),
        Column("share", "of the total", "share"),
        Column("what", "what it is"),
    )
    rows: list[dict[str, Any]] = []
    total_j = found.total.value.joules
    usable = found.status is not RunStatus.UNUSABLE

    def add(part: str, joules: float | None, ends: tuple[float | None, float | None], what: str, why: str = "") -> None:
        share = joules / total_j if joules is not None and total_j > 0 else None
        rows.append(
            {"part": part, "what": what, **keyed("energy", "energy", joules, *ends, why=why),
             **keyed("share", "share", share, why=why)}
        )  # fmt: skip

    for part, one, what in (
        ("hum", found.hum, "idle draw, there whether or not anyone works"),
        ("work", found.work, "what the run drew above it"),
    ):
        if one is not None and usable:
            add(part, one.value.joules, (one.bounds_j.low, one.bounds_j.high), what)
        else:
            add(part, None, (None, None), what, "no idle draw was listened to" if usable else _UNUSABLE)
    split = found.hum_split
    for part, what in (
        ("allocated", "hum of what the run had for itself"),
        ("unallocated", "hum of the same devices that it did not have"),
        ("host", "hum of the rest of the machine"),
        ("cooling", "what the building adds to the hum; on top of the total, not in it"),
    ):
        energy = getattr(split, part) if split is not None else None
        if energy is not None:
            add(f"hum: {part}", energy.joules, (None, None), what)
    return table("What it is made of", columns, rows)


def _uncertainty(found: Receipt) -> dict[str, Any]:
    columns = (
        Column("name", "component"),
        Column("standard", "standard uncertainty (k = 1)", "energy"),
        Column("relative", "of the energy", "share"),
        Column("share", "of the variance", "share"),
        Column("source", "where it comes from"),
    )
    variance = math.fsum(one.standard**2 for one in found.total.components)
    energy = abs(found.total.value.joules)

    def row(one: UncertaintyComponent) -> dict[str, Any]:
        return {
            "name": one.name,
            **keyed("standard", "energy", one.standard),
            **keyed("relative", "share", one.standard / energy if energy else None, why="the energy is 0"),
            **keyed("share", "share", one.standard**2 / variance if variance else None, why="all are 0"),
            "source": one.source,
        }

    rows = sorted((row(one) for one in found.total.components), key=lambda each: -each["standard_j"])
    return table("Why it is not known better", columns, rows, empty="its meter states no uncertainty.")


def _factors(found: Receipt, views: Sequence[View]) -> dict[str, Any]:
    columns = (
        Column("name", "factor"),
        Column("value", "value", "number", note="unit"),
        Column("issued", "of"),
        Column("retrieved", "retrieved"),
        Column("grade", "grade", "grade"),
        Column("source", "source", note="licence"),
        Column("used", "used for"),
    )
    used: dict[Factor, list[str]] = {}
    for one in (found.total, *(part for part in (found.hum, found.work) if part is not None), *found.overlapping):
        for factor in one.factors:
            used.setdefault(factor, []).append("energy")
    for view in views:
        for factor in view.factors:
            used.setdefault(factor, []).append(view.kind.value)
    rows = [
        {
            "name": one.name, **keyed("value", "number", one.value), "unit": one.unit, "issued": one.issued,
            "retrieved": one.retrieved, "grade": one.grade.value, "source": one.source, "licence": one.licence,
            "used": ", ".join(dict.fromkeys(purposes)),
        }
        for one, purposes in used.items()
    ]  # fmt: skip
    return table("Factors", columns, rows, empty="a counter read it: no factor was needed.")


def _views(served: Served, address: str) -> tuple[View, ...]:
    from outweigh.ledger import views

    with contextlib.suppress(UsageError):  # a ledger that keeps no views has none
        return views(served.ledger, address)
    return ()


def _view_table(views: Sequence[View]) -> dict[str, Any]:
    columns = (
        Column("computed_at", "taken", "time"),
        Column("kind", "view"),
        Column("carbon", "carbon", "carbon"),
        Column("money", "money", "money"),
        Column("rate", "rate"),
        Column("grade", "grade", "grade"),
        Column("factor", "factor", note="factor_set"),
    )
    rows = []
    for view in reversed(views):
        link = _link_of_view("carbon" if view.kind is ViewKind.CARBON else "money", view.kind.value, view)
        rows.append(
            {
                **{name: one for name, one in link.items() if name != "how"},
                "computed_at": view.computed_at, "kind": link["label"], "rate": link["how"].partition(",")[0],
                "factor": f"{view.factors[0].name}, {view.factors[0].issued}", "factor_set": view.factor_set[:12],
            }
        )  # fmt: skip
    return table("Every view ever taken of it, the newest first", columns, rows, empty="none was taken yet.")


def _quality(found: Receipt) -> dict[str, Any]:
    columns = (Column("metric", "metric"), Column("value", "value", "number"), Column("n", "items", "number"))
    rows = [
        {
            "metric": one.metric,
            **keyed("value", "number", one.value, *((one.bounds.low, one.bounds.high) if one.bounds else ())),
            **keyed("n", "number", float(one.n)),
        }
        for one in found.quality
    ]
    if found.latency is not None:
        for name in ("mean", "p50", "p95"):
            value = getattr(found.latency, f"{name}_ms")
            rows.append({"metric": f"latency, {name} [ms]", **keyed("value", "number", value),
                         **keyed("n", "number", float(found.latency.n))})  # fmt: skip
    return table("Quality and latency", columns, rows, empty="nobody judged this run.")


def _facts(found: Receipt) -> list[dict[str, str]]:
    cost = found.meter_cost
    pairs = [
        ("run", found.run_id),
        ("batch", found.batch),
        ("round", "" if found.round_index is None else str(found.round_index)),
        ("variant hash", found.variant_hash),
        ("meter", found.meter),
        ("source", found.total.source),
        ("what looking cost", f"{cost.cpu_s:.3g} s of CPU" if cost else "not known"),
        ("exit code", "" if found.exit_code is None else str(found.exit_code)),
        ("labels", ", ".join(f"{name} = {text}" for name, text in found.labels)),
        ("versions", ", ".join(f"{name} {text}" for name, text in found.versions)),
    ]
    return [{"name": name, "text": text} for name, text in pairs if text]


def _recompute(found: Receipt) -> str:
    batch = f" --batch {found.batch}" if found.batch.isalnum() else ""
    return f"outweigh ledger recompute --zone ZONE --region PROVIDER:REGION --phase {found.phase.value}{batch}"


# --- power over time ----------------------------------------------------------------------------------


def _trace(served: Served, found: Receipt) -> dict[str, Any]:
    """Power over time by channel: {"channels": [{name, t_s, power_w}], ...}, or why there is none.

    `t_s` counts from the start of the run. A long trace is thinned to the lowest and highest of every stretch.
    """
    from outweigh.ledger.samples import has_samples, read_samples

    folder = served.samples
    start_s, end_s = found.interval.start.timestamp(), found.interval.end.timestamp()
    none = "no samples lie beside the ledger: they are kept of runs of a second or more, with outweigh[samples]"
    why = none
    try:
        for run in (found.run_id, found.batch):
            # An id from elsewhere that cannot be a folder's name has no folder.
            with contextlib.suppress(UsageError):
                if run and has_samples(folder, run):
                    read = read_samples(folder, run, start_s=start_s, end_s=math.nextafter(end_s, math.inf))
                    channels = [
                        _channel(str(name), read.t_s[at] - start_s, read.power_w[at])
                        for name in dict.fromkeys(read.channel.tolist())
                        for at in [read.channel == name]
                    ]
                    if channels:
                        thinned = any(one["thinned"] for one in channels)
                        return {"channels": channels, "hum_w": _hum_w(found), "seconds": end_s - start_s,
                                "samples": len(read), "thinned": thinned, "why": None}  # fmt: skip
    except (LedgerError, MissingExtra) as err:
        why = str(err)
    return {"channels": [], "hum_w": None, "seconds": end_s - start_s, "samples": 0, "thinned": False, "why": why}


def _trace_table(trace: dict[str, Any]) -> dict[str, Any]:
    columns = (
        Column("time", "since the start", "duration"),
        Column("channel", "channel"),
        Column("power", "power", "power"),
    )
    rows = [
        {"channel": one["name"], **keyed("time", "duration", t_s), **keyed("power", "power", power_w)}
        for one in trace["channels"]
        for t_s, power_w in zip(one["t_s"], one["power_w"], strict=True)
    ]
    return table("Power trace", columns, rows, empty=trace["why"] or "")


def _hum_w(found: Receipt) -> float | None:
    if found.hum is None or found.interval.seconds <= 0:
        return None
    return found.hum.value.joules / found.interval.seconds


def _channel(name: str, t_s: NDArray[np.float64], power_w: NDArray[np.float64]) -> dict[str, Any]:
    order = np.argsort(t_s, kind="stable")
    t_s, power_w = t_s[order], power_w[order]
    thinned = len(t_s) > _MOST_POINTS
    if thinned:
        edges = np.linspace(0, len(t_s), _MOST_POINTS // 2 + 1).astype(int)
        keep = sorted(
            {int(low + pick(power_w[low:high])) for low, high in pairwise(edges) if high > low
             for pick in (np.argmin, np.argmax)}
        )  # fmt: skip
        t_s, power_w = t_s[keep], power_w[keep]
    return {
        "name": name,
        "t_s": [round(float(one), 4) for one in t_s],
        "power_w": [round(float(one), 4) for one in power_w],
        "thinned": thinned,
    }
