"""A file of jobs (TOML, with a CSV queue beside it if wanted) -> what the planner plans. docs/planner.md shows one."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from outweigh.config.documents import read_model, read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.reading import (
    CarbonPrice,
    DemandCharge,
    EnergyLimit,
    EnergyPrice,
    Intensity,
    PowerLimit,
    PricePerGb,
    Pue,
    Seconds,
    Stamp,
    in_utc,
)
from outweigh.config.refusals import Refusal, dotted, unknown_name
from outweigh.core.constants import S_PER_HOUR
from outweigh.core.errors import ConfigError, InvalidQuantity
from outweigh.core.quantities import Power
from outweigh.core.units import parse_energy, parse_power, parse_seconds
from outweigh.plan.planfile import MOST_COPIES
from outweigh.plan.problem import Job, Level
from outweigh.plan.sites import Ask, PlanSite, PlanSpec

_SLACK_S = 48 * S_PER_HOUR  # whatever zone it is written in
PAGE = "docs/planner.md"
_MOST_STEPS = 24 * 366 * 12  # a year of five-minute steps: more is a slip of the pen, and would take gigabytes
_MEDIAN = 0.5
_Text = Annotated[str, Field(min_length=1)]
T = TypeVar("T")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Plan(_Table):
    """The horizon and what is weighed."""

    start: Stamp | None = Field(
        default=None,
        alias="from",
        examples=["2026-12-01T00:00Z"],
        description="Start of the horizon. Default: the next step.",
    )
    horizon: Seconds = Field(default=168 * S_PER_HOUR, examples=["168 h"], description="Length of the horizon.")
    step: Seconds = Field(default=S_PER_HOUR, examples=["60 min"], description="Length of a step.")
    carbon_price: CarbonPrice | None = Field(
        default=None, examples=["100 EUR/t"], description="Price of a tonne of CO2e. Default: money alone is weighed."
    )
    work_quantile: float = Field(
        default=0.5, gt=0, lt=1, examples=[0.9], description="Which quantile of an uncertain duration is planned for."
    )
    mixed_prices: bool = Field(
        default=False, examples=[True], description="Weigh looked-up prices of different markets against one another."
    )
    queue: str = Field(default="", examples=["queue.csv"], description="CSV file with further jobs, one a row.")


class _Site(_Table):
    zone: _Text = Field(examples=["DE"], description="Grid zone, as `outweigh grid zones` lists it.")
    pue: Pue | None = Field(default=None, examples=[1.25, {"idle": 1.6, "full": 1.25}], description="At least 1.")
    region: str = Field(default="", examples=["aws:eu-central-1"], description="Cloud region; looks up PUE.")
    capacity: PowerLimit | None = Field(
        default=None, examples=["150 kW"], description="IT power the site can give these jobs. Default: no limit."
    )
    price: EnergyPrice | None = Field(
        default=None, examples=["0.15 EUR/kWh"], description="Flat price. Default: looked up by zone."
    )
    intensity: Intensity | None = Field(
        default=None, examples=["230 gCO2e/kWh"], description="Flat carbon intensity. Default: looked up by zone."
    )
    move: PricePerGb | None = Field(default=None, examples=["0.02 EUR/GB"], description="Of bringing a GB here.")
    demand_charge: DemandCharge | None = Field(
        default=None, examples=["12 EUR/kW"], description="Of each kW of the highest facility power in the plan."
    )
    peak_so_far: PowerLimit = Field(
        default=Power(0.0), examples=["80 kW"], description="Highest facility power of the billing period so far."
    )


class _Level(_Table):
    speed: float = Field(gt=0, examples=[1.0], description="Work done an hour, relative to speed 1.")
    power: PowerLimit = Field(examples=["40 kW"], description="IT power at this speed.")


class _Quantile(_Table):
    p: float = Field(gt=0, lt=1, examples=[0.9], description="Probability.")
    work: Seconds = Field(examples=["30 h"], description="Time at speed 1 that is not exceeded with it.")


class _Checkpoint(_Table):
    time: Seconds = Field(default=0.0, examples=["5 min"], description="Run without progress at every resumption.")
    energy: EnergyLimit | None = Field(default=None, examples=["2 kWh"], description="IT energy beyond that time.")
    signal: str = Field(
        default="",
        pattern=r"^([A-Z][A-Z0-9]{1,9})?$",
        examples=["USR1"],
        description="Makes the command save and end with 85, to be started again. Default: a pause keeps its memory.",
    )
    grace: Seconds = Field(default=30.0, examples=["30 s"], description="How long saving may take.")


class _Job(_Table):
    name: _Text = Field(examples=["train-a"], description="Name of the job.")
    release: Stamp | None = Field(
        default=None, examples=["2026-12-01T08:00Z"], description="Earliest start. Default: the start of the horizon."
    )
    deadline: Stamp | None = Field(default=None, examples=["2026-12-03T08:00Z"], description="Latest end.")
    within: Seconds | None = Field(
        default=None, examples=["48 h"], description="Latest end, counted from the release, in place of a deadline."
    )
    work: Seconds = Field(examples=["24 h"], description="Time it takes at speed 1.")
    power: PowerLimit | None = Field(default=None, examples=["40 kW"], description="IT power of a job of one speed.")
    levels: list[_Level] = Field(
        default_factory=list,
        examples=[[{"speed": 1.0, "power": "40 kW"}]],
        description="Speeds with their powers, in place of `power`.",
    )
    preemptible: bool = Field(default=False, examples=[True], description="May pause and go on later.")
    checkpoint: _Checkpoint = Field(default=_Checkpoint(), description="What a resumption costs.")
    home: str = Field(default="", examples=["fra-1"], description="Where it runs if nobody plans. Default: first site.")
    movable: bool = Field(default=True, examples=[False], description="May run elsewhere than at home.")
    sites: list[_Text] = Field(
        default_factory=list, examples=[["fra-1"]], description="Where it may run. Default: all."
    )
    data_gb: float = Field(default=0.0, ge=0, examples=[120], description="To move when it runs away from home.")
    quantiles: list[_Quantile] = Field(
        default_factory=list,
        examples=[[{"p": 0.9, "work": "30 h"}]],
        description="Where the duration is not certain; `work` is p = 0.5.",
    )
    count: int = Field(default=1, ge=1, le=MOST_COPIES, examples=[8], description="How many such jobs there are.")
    command: list[_Text] = Field(
        default_factory=list, examples=[["sbatch", "train.sh"]], description="What `outweigh run` starts."
    )
    cpus: int = Field(default=1, ge=1, examples=[8], description="Hardware threads it needs on each node.")
    gpus: int = Field(default=0, ge=0, examples=[4], description="Devices it needs on each node.")
    nodes: int = Field(default=1, ge=1, examples=[2], description="Nodes it needs at once.")


class JobsToml(_Table):
    """A file of jobs."""

    plan: _Plan = Field(default=_Plan(), description="The horizon.")
    site: dict[str, _Site] = Field(min_length=1, description="Where jobs may run.")
    job: list[_Job] = Field(default_factory=list, description="What is to be done.")


def load_jobs(path: Path, now: datetime) -> PlanSpec:
    """Read a file of jobs.

    Args:
        now: what "the next step" is counted from where the file names no start.

    Raises:
        ConfigError: the file or its queue is missing, or says something we refuse, by its line.
    """
    text = read_text(path, f"Write one as {PAGE} shows, or name it: outweigh plan jobs.toml")
    document = read_model(text, str(path), JobsToml, PAGE, _check)
    start = document.plan.start or _next(now, document.plan.step)
    jobs = [_job(job, document, start) for job in document.job]
    if document.plan.queue:
        jobs.extend(_queue(path.parent / document.plan.queue, document, start))
    if not jobs:
        raise ConfigError(str(path), 0, "there is no job in it", f"Add [[job]] tables, or a queue, as {PAGE} shows")
    _one_of_each(path, jobs)
    return PlanSpec(
        source=str(path),
        start=start,
        steps=round(document.plan.horizon / document.plan.step),
        step_s=document.plan.step,
        carbon_price=document.plan.carbon_price,
        work_quantile=document.plan.work_quantile,
        sites=tuple(_site(name, site) for name, site in document.site.items()),
        jobs=tuple(jobs),
        asks=tuple((job.name, _ask(job)) for job in document.job),
        mixed_prices=document.plan.mixed_prices,
    )


def _next(now: datetime, step_s: float) -> datetime:
    return now + timedelta(seconds=-now.timestamp() % step_s)


def _site(name: str, site: _Site) -> PlanSite:
    return PlanSite(
        name, site.zone, site.pue, site.region, site.capacity, site.price, site.intensity, site.move,
        site.demand_charge, site.peak_so_far,
    )  # fmt: skip


def _job(job: _Job, document: JobsToml, start: datetime) -> Job:
    release = job.release or start
    within = 0.0 if job.within is None else job.within
    home = job.home or next(iter(document.site))
    if job.power is not None:
        levels: tuple[Level, ...] = (Level(1.0, job.power.watts),)
    else:
        levels = tuple(Level(level.speed, level.power.watts) for level in job.levels)
    checkpoint = job.checkpoint
    return Job(
        name=job.name,
        release=release,
        deadline=job.deadline or release + timedelta(seconds=within),
        work_h=job.work / S_PER_HOUR,
        levels=levels,
        preemptible=job.preemptible,
        home=home,
        movable=job.movable,
        sites=frozenset(job.sites),
        checkpoint_h=checkpoint.time / S_PER_HOUR,
        checkpoint_kwh=checkpoint.energy.to_kwh() if checkpoint.energy else 0.0,
        data_gb=job.data_gb,
        work_quantiles=_quantiles(job),
        count=job.count,
    )


def _quantiles(job: _Job) -> tuple[tuple[float, float], ...]:
    """Of an uncertain duration; `work` is its median unless one is listed."""
    given = [(one.p, one.work / S_PER_HOUR) for one in job.quantiles]
    if given and all(p != _MEDIAN for p, _ in given):
        given.insert(sum(p < _MEDIAN for p, _ in given), (_MEDIAN, job.work / S_PER_HOUR))
    return tuple(given)


def _ask(job: _Job) -> Ask:
    saving = job.checkpoint
    return Ask(tuple(job.command), saving.signal, saving.grace, job.cpus, job.gpus, job.nodes)


def _check(document: JobsToml) -> list[Refusal]:
    return [*_check_horizon(document), *(refusal for i, job in enumerate(document.job) for refusal in
            _check_job(("job", i), job, document))]  # fmt: skip


def _check_horizon(document: JobsToml) -> Iterator[Refusal]:
    plan = document.plan
    if plan.step <= 0:
        yield Refusal(("plan", "step"), "plan.step has no length", 'Write step = "60 min"')
        return
    steps = plan.horizon / plan.step
    if steps < 1 or abs(steps - round(steps)) > 1e-9:
        problem = f"plan.horizon is {steps:g} steps long"
        yield Refusal(("plan", "horizon"), problem, "Make it a whole number of steps, such as 168 h of 60 min")
    elif steps > _MOST_STEPS:
        problem = f"plan.horizon is {steps:g} steps long, which is more than we plan at once"
        yield Refusal(("plan", "horizon"), problem, f"Take longer steps: at most {_MOST_STEPS} of them")
    if not _fits(plan.start, plan.horizon):
        yield Refusal(("plan", "from"), "the horizon ends beyond the year 9999", "Start it earlier, or make it shorter")
    money: dict[str, KeyPath] = {}
    if plan.carbon_price is not None:
        money[plan.carbon_price.currency] = ("plan", "carbon_price")
    for name, site in document.site.items():
        for key in ("price", "move", "demand_charge"):
            if (stated := getattr(site, key)) is not None:
                money.setdefault(stated.currency, ("site", name, key))
    if len(money) > 1:
        _, (currency, path), *_ = money.items()
        first = next(iter(money))
        yield Refusal(path, f"{dotted(path)} is in {currency}, others are in {first}", "Use one currency in a plan")


def _check_job(path: KeyPath, job: _Job, document: JobsToml) -> Iterator[Refusal]:
    where = dotted(path)
    if (job.power is None) == (not job.levels):
        yield Refusal(path, f"{where} {job.name!r} needs power, or levels, and not both", 'Add power = "40 kW"')
    if (job.deadline is None) == (job.within is None):
        remedy = 'Add within = "48 h" or deadline = "2026-12-03T08:00Z"'
        yield Refusal(path, f"{where} {job.name!r} needs a deadline, or within, and not both", remedy)
    for key, names in (("home", [job.home] if job.home else []), ("sites", job.sites)):
        for name in names:
            if name not in document.site:
                yield unknown_name((*path, key), name, "site", document.site)
    median = next((one for one in job.quantiles if one.p == _MEDIAN), None)
    if median is not None and median.work != job.work:
        problem = f"{where} {job.name!r} says its median duration twice, as work and as the quantile at p = 0.5"
        yield Refusal((*path, "quantiles"), problem, "Make them the same, or leave the quantile at p = 0.5 out")
    if job.within is not None and not _fits(job.release or document.plan.start, job.within):
        yield Refusal((*path, "within"), f"{where} {job.name!r} ends beyond the year 9999", 'Write within = "48 h"')
        return
    if (job.power is None) == (not job.levels):
        return  # without a level the core has nothing to judge
    try:
        _job(job, document, datetime.fromisoformat("2026-01-01T00:00+00:00"))
    except InvalidQuantity as err:
        problem = f"{where}: {err.given} is not a valid {err.quantity}"
        yield Refusal(path, problem, err.remedy)


def _fits(start: datetime | None, length_s: float) -> bool:
    """Whether the end is a time that can be written; where no start is named, counted from now."""
    begin = start or datetime.fromisoformat("2100-01-01T00:00+00:00")
    return length_s < (datetime.max.replace(tzinfo=begin.tzinfo) - begin).total_seconds() - _SLACK_S


def _one_of_each(path: Path, jobs: list[Job]) -> None:
    seen: set[str] = set()
    for job in jobs:
        if job.name in seen:
            raise ConfigError(str(path), 0, f"two jobs are called {job.name!r}", "Give every job a name of its own")
        seen.add(job.name)


# --- the queue ------------------------------------------------------------------------------------------


def _flag(text: str) -> bool:
    if text.casefold() not in ("true", "false", "yes", "no", "1", "0"):
        raise InvalidQuantity("yes or no", repr(text), "write true or false")
    return text.casefold() in ("true", "yes", "1")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as err:
        raise InvalidQuantity("number", repr(text), "write a number") from err
    if not math.isfinite(value):
        raise InvalidQuantity("number", repr(text), "write a finite number")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(MOST_COPIES)) or int(text) > MOST_COPIES:
        shown = repr(text if len(text) <= 40 else f"{text[:37]}...")
        raise InvalidQuantity("whole number", shown, f"write 1 to {MOST_COPIES:,}")
    return int(text)


def _stamp(text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        raise InvalidQuantity("time", repr(text), "write it as 2026-12-01T08:00Z") from err
    if stamp.tzinfo is None:
        raise InvalidQuantity("time", repr(text), "write it with its distance from UTC, as 2026-12-01T08:00Z")
    return in_utc(stamp)


_COLUMNS = (
    "name", "release", "deadline", "within", "work", "power", "preemptible", "home", "movable", "sites",
    "checkpoint_time", "checkpoint_energy", "data_gb", "count",
)  # fmt: skip
_NEEDED = ("name", "work", "power")


def _queue(path: Path, document: JobsToml, start: datetime) -> Iterator[Job]:
    """Jobs of a CSV file: the keys of [[job]] as columns, quantities with their units, sites apart by spaces."""
    text = read_text(path, "Name the file as it lies beside the file of jobs, or leave queue out")
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames or []
    for column in columns:
        if column not in _COLUMNS:
            near = difflib.get_close_matches(column, _COLUMNS, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Columns: {', '.join(_COLUMNS)}"
            raise ConfigError(str(path), 1, f"unknown column {column!r}", remedy)
    for column in _NEEDED:
        if column not in columns:
            raise ConfigError(str(path), 1, f"it lacks the column {column!r}", f"Columns: {', '.join(_COLUMNS)}")
    for row in reader:
        if row.get(None):
            problem = f"the row has more cells than the {len(columns)} columns"
            raise ConfigError(
                str(path), reader.line_num, problem, "Take the cells beyond them out, or name their column"
            )
        try:
            yield _queued({key: (value or "").strip() for key, value in row.items() if key}, document, start)
        except InvalidQuantity as err:
            problem = f"{err.given} is not a valid {err.quantity}"
            raise ConfigError(str(path), reader.line_num, problem, err.remedy) from err


def _queued(row: Mapping[str, str], document: JobsToml, start: datetime) -> Job:
    def read(key: str, parse: Callable[[str], T], default: T) -> T:
        return parse(row[key]) if row.get(key) else default

    for key in _NEEDED:
        if not row.get(key):
            raise InvalidQuantity(key, "nothing", "every job needs a name, work and power")
    if bool(row.get("deadline")) == bool(row.get("within")):
        raise InvalidQuantity("deadline", "neither or both", "give the deadline, or within, such as 48 h")
    sites = frozenset(row.get("sites", "").split())
    home = row.get("home") or next(iter(document.site))
    for site in (*sites, home):
        if site not in document.site:
            raise InvalidQuantity("site", repr(site), f"the sites are {', '.join(document.site)}")
    release, within = read("release", _stamp, start), read("within", parse_seconds, 0.0)
    if not _fits(release, within):
        raise InvalidQuantity("within", row["within"], "the job ends beyond the year 9999; write 48 h")
    return Job(
        name=row["name"],
        release=release,
        deadline=read("deadline", _stamp, release + timedelta(seconds=within)),
        work_h=parse_seconds(row["work"]) / S_PER_HOUR,
        levels=(Level(1.0, parse_power(row["power"]).watts),),
        preemptible=read("preemptible", _flag, False),
        home=home,
        movable=read("movable", _flag, True),
        sites=sites,
        checkpoint_h=read("checkpoint_time", parse_seconds, 0.0) / S_PER_HOUR,
        checkpoint_kwh=read("checkpoint_energy", lambda text: parse_energy(text).to_kwh(), 0.0),
        data_gb=read("data_gb", _number, 0.0),
        count=read("count", _whole, 1),
    )
