"""`outweigh plan --check` and `--replay`: a plan file held against itself, and against what it was made on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from outweigh.core.errors import UsageError
from outweigh.core.meaning import Gap
from outweigh.core.printable import printable
from outweigh.core.rounding import significant
from outweigh.grid.archive import Archive, default_folder
from outweigh.grid.vintages import replay
from outweigh.plan.plancheck import Rebuilt, faults, rebuild
from outweigh.plan.shared import Schedule, plan_jobs

#: What a file says and a check has nothing to hold it against.
NOT_CHECKED = (
    "whether carbon and prices are those of the grid (see --replay)",
    "their sources and grades",
    "the forecasts' error, which decides whether the saving is noise",
    "the best constant policy",
    "the frontier",
    "the notes",
)
Progress = Callable[[str, float], None]
_RELATIVE = 1e-9


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: a document for machines, lines for people, and notes."""

    sound: bool
    document: dict[str, Any]
    lines: list[str]
    notes: list[str]


def check_file(path: Path) -> Checked:
    """Whether a plan file is sound; see `plan.plancheck.faults`.

    Raises:
        UsageError: it is no plan file.
    """
    document = read_plan_file(path)
    found = faults(document, str(path))
    body = {"schema": "outweigh.plan-check/1", "plan_id": document["plan_id"], "sound": not found,
            "faults": list(found), "not_checked": list(NOT_CHECKED)}  # fmt: skip
    if found:
        return Checked(False, body, [f"NOT SOUND  {path}", *(f"  {printable(fault)}" for fault in found)], [])
    certificate = document["certificate"]
    copies = sum(int(job["count"]) for job in document["jobs"])
    no_plan = f"no plan {certificate.get('within', '')}".rstrip()
    line = (
        f"SOUND  {path}: {copies} job{'' if copies == 1 else 's'} in their windows and capacities; cost and priced "
        f"carbon come to {significant(certificate['objective'], 4)} {document['currency']}, and "
        f"{no_plan} comes to more than {certificate['gap']:.2%} less"
    )
    return Checked(True, body, [printable(line)], [f"Not checked: {'; '.join(NOT_CHECKED)}."])


def replay_file(path: Path, *, into: Path | None = None, progress: Progress = lambda _what, _fraction: None) -> Checked:
    """A plan made again from what its file holds, and its series held against the archive they came from.

    Args:
        into: folder of the archive; the one `grid fetch` uses by default.

    Raises:
        UsageError: it is no plan file. FactorMissing, GridDataInvalid: the archive lacks what it saw, or holds other.
    """
    document = read_plan_file(path)
    built = rebuild(document, str(path))
    progress("vintages", 0.0)
    try:
        vintages, differences = _vintages(document, into or default_folder())
        asked = dict(document.get("asked") or {})
        goal_gap, limit = float(asked.get("goal_gap", 0.005)), asked.get("time_limit_s")
        time_limit_s = None if limit is None else float(limit)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as err:
        remedy = "Make it again with `outweigh plan JOBS --out plan.json`"
        raise UsageError(f"{path} does not say what it was made on, or otherwise ({err!r})", remedy) from err
    progress("planning", 0.2)
    again = plan_jobs(
        built.jobs, built.places, built.capacity, carbon_price_per_tonne=built.schedule.carbon_price_per_tonne,
        goal_gap=goal_gap, time_limit_s=time_limit_s,
        currency=str(document["currency"]), progress=lambda share: progress("planning", 0.2 + 0.8 * share),
    )  # fmt: skip
    differences += list(_changed(built, again, str(document["currency"])))
    body = {
        "schema": "outweigh.plan-replay/1",
        "plan_id": document["plan_id"],
        "same": not differences,
        "differences": differences,
        "vintages": vintages,
        "objective": built.schedule.objective,
        "objective_again": again.objective,
    }
    notes = []
    if not vintages:
        notes.append(
            "The file names no vintages: it was replayed on the series in it. Plan with --into FOLDER or from "
            "archive:FOLDER to have them."
        )
    if time_limit_s is not None:
        notes.append("It was made under a time limit, so another machine may get another plan.")
    if differences:
        return Checked(False, body, [f"DIFFERENT  {path}", *(f"  {printable(each)}" for each in differences)], notes)
    seen = f" and {len(vintages)} series from the archive" if vintages else ""
    return Checked(True, body, [f"SAME  {path}: {len(built.jobs)} entries{seen}"], notes)


def read_plan_file(path: Path) -> dict[str, Any]:
    """A plan file as a document. Raises UsageError: there is none, or it is no JSON object with an id."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(f"{path} cannot be read: {err.strerror or err}", "Name a file of `plan --out`") from err
    except (ValueError, RecursionError) as err:
        raise UsageError(f"{path} is no JSON: {err}", "Name a file that `outweigh plan --out plan.json` wrote") from err
    if not isinstance(document, dict) or "plan_id" not in document:
        raise UsageError(f"{path} is no plan file", "Name a file that `outweigh plan --out plan.json` wrote")
    return document


def _vintages(document: Mapping[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    horizon = document["horizon"]
    start_s = datetime.fromisoformat(horizon["start"]).timestamp()
    edges = [start_s + i * float(horizon["step_s"]) for i in range(int(horizon["steps"]) + 1)]
    found, differences = list[dict[str, Any]](), list[str]()
    for site in document["sites"]:
        for kind, key in (("carbon", "intensity_g_per_kwh"), ("price", "price_per_kwh")):
            record = (site.get("seen") or {}).get(kind)
            if record is None:
                continue
            series = replay(record, Archive(folder)).onto(edges)
            found.append({"site": site["name"], "kind": kind, "vintages": record["vintages"]})
            if not all(_same(value, stated) for value, stated in zip(series.values, site[key], strict=True)):
                differences.append(f"{kind} at {site['name']} is not what the archive has under its vintage")
    return found, differences


def _same(value: float | Gap, stated: float | None) -> bool:
    if isinstance(value, Gap) or stated is None:
        return isinstance(value, Gap) and stated is None
    return math.isclose(value, stated, rel_tol=_RELATIVE, abs_tol=1e-12)


def _changed(built: Rebuilt, again: Schedule, money: str) -> Iterator[str]:
    first = built.schedule
    if not math.isclose(first.objective, again.objective, rel_tol=1e-6, abs_tol=1e-9):
        yield (
            f"cost and priced carbon come to {significant(again.objective, 6)} {money}, not "
            f"{significant(first.objective, 6)}"
        )
    for position, job in enumerate(built.jobs):
        rows = [
            sorted(
                (int(plan.runs.site[row]), round(float(plan.runs.start[row]), 6), int(plan.runs.count[row]))
                for row in plan.of_job(position).tolist()
            )
            for plan in (first, again)
        ]
        if rows[0] != rows[1]:
            yield f"{job.name} runs elsewhere or at another time"
