"""`outweigh plan JOBS --backtest`: the jobs of a file, day after day over a stretch of history, policy by policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from outweigh import __version__
from outweigh.app.backtest_history import check_history, not_measured, sources_of
from outweigh.app.places import Sited, Surveyed, survey
from outweigh.config.jobs import load_jobs
from outweigh.core.errors import FactorMissing, GapsTooLarge, SeriesMismatch, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.meaning import CarbonMeaning, Gap, PriceMeaning
from outweigh.core.printable import printable
from outweigh.core.series import CarbonSeries, PriceSeries
from outweigh.grid import Answer, Level, Sources, find_zone, open_source
from outweigh.grid.archive import Archive, SlotKind, default_folder
from outweigh.plan.backtest import CONFIDENCE, FEWEST_WEEKS, RESAMPLES, WEEK_S, Backtest, Fared, backtest
from outweigh.plan.backtest_capacity import BestConstantWithin, PlanOnceWithin, ThresholdWithin
from outweigh.plan.backtest_policies import BestConstant, Online, PlanOnce, PlanRolling, Policy, Threshold
from outweigh.plan.problem import G_PER_TONNE, Floats, Job, Places
from outweigh.plan.rolling import Rules
from outweigh.plan.rolling_outlook import Outlook, Perfect, Persistence
from outweigh.plan.sites import PlanSpec

SCHEMA: Final = "outweigh.backtest/1"
COLUMNS: Final = ("policy", "objective", "saving", "interval", "of oracle", "cost", "carbon", "late")
#: What a back-test may plan on.
FORECASTS: Final = ("persistence", "own", "archive", "perfect")
# What thresholds look back on, and what our own forecast is fitted on, before the first job.
BACK_DAYS, OWN_DAYS = 28, 120
#: Repetitions of jobs that are played at most.
MOST_JOBS: Final = 200_000
_FIRST_YEAR, _LAST_YEAR = 1900, 9000
_OWN_A_DAY = 4  # issues of our own forecast
_HOUR_S = 3600.0
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Backtested:
    """A back-test as a document of schema outweigh.backtest/1 (see `document_of`), rows for a table, and sentences."""

    document: dict[str, Any]
    rows: list[tuple[str, ...]]
    notes: list[str]


def backtest_file(
    path: Path,
    *,
    window: Interval | None = None,
    every_h: float = 24.0,
    forecast: str = "persistence",
    sources: Sequence[str] = (),
    files: Sequence[Path] = (),
    now: datetime | None = None,
    progress: Progress = lambda _what, _fraction: None,
) -> Backtested:
    """Play the jobs of a file again and again over history, and say what each policy would have saved.

    Args:
        window: stretch of history; the year before the jobs begin by default. Its start is moved to the hour of day at
            which the jobs begin.
        every_h: the jobs are repeated at this distance [h], shifted in absolute time.
        forecast: what the plans go by: "persistence"; "own", fitted on the stretch before the window; "archive" or
            "archive:FOLDER", as it was known; "perfect".
        sources, files: where carbon and prices of the past come from, as for a plan.

    Raises:
        UsageError: a forecast we do not know, a window too short for the jobs.
        FactorMissing, SeriesMismatch: the archive never had a forecast, or a price, that answers what the past answers.
        GapsTooLarge: nothing is known of the window. More as `planning.plan_file`.
    """
    kind, _, argument = forecast.partition(":")
    if kind not in FORECASTS:
        raise UsageError(f"there is no forecast {forecast!r}", f"Choose {', '.join(FORECASTS)} or archive:FOLDER")
    spec = load_jobs(path, now or datetime.now(UTC))
    first, last = (window.start, window.end) if window else (spec.start, spec.start)
    if first.year <= _FIRST_YEAR or last.year > _LAST_YEAR:
        raise UsageError(
            f"there is no history of {first.year:04} to {last.year:04}",
            f"Begin after {_FIRST_YEAR}, and end before {_LAST_YEAR}",
        )
    window = window or Interval(spec.start - timedelta(days=365), spec.start)
    jobs, window = repeated(spec, window, every_h)
    back = timedelta(days=OWN_DAYS if kind == "own" else BACK_DAYS)
    steps = math.ceil((window.end - window.start + back).total_seconds() / spec.step_s)
    asked = Sources([open_source(text) for text in sources], [open_source(f"file:{each}") for each in files])
    for each in asked.files:
        each.zones()  # a file is read, and refused, even where nobody asks it
    progress("carbon and price", 0.0)
    past = replace(spec, start=window.start - back, steps=steps, jobs=jobs)
    found = survey(past, asked)
    flat = [one.site.name for one in found.sited if one.carbon.level not in (Level.LIVE, Level.FILE, Level.DECLARED)]
    if flat:
        raise GapsTooLarge(
            f"the hourly carbon intensity of {', '.join(flat)}",
            f"[{past.start:%Y-%m-%d}, {window.end:%Y-%m-%d}), with the {back.days} days before that are looked back on",
            100,
            "Give the history as a file (--file), or name a source that has it (--source)",
        )
    check_history(found)
    price = 0.0 if spec.carbon_price is None else spec.carbon_price.amount
    outlook = _outlook(kind, argument, past, found, price, window.start)
    document = backtest_document(
        jobs, found.places, carbon_price_per_tonne=price, currency=found.currency, outlook=outlook,
        work_quantile=spec.work_quantile, capacity_kw=found.capacity.limit, progress=progress,
    )  # fmt: skip
    document |= {
        "source": spec.source,
        "carbon_meaning": str(found.sited[0].carbon.series.meaning),
        "every_h": every_h,
        "sources": sources_of(found),
    }
    document["notes"] = [*not_measured(found), *document["notes"], *found.notes]
    if any(site.demand_charge is not None for site in spec.sites):
        document["notes"].append("Demand charges are not in these figures: a back-test weighs energy and carbon.")
    rows = [_row(one, found.currency) for one in document["policies"]]
    return Backtested(document, rows, [printable(line) for line in _lines(document)])


def repeated(spec: PlanSpec, window: Interval, every_h: float) -> tuple[tuple[Job, ...], Interval]:
    """The jobs of a file, shifted into `window` and repeated there; and the window from the first copy on.

    Raises:
        UsageError: a distance of 0 or less, or no copy of all jobs fits.
    """
    if not 0 < every_h < math.inf:
        raise UsageError(f"jobs cannot repeat every {every_h:g} h", "Give more than 0 hours")
    first = min(job.release for job in spec.jobs)
    last = max(job.deadline for job in spec.jobs)
    every = timedelta(hours=every_h)
    # By whole days, so that what begins at night still does.
    begin = first - timedelta(days=math.floor((first - window.start) / timedelta(days=1)))
    many = max(0.0, (window.end - begin - (last - first)) / every if every else math.inf) * len(spec.jobs)
    if many > MOST_JOBS:
        raise UsageError(
            f"repeating {len(spec.jobs)} jobs every {every_h:g} h makes {many:.3g} of them",
            f"Play at most {MOST_JOBS}: repeat them less often (--every), or over less time",
        )
    copies, n = list[Job](), 0
    while begin + n * every + (last - first) <= window.end:
        shift = begin + n * every - first
        copies += [
            replace(job, name=f"{job.name} {n + 1}", release=job.release + shift, deadline=job.deadline + shift)
            for job in spec.jobs
        ]
        n += 1
    if not copies:
        span_h = (last - first).total_seconds() / _HOUR_S
        raise UsageError(
            f"the window of {window.seconds / _HOUR_S:g} h is shorter than the jobs, which take {span_h:g} h from the "
            "first release to the last deadline",
            "Give a longer window",
        )
    return tuple(copies), Interval(begin, window.end)


def backtest_document(
    jobs: Sequence[Job],
    came: Places,
    *,
    carbon_price_per_tonne: float,
    currency: str,
    outlook: Outlook,
    work_quantile: float = 0.5,
    capacity_kw: Floats | None = None,
    progress: Progress = lambda _what, _fraction: None,
) -> dict[str, Any]:
    """Play the usual policies and tell what came of them as a document.

    Args:
        came: what came, on the steps that the jobs' times are counted in.
        outlook: what the plans go by.
        capacity_kw: IT power the sites can give [kW], shape (S,) or (S, T). Where there is any, every policy keeps to
            it, starting now and the oracle too; the double threshold, whose promise is of one job alone, is left out.
    """
    rate = came.rate(carbon_price_per_tonne)
    per_day = max(1, round(86400 / came.step_s))
    limit = np.empty(0) if capacity_kw is None or np.isinf(capacity_kw).all() else capacity_kw
    policies = _within(outlook, per_day, limit) if limit.size else _without(outlook, per_day)
    told = [_Told(policy, progress, i / (len(policies) + 1)) for i, policy in enumerate(policies)]
    found = backtest(
        came.jobs(jobs, work_quantile=work_quantile), came, told, carbon_price_per_tonne=carbon_price_per_tonne,
        capacity_kw=capacity_kw,
    )  # fmt: skip
    progress("done", 1.0)
    notes = []
    if found.left_out:
        notes.append(
            f"{len(found.left_out)} of {len(jobs)} jobs are left out: of their windows something is not known."
        )
    if found.within_capacity:
        notes.append(
            "Every policy keeps to the capacity of the sites, starting now and the oracle too. The double threshold is "
            "left out: what it promises holds for a job that is alone."
        )
        undone = {one.name: one.undone for one in found.fared if one.undone}
        if undone:
            who = ", ".join(f"{many} by {name}" for name, many in undone.items())
            notes.append(f"Left undone when the history ends: {who}. Less work is no saving, so none is stated there.")
        if any(one.late for one in found.fared):
            notes.append("A late job runs after its deadline, where it may be cheaper: read savings beside `late`.")
    elif np.nanmin(rate) <= 0:
        notes.append("Rates fall to 0 or below: no competitive ratio holds for the double threshold.")
    return document_of(found, came, outlook, currency, carbon_price_per_tonne, notes)


def _without(outlook: Outlook, per_day: int) -> list[Policy]:
    return [
        BestConstant(per_day),
        Threshold(outlook, back=28 * per_day),
        Threshold(outlook, percentile=None, back=7 * per_day, adaptive=True),
        Online(back=28 * per_day),
        PlanOnce(outlook),
        PlanOnce(outlook, within_error=True),
        PlanRolling(outlook),
    ]


def _within(outlook: Outlook, per_day: int, limit: Floats) -> list[Policy]:
    return [
        BestConstantWithin(per_day),
        ThresholdWithin(outlook, back=28 * per_day),
        ThresholdWithin(outlook, percentile=None, back=7 * per_day, adaptive=True),
        PlanOnceWithin(outlook),
        PlanOnceWithin(outlook, within_error=True),
        PlanRolling(outlook, Rules(capacity_kw=limit)),
    ]


class _Told:
    """A policy that says when it begins."""

    def __init__(self, policy: Policy, progress: Progress, at: float) -> None:
        self._policy, self._progress, self._at = policy, progress, at

    @property
    def name(self) -> str:
        return self._policy.name

    @property
    def what(self) -> str:
        return self._policy.what

    def play(self, case: Any) -> Any:
        self._progress(self.name, self._at)
        return self._policy.play(case)


def document_of(
    found: Backtest, came: Places, outlook: Outlook, currency: str, carbon_price: float, notes: Sequence[str]
) -> dict[str, Any]:
    """The document of a back-test, plain values only. Money is in `currency`, shares are fractions of 1.

    - schema, outweigh_version, created; currency, carbon_price_per_tonne; start, end, step_s of the history;
      jobs: how many; sites: names; forecast: what the plans went by; confidence, resamples of the intervals.
    - within_capacity: whether all policies kept to the capacity of the sites; otherwise none did.
    - policies: rows of policy, what, cost, carbon_g, objective; saving_share with saving_low_share and
      saving_high_share (None below four weeks), saving_cost_share, saving_carbon_share, all against starting now, and
      None where either left jobs undone; oracle_share (of its saving; None where there is none), regret (beyond the
      oracle; None where jobs are undone), late and undone (jobs), pauses, moved (jobs away from home);
      expectation_error (root mean square of expected less realised saving of a job), within_error_share (of jobs whose
      expected saving was below that error so far), noise.
    - recommendation: in a sentence. weeks: rows of start, policy, objective, saving_share: for a chart over time.
      hours: rows of hour (of the day, UTC), policy, energy_kwh (facility), and mean rate [currency/kWh]: for a chart of
      when each policy runs.
    - notes: sentences.

    `backtest_file` adds source, carbon_meaning, every_h, and sources: per site its name and zone, and of carbon and
    price what a plan says of them: level, quality, grade, provider, source, licence, vintage.
    """
    now = found.fared[0]
    home = now.site
    span = timedelta(seconds=came.steps * came.step_s)
    first = came.start + timedelta(seconds=float(found.jobs.release.min()) * came.step_s)
    return {
        "schema": SCHEMA,
        "outweigh_version": __version__,
        "created": datetime.now(UTC).isoformat(),
        "currency": currency,
        "carbon_price_per_tonne": carbon_price,
        "start": first.isoformat(),
        "end": (came.start + span).isoformat(),
        "step_s": came.step_s,
        "jobs": int(found.jobs.count.sum()),
        "within_capacity": found.within_capacity,
        "sites": list(came.names),
        "forecast": outlook.name,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "policies": [_policy(one, now, int(found.jobs.count[one.site != home].sum())) for one in found.fared],
        "recommendation": recommendation(found),
        "weeks": list(_weeks(found, came)),
        "hours": list(_hours(found, came, carbon_price)),
        "notes": list(notes),
    }


def recommendation(found: Backtest) -> str:
    """What the back-test says to do, in a sentence: a saving inside the noise is none."""
    now = found.fared[0]
    if now.undone:
        return "Nothing is compared: starting at once leaves jobs undone within the capacity."
    fair = [one for one in found.fared[1:-1] if one.saving is not None and one.late <= now.late]
    plans = [one for one in fair if one.error is not None or one.name.startswith("rolling")]
    constant = next((one for one in fair if one.name == BestConstant.name), None)
    if not plans:
        return "Start at once: every plan leaves more jobs late than starting at once does."
    best = min(plans, key=lambda one: one.objective)
    if best.noise or best.saving is None or best.saving.value <= 0:
        return "Start at once: what planning would have saved lies inside the forecast's own error."
    if constant is not None and constant.objective <= best.objective:
        return f"Keep one rule, {constant.what}: no plan on this forecast saved more."
    return f"Plan ({best.name}): it saved {100 * best.saving.value:.1f} % of what starting at once costs."


def _policy(one: Fared, now: Fared, moved: int) -> dict[str, Any]:
    judged = one is not now
    return {
        "policy": one.name,
        "what": one.what,
        "cost": one.cost,
        "carbon_g": one.carbon_g,
        "objective": one.objective,
        "saving_share": one.saving.value if one.saving else None,
        "saving_low_share": one.saving.low if one.saving else None,
        "saving_high_share": one.saving.high if one.saving else None,
        "saving_cost_share": one.saving_cost,
        "saving_carbon_share": one.saving_carbon,
        "oracle_share": one.of_oracle,
        "regret": one.regret,
        "late": one.late,
        "undone": one.undone,
        "pauses": one.pauses,
        "moved": moved,
        "expectation_error": one.error,
        "within_error_share": one.within_error,
        "noise": one.noise if judged and one.saving else None,
    }


def _weeks(found: Backtest, came: Places) -> Iterator[dict[str, Any]]:
    first = found.fared[0]
    now = first.week
    for one in found.fared:
        whole = not (one.undone or first.undone)
        for week in np.unique(found.week_of).tolist():
            base = float(now[week])
            yield {
                "start": (came.start + timedelta(seconds=week * WEEK_S)).isoformat(),
                "policy": one.name,
                "objective": float(one.week[week]),
                "saving_share": (base - float(one.week[week])) / abs(base) if base and whole else None,
            }


def _hours(found: Backtest, came: Places, carbon_price: float) -> Iterator[dict[str, Any]]:
    offset_s = came.start.hour * _HOUR_S + came.start.minute * 60
    hour = ((np.arange(came.steps) * came.step_s + offset_s) // _HOUR_S % 24).astype(np.int64)
    with np.errstate(invalid="ignore"):
        rate = came.rate(carbon_price)
    for one in found.fared:
        by_hour = np.bincount(hour, one.hourly_kwh, minlength=24)
        for at in range(24):
            known = rate[:, hour == at]
            known = known[~np.isnan(known)]
            mean = float(known.mean()) if known.size else None
            yield {"hour": at, "policy": one.name, "energy_kwh": float(by_hour[at]), "mean_rate_per_kwh": mean}


def _row(one: dict[str, Any], currency: str) -> tuple[str, ...]:
    low, high, oracle = one["saving_low_share"], one["saving_high_share"], one["oracle_share"]
    return (
        one["policy"],
        f"{one['objective']:.4g} {currency}",
        _saved(one),
        "" if low is None else f"{100 * low:.1f} to {100 * high:.1f} %",
        "" if oracle is None else f"{100 * oracle:.0f} %",
        f"{one['cost']:.4g} {currency}",
        f"{one['carbon_g'] / G_PER_TONNE:.3g} t",
        str(one["late"]),
    )


def _saved(one: dict[str, Any]) -> str:
    if one["saving_share"] is None:
        return f"none: {one['undone']} undone" if one["undone"] else "none: nothing to compare"
    return f"{100 * one['saving_share']:.1f} %" + (" (noise)" if one["noise"] else "")


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield document["recommendation"]
    if all(one["saving_low_share"] is None for one in document["policies"]):
        yield f"Fewer than {FEWEST_WEEKS} weeks: no interval is given for the savings."
    plans = [one for one in document["policies"] if one["within_error_share"] is not None]
    if plans:
        share = plans[0]["within_error_share"]
        yield f"Of {share:.0%} of the jobs the expected saving was below the error of such expectations so far."
    yield from document["notes"]


# --- what was known when --------------------------------------------------------------------------------


def _outlook(
    kind: str, argument: str, spec: PlanSpec, found: Surveyed, carbon_price: float, begin: datetime
) -> Outlook:
    rate = found.places.rate(carbon_price)
    per_day = max(1, round(86400 / spec.step_s))
    if kind == "perfect":
        return Perfect(rate)
    if kind == "persistence":
        return Persistence(rate, per_day)
    longest_s = max((job.deadline - job.release).total_seconds() for job in spec.jobs)
    ahead = math.ceil(longest_s / spec.step_s)
    if kind == "own":
        every = max(1, per_day // _OWN_A_DAY)
        known = _own(found, begin)
        return AsOf(found.places, carbon_price, known, "our own forecast", ahead=ahead, every=every)
    name = f"archive {argument}".strip()
    return AsOf(found.places, carbon_price, _archived(argument, found), name, ahead=ahead)


Known = tuple[CarbonSeries | PriceSeries | float, CarbonSeries | PriceSeries | float]  # carbon, price
Meaning = CarbonMeaning | PriceMeaning
Knowing = Callable[[datetime, Interval], list[Known]]
S = TypeVar("S", CarbonSeries, PriceSeries)


class AsOf:
    """Series as known at a moment, asked for once a vintage and turned into rates; all policies look at the same ones.

    Args:
        places: the steps, PUE and names; what came is not looked at.
        knowing: (moment, window) -> carbon [gCO2e/kWh] and price [currency/kWh] of every site as known then.
        ahead: steps asked for at every vintage; the longest window of a job. Beyond them nothing is known.
        every: steps between vintages.
    """

    def __init__(
        self, places: Places, carbon_price: float, knowing: Knowing, name: str, *, ahead: int, every: int = 1
    ) -> None:
        self.places, self.carbon_price, self.knowing, self.name, self.every = places, carbon_price, knowing, name, every
        self._ahead = ahead + every
        self._held: dict[int, Floats] = {}

    def vintage(self, step: int) -> int:
        return step // self.every

    def rates(self, step: int, until: int) -> Floats:
        """See `Outlook.rates`."""
        issued = step - step % self.every
        if issued not in self._held:
            self._held[issued] = self._asked(issued, min(self.places.steps, issued + self._ahead))
        known = self._held[issued][:, step - issued : until - issued]
        missing = until - step - known.shape[1]
        return np.pad(known, ((0, 0), (0, missing)), constant_values=np.nan) if missing else known

    def settled(self, window: int) -> Floats | None:
        """Always revised."""
        return None

    def _asked(self, issued: int, until: int) -> Floats:
        places = self.places
        at = places.start + timedelta(seconds=issued * places.step_s)
        window = Interval(at, places.start + timedelta(seconds=until * places.step_s))
        edges = [window.start.timestamp() + i * places.step_s for i in range(until - issued + 1)]
        known = self.knowing(at, window)
        pue = places.pue[:, issued:until] if places.pue.ndim == 2 else places.pue
        part = Places(
            places.names, at, places.step_s,
            price=np.array([[_values(price, edges) for _, price in known]]),
            carbon=np.array([[_values(carbon, edges) for carbon, _ in known]]),
            pue=pue,
        )  # fmt: skip
        return part.rate(self.carbon_price)


def _values(series: CarbonSeries | PriceSeries | float, edges_s: Sequence[float]) -> list[float]:
    if isinstance(series, float):
        return [series] * (len(edges_s) - 1)
    return [math.nan if isinstance(value, Gap) else value for value in series.onto(edges_s).values]


def _own(found: Surveyed, begin: datetime) -> Knowing:
    """Forecasts fitted on what was known before the first job, then told what came as it came."""
    from outweigh.grid.forecasting import MAX_REACH_H, Forecaster, fit

    def before(series: S) -> S:
        return series.window(Interval(series.interval.start, begin))

    def carbon(one: Answer[CarbonSeries]) -> float | Forecaster[CarbonSeries]:
        flat = one.level is Level.DECLARED or len(one.series) == 1
        return one.series.mean_value() if flat else fit(before(one.series)).knowing(one.series)

    def price(one: Answer[PriceSeries]) -> float | Forecaster[PriceSeries]:
        flat = one.level is Level.DECLARED or len(one.series) == 1
        return one.series.mean_value() if flat else fit(before(one.series)).knowing(one.series)

    models = [(carbon(one.carbon), price(one.price)) for one in found.sited]

    def knowing(at: datetime, window: Interval) -> list[Known]:
        reach = Interval(window.start, min(window.end, at + timedelta(hours=MAX_REACH_H - 1)))
        return [
            (
                each if isinstance(each, float) else each.predict(at, reach),
                paid if isinstance(paid, float) else paid.predict(at, reach),
            )
            for each, paid in models
        ]

    return knowing


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a site asks the archive: the questions that what came answers, or a figure that was known all along."""

    zone: str
    carbon: Meaning | float
    price: Meaning | float


def _archived(argument: str, found: Surveyed) -> Knowing:
    """What the archive had at the moment: forecasts where it has any, prices as far as they were published."""
    folder = Path(argument) if argument else default_folder()
    if not folder.is_dir():
        raise UsageError(f"there is no archive in {folder}", "`outweigh grid fetch ZONE --source NAME` makes one")
    archive = Archive(folder)
    sites = [_asked(one, archive) for one in found.sited]

    def knowing(at: datetime, window: Interval) -> list[Known]:
        def of(zone: str, asked: Meaning | float) -> CarbonSeries | PriceSeries | float:
            if isinstance(asked, float):
                return asked
            ask = archive.forecast_as_of if isinstance(asked, CarbonMeaning) else archive.known
            try:
                return ask(zone, asked, window, at)
            except FactorMissing:  # nothing yet: then a job starts at once
                return math.nan

        return [(of(one.zone, one.carbon), of(one.zone, one.price)) for one in sites]

    return knowing


def _asked(one: Sited, archive: Archive) -> _Asked:
    """Raises FactorMissing, SeriesMismatch where the archive never has what is asked; not yet is another thing."""
    zone = find_zone(one.site.zone, archive.zones()).key
    carbon, price = _question(one.carbon.series), _question(one.price.series)
    held = archive.held(zone)
    ahead = [each.meaning for each in held if SlotKind.FORECAST in each.kinds]
    _check_held(carbon, [each for each in ahead if isinstance(each, CarbonMeaning)], archive, zone, "--forecast")
    paid = [each.meaning for each in held if isinstance(each.meaning, PriceMeaning)]
    _check_held(price, paid, archive, zone, "--price")
    return _Asked(zone, carbon, price)


def _question(came: CarbonSeries | PriceSeries) -> Meaning | float:
    return came.mean_value() if len(came) == 1 else came.meaning


def _check_held(asked: Meaning | float, held: Sequence[Meaning], archive: Archive, zone: str, option: str) -> None:
    if isinstance(asked, float) or asked in held:
        return
    if held:
        raise SeriesMismatch(
            f"What came in {zone} ({asked})",
            f"what the archive has of it ({'; '.join(str(one) for one in held)})",
            "Take the past and its forecasts from one source",
        )
    what = f"forecast of {asked}" if option == "--forecast" else str(asked)
    remedy = f"The archive {archive.folder} holds none; `outweigh grid fetch {zone} --source NAME {option}` keeps it"
    raise FactorMissing(what, zone, (), remedy)
