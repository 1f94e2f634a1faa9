"""`run PLAN`: a plan is followed to its end on an executor, and what came of it is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from outweigh import __version__
from outweigh.app.files import find_ledger
from outweigh.app.receipts_of_jobs import ReceiptsOfJobs
from outweigh.app.surroundings import booked_on
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.jobs import Ability
from outweigh.core.meaning import Gap
from outweigh.core.measurement import Grade
from outweigh.core.rounding import si, significant
from outweigh.grid import Answer, Level, Sources, open_source, resolve_carbon, resolve_prices
from outweigh.ledger import open_ledger
from outweigh.ports import JobExecutor, KeepsFollowings, Store
from outweigh.registry import exporters, job_executors
from outweigh.run.clock import PlanClock, system_now
from outweigh.run.deciding import Rules
from outweigh.run.following import Following, begin, is_followed
from outweigh.run.leading import holder_words
from outweigh.run.outlook import Look, Outlook
from outweigh.run.rates import Rates
from outweigh.run.reporting import run_document
from outweigh.run.supervisor import Cycle, Supervisor
from outweigh.run.terms import read_plan
from outweigh.run.to_its_end import follow_to_its_end

COLUMNS: Final = (
    "job",
    "state",
    "site",
    "start",
    "planned",
    "end",
    "deadline",
    "in time",
    "run time",
    "energy",
    "carbon",
)
Told = Callable[[str], None]
_STAYS: Final = "what waits or is paused stays so until it is taken up again"
_ROUNDING: Final = 1e-9  # of an energy: what is left by adding it up in another order


@dataclass(frozen=True, slots=True)
class Options:
    """How a plan is followed.

    Attributes:
        on: executor, "name" or "name:argument".
        sources, files: where newer prices and carbon are looked up; none keeps the plan's.
        ledger: file or URL; the nearest one by default.
        clock_factor: plan seconds in a wall second, for trying a plan; the clock then starts with the plan.
        every_s: wall seconds between two cycles; None is 5, and 0.5 where the clock runs fast.
        again: follow a plan once more that was followed to its end.
        rules: None are the defaults, widened to what a fast clock makes of a second.
        executor: in place of the one `on` names. look: in place of sources and files.
    """

    on: str = "local"
    sources: Sequence[str] = ()
    files: Sequence[Path] = ()
    ledger: Path | str | None = None
    clock_factor: float = 1.0
    every_s: float | None = None
    again: bool = False
    project: str = ""
    phase: str = "training"
    rules: Rules | None = None
    executor: JobExecutor | None = None
    look: Look | None = None


def read_plan_file(path: Path) -> dict[str, Any]:
    """A plan file as JSON. Raises UsageError when it cannot be read or is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(
            f"{path} cannot be read ({err.strerror})", "`outweigh plan JOBS --out plan.json` writes one"
        ) from err
    except ValueError as err:
        raise UsageError(f"{path} is not JSON ({err})", "`outweigh plan JOBS --out plan.json` writes one") from err
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no plan", "`outweigh plan JOBS --out plan.json` writes one")
    return document


def run_plan(
    document: Mapping[str, Any],
    source: str,
    options: Options,
    *,
    told: Told = lambda _: None,
    shown: Callable[[Cycle, int], None] = lambda _cycle, _jobs: None,
    names_sites: bool = True,
) -> dict[str, Any]:
    """Follow a plan to its end; the same plan on the same executor goes on where it was.

    Args:
        source: what messages call the plan.
        names_sites: the plan's sites are places that somebody named, and no mere grid zones.
        told: called with what a person should know.
        shown: called after each cycle, with the number of jobs.

    Returns:
        What came of it, of schema outweigh.run/1.

    Raises:
        UsageError: it is no plan, or the executor has not the sites it is for.
        ExecutorError, MissingExtra: the executor is not here. LedgerError: nor the ledger.
        LeaseLost: another supervisor took over.
    """
    read_plan(document, source)  # whatever is wrong with it is said before anything is asked of ledger or executor
    _rules(options.clock_factor, options.every_s)  # what cannot be is refused before anything is begun
    with _opened(options) as (store, executor):
        # Who goes on may find the sites down, or the scheduler: what it is to do is in the database.
        known = is_followed(store, document, options.on, options.clock_factor)
        named = True if known else _names_sites(executor, document, options.on, meant=names_sites)
        factor = options.clock_factor
        wall = system_now()
        clock = PlanClock(wall if factor == 1 else _start(document, source), wall, factor)
        folder = str(Path.cwd())
        following, new = begin(
            store, document, source, on=options.on, clock=clock.to_dict(), project=booked_on(options.project),
            phase=options.phase, cwd=folder, names_sites=named, again=options.again,
            taken=lambda key: bool(executor.observe([key])),
        )  # fmt: skip
        told(f"{'following' if new else 'going on with'} plan {following} on {options.on}")
        if following in {each for each, _ in store.followings(over=True)}:
            told("it was followed to its end before, and this is what came of it; --again runs its jobs once more")
        return supervise(store, executor, following, options, told=told, shown=shown)


def supervise(
    store: Any, executor: JobExecutor, following: str, options: Options, *, told: Told,
    shown: Callable[[Cycle, int], None], cancel: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Lead a following, or stand by, until it is over; its report.

    Args:
        cancel: end its jobs first. Raises UsageError while another supervisor leads it.
    """
    body, _ = Following.read(store, following)
    clock = PlanClock.from_dict(body.clock)
    rules = options.rules or _rules(clock.factor, options.every_s)
    look = options.look or looking(body.document, options.sources, options.files)
    if look is None and not cancel and not any(each == following for each, _ in store.followings(over=True)):
        told("no --source or --file: the prices and carbon the plan was made on stay in force")
    box: list[Supervisor] = []

    trial = executor.simulated or clock.factor != 1
    receipts = ReceiptsOfJobs(store, find_ledger(options.ledger), body, trial=trial, told=told)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner") as planner:
        supervisor = Supervisor(
            store, executor, body, clock, Outlook(body.rates, clock.now(), look),
            settle=lambda jobs: receipts.settle(jobs, box[0].following), append=receipts.append, rules=rules,
            planner=planner, told=told,
        )  # fmt: skip
        box.append(supervisor)
        if cancel:
            if not supervisor.lead():
                leader = holder_words(store.leader(following))
                raise UsageError(f"{leader} leads {following}", "Stop that one (Ctrl-C), and repeat this")
            supervisor.cancel()
        try:
            follow_to_its_end(supervisor, shown=lambda cycle: shown(cycle, len(supervisor.jobs)))
        except KeyboardInterrupt:
            supervisor.let_go()
            keeps_time = Ability.BEGIN in executor.abilities and not supervisor.following.cancelled
            told(
                f"no longer followed: {'jobs that have a begin time start by themselves' if keeps_time else _STAYS}. "
                f"`outweigh run --resume {following}` goes on with it, --cancel {following} ends its jobs"
            )
            raise
    return what_came(store, following)


def what_came(store: Any, following: str) -> dict[str, Any]:
    """The report of a following as the ledger has it, of schema outweigh.run/1."""
    body, jobs = Following.read(store, following)
    now = PlanClock.from_dict(body.clock).now()
    return {**run_document(body, jobs.values(), now), "outweigh_version": __version__}


def check_outputs(paths: Sequence[Path], *, page: bool = True) -> None:
    """Before a run of hours: raises UsageError for a file that its report could not be written to.

    Args:
        page: whether there will be one; a command in the foreground leaves JSON only.
    """
    for path in paths:
        if path.suffix not in ((".json", ".html") if page else (".json",)):
            remedy = "Name the file run.json or run.html" if page else "Name it .json; a page is made of a PLAN"
            raise UsageError(f"nothing is written to {path}: its ending says not what", remedy)
        if not path.absolute().parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {path.parent}", "Make the folder first")


def write_report(document: Mapping[str, Any], path: Path) -> None:
    """Write what came of a run as JSON or, where the name ends in .html, as a page. Raises OutputError."""
    exporters.get("run-html" if path.suffix == ".html" else "json")().write(document, path)


def exit_code_of(document: Mapping[str, Any]) -> int:
    """0 when every job was done in time, 1 when one was not."""
    return 0 if document["counts"]["in_time"] == document["counts"]["jobs"] else 1


def own_code(document: Mapping[str, Any]) -> int:
    """The exit code of the one command that was run; 125 where it has none."""
    (job,) = document["jobs"]
    code = job["exit_code"]
    return code if isinstance(code, int) else 125


def rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The jobs of a run for a table, in the order they started."""

    def key(job: Mapping[str, Any]) -> tuple[str, str]:
        return (job["actual"]["start"] if job["actual"] else "~", job["name"])

    return [_row(job) for job in sorted(document["jobs"], key=key)]


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Predicted against actual and the saving, in sentences for people."""
    counts, money = document["counts"], document["currency"]
    yield (
        f"{counts['completed']} of {counts['jobs']} jobs completed, {counts['in_time']} in time, "
        f"{counts['late']} late; {counts['failed']} failed, {counts['lost']} lost; planned again "
        f"{document['replans']} times"
    )
    before, after, at_once = document["predicted"], document["actual"], document["at_once"]
    yield (
        f"predicted: {_sum(before, money)}; actual: {_sum(after, money)}; starting at once would have come to "
        f"{_sum(at_once, money)}"
    )
    carbon = document["saving"]["carbon"]
    if carbon["jobs"]:
        low, high = carbon["low_kg"], carbon["high_kg"]
        width = "" if low is None else f"; 95 % interval of what is saved: {_mass(low)} to {_mass(high)}, by job"
        less = "less" if carbon["saved_kg"] >= 0 else "more"
        amount = f"{_mass(abs(carbon['saved_kg']))} of CO2e {less} ({abs(carbon['share']):.1%})"
        yield f"against starting at once, here: {amount}{width}"
    if carbon["left_out"]:
        of = carbon["left_out"] + carbon["jobs"]
        yield f"{carbon['left_out']} of {of} jobs are left out of that saving: not all of their carbon is known"
    ran = [job["actual"] for job in document["jobs"] if job["actual"] is not None]
    without = document["in_no_sum"]
    if without["lost"]:
        yield f"{without['lost']} of {len(ran)} jobs are lost: nobody knows what they drew, and they are in no sum"
    if without["energy_not_known"]:
        yield f"what {without['energy_not_known']} of {len(ran)} jobs drew is not known; they are in no sum"
    known = [one for one in ran if one["energy_kwh"] is not None and not one["measured"]]
    declared = sum(one["grade"] == Grade.D for one in known)
    if declared:
        yield f"energy of {declared} of {len(ran)} jobs is declared power x time at work (grade D), not measured"
    if declared < len(known):
        yield f"energy of {len(known) - declared} of {len(ran)} jobs is modelled, not measured"
    if document["trial"]:
        yield "a trial: the figures are the plan's, nothing here was measured, and no receipt is kept"


def following_rows(ledger: Path | str | None) -> list[dict[str, Any]]:
    """The plans that are followed, or were, the oldest first."""
    store: Any = open_ledger(find_ledger(ledger), create=False)
    try:
        over = {name for name, _ in store.followings(over=True)}
        found = []
        for name, text in store.followings():
            body = Following.from_text(name, text)
            found.append(
                {
                    "following": name,
                    "plan_id": body.document.get("plan_id"),
                    "on": body.on,
                    "jobs": sum(int(job["count"]) for job in body.document["jobs"]),
                    "over": name in over,
                    "leader": holder_words(store.leader(name)),
                    "said": body.said[-1] if body.said else "",
                }
            )
        return found
    finally:
        store.close()


def looking(document: Mapping[str, Any], sources: Sequence[str], files: Sequence[Path]) -> Look | None:
    """Looks up prices and carbon of the plan's zones with the sources named; None where none is.

    Only a live source or a file of the user's is a newer vintage: a table's yearly mean never takes the place of what
    the plan was made on. Where an answer has a gap, what was known before stays.
    """
    if not sources and not files:
        return None
    asked = Sources([open_source(text) for text in sources], [open_source(f"file:{each}") for each in files])

    def look(now: datetime, rates: Rates) -> Rates | None:
        window = Interval(rates.start, rates.start + timedelta(seconds=rates.steps * rates.step_s))
        edges = [rates.start.timestamp() + i * rates.step_s for i in range(rates.steps + 1)]
        price, carbon = rates.price.copy(), rates.carbon.copy()
        found = 0
        for row, site in enumerate(document["sites"]):
            for array, kind, ask in ((carbon, "carbon", resolve_carbon), (price, "price", resolve_prices)):
                known = site.get("sources", {}).get(kind, {})
                if known.get("level") in (Level.DECLARED.value, None):
                    continue
                answer: Answer[Any] = ask(site["zone"], window, asked, max_gap=1.0)
                if answer.level not in (Level.LIVE, Level.FILE):
                    if known["level"] in (Level.LIVE.value, Level.FILE.value):
                        reasons = "; ".join(each.reason for each in answer.passed_over)
                        raise FactorMissing(kind, site["zone"], (), f"No source has it now: {reasons}.")
                    continue
                if str(answer.series.meaning) != known["meaning"]:
                    raise FactorMissing(kind, site["zone"], (), "The source answers another question than the plan's.")
                values = answer.series.onto(edges, max_gap=1.0).values
                new = np.array([math.nan if isinstance(v, Gap) else float(v) for v in values])
                array[row] = np.where(np.isfinite(new), new, array[row])
                found += 1
        return replace(rates, price=price, carbon=carbon, issued=now.isoformat()) if found else None

    return look


@contextmanager
def _opened(options: Options) -> Iterator[tuple[Any, JobExecutor]]:
    store: Store = open_ledger(find_ledger(options.ledger))
    try:
        if not isinstance(store, KeepsFollowings):
            raise UsageError(
                f"the store {store.name} keeps no plans that are followed", "Use a SQLite file or PostgreSQL"
            )
        executor = options.executor or open_executor(options.on)
        try:
            yield store, executor
        finally:
            executor.close()
    finally:
        store.close()


def open_executor(text: str) -> JobExecutor:
    """The executor that "name" or "name:argument" means. Raises UnknownBackend, UsageError, ExecutorError."""
    found, argument = job_executors.named(text)
    available = found.probe()
    if not available.usable:
        raise UsageError(f"{available.name} cannot run jobs here: {available.reason}", available.remedy)
    return found.make(argument)


def _names_sites(executor: JobExecutor, document: Mapping[str, Any], on: str, *, meant: bool) -> bool:
    """Whether the plan's sites are places of the executor, by which jobs are put there.

    Args:
        meant: they are to be. A grid zone alone says what power the executor draws, wherever it has its places; it is
            one of them only where the executor has one of that name.
    """
    there = executor.sites()
    wanted = [str(site.get("name")) for site in document.get("sites", []) if isinstance(site, Mapping)]
    if there:
        if not set(there) & set(wanted):
            if not meant and len(wanted) == 1:
                return False
            raise UsageError(
                f"{on} has the sites {', '.join(there)}, and the plan is for {', '.join(wanted)}",
                f"Name the sites of the plan as the executor does{'' if meant else f', as in --zone {there[0]}=ZONE'}",
            )
        return True
    if len(wanted) > 1:
        name = on.partition(":")[0]
        raise UsageError(
            f"the plan is for {len(wanted)} sites, and {on} has none to choose from",
            f"Name them where it can have them ({name}:{','.join(wanted)}), or plan for one site",
        )
    return False


def _rules(factor: float, every_s: float | None) -> Rules:
    usual = Rules()
    every = every_s if every_s is not None else (usual.every_s if factor <= 1 else 0.5)
    # What a scheduler takes to start a job, and we to look again, is minutes on a fast clock.
    slowest_s = (2 * every + 2.0) * max(factor, 1.0)
    return replace(
        usual, every_s=every, guard_s=max(usual.guard_s, slowest_s), lead_s=max(usual.lead_s, slowest_s),
        slip_s=max(usual.slip_s, 3 * slowest_s),
        replan_s=max(usual.replan_s, 4 * slowest_s), ttl_s=max(usual.ttl_s, 6 * every),
    )  # fmt: skip


def _start(document: Mapping[str, Any], source: str) -> datetime:
    try:
        return datetime.fromisoformat(document["horizon"]["start"])
    except (KeyError, TypeError, ValueError) as err:
        raise UsageError(f"{source} is no plan", "`outweigh plan JOBS --out plan.json` writes one") from err


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    actual, planned = job["actual"], job["planned"]
    met = {True: "yes", False: "no", None: ""}[job["deadline_met"]]
    if actual is None:
        return (
            job["name"], job["state"], planned["site"], "", _when(planned["start"]), "", _when(job["deadline"]), met,
            "", "", "",
        )  # fmt: skip
    return (
        job["name"], job["state"], ", ".join(site for site in actual["sites"] if site) or planned["site"],
        _when(actual["start"]), _when(planned["start"]), _when(actual["end"]), _when(job["deadline"]), met,
        f"{actual['run_s'] / 3600:.2f} h ({actual['run_s'] / planned['run_s'] - 1:+.0%})",
        "not known" if actual["energy_kwh"] is None else
        f"{si(1e3 * actual['energy_kwh'], 'Wh')} ({_off(actual, planned, 'energy_kwh')})",
        "not known" if actual["carbon_kg"] is None else
        f"{_mass(actual['carbon_kg'])} ({_off(actual, planned, 'carbon_kg')})",
    )  # fmt: skip


def _off(actual: Mapping[str, Any], planned: Mapping[str, Any], key: str) -> str:
    return f"{actual[key] / planned[key] - 1:+.0%}" if planned[key] else "-"


def _when(text: str) -> str:
    return f"{text[5:10]} {text[11:16]}"


def _sum(of: Mapping[str, Any], money: str) -> str:
    cost = "cost not known" if of["energy_cost"] is None else f"{significant(of['energy_cost'], 4)} {money}"
    carbon = "carbon not known" if of["carbon_kg"] is None else f"{_mass(of['carbon_kg'])} CO2e"
    if of["carbon_kg"] is not None and of["carbon_unknown_kwh"] > _ROUNDING * of["facility_energy_kwh"]:
        carbon += f" without {si(1e3 * of['carbon_unknown_kwh'], 'Wh')} of which it is not known"
    return f"{si(1e3 * of['energy_kwh'], 'Wh')}, {cost}, {carbon}"


def _mass(kg: float) -> str:
    return si(1e3 * kg, "g")
