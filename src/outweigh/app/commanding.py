"""`run -- CMD`: one command, started when it is clean or cheap and before its deadline leaves no choice."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from outweigh import __version__
from outweigh.app.files import find_ledger
from outweigh.app.places import check_one_market, mixed_note
from outweigh.app.supervising import Options, own_code, run_plan
from outweigh.core.errors import (
    FactorMissing,
    GridDataInvalid,
    GridUnavailable,
    LedgerError,
    MissingExtra,
    SeriesMismatch,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.meaning import Gap
from outweigh.core.series import CarbonSeries, PriceSeries, check_same_question
from outweigh.core.units import parse_power, parse_seconds
from outweigh.grid import (
    Answer,
    Level,
    Sources,
    find_zone,
    open_live,
    open_source,
    price_zones,
    resolve_carbon,
    resolve_prices,
)
from outweigh.plan.planfile import SCHEMA, plan_id
from outweigh.ports import Offer, ReceiptFilter
from outweigh.run.clock import system_now
from outweigh.run.learning import Learned, learn
from outweigh.run.rates import Rates
from outweigh.run.settling import JOB, PREDICTED_J, PREDICTED_S
from outweigh.run.supervisor import Cycle
from outweigh.run.waiting import Start, best_start

Told = Callable[[str], None]
WHEN: Final = ("clean", "cheap", "best", "now")
#: Price of carbon that `best` weighs with [per tonne].
BEST_PRICE: Final = 100.0
_STEP_S: Final = 900.0
_LOOK_S: Final = 900.0
#: Where nobody says how long it runs, this share of the window is taken.
_UNKNOWN_SHARE: Final = 0.5
#: Levels of answers that say when; a table's yearly mean does not.
_TOLD: Final = (Level.LIVE.value, Level.FILE.value)
_LONGEST_S: Final = 14 * 86_400.0
_LONGEST_RUN_S: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One command and when it may run.

    Attributes:
        command: empty only waits.
        when: "clean" (carbon), "cheap" (price), "best" (both, carbon at 100 a tonne) or "now".
        within_s: to be done in so long [s].
        expect_s: how long it runs [s]; None where nobody says.
        power_w: IT power it draws [W]; None where nobody says.
        zones: "ZONE" or "SITE=ZONE"; the first one is home.
        sources, files: asked for prices and carbon; without any, the live sources of the zone's stated order.
        offline: ask nobody.
        least_saving: share below which it is not waited for.
        name: of the job, for its receipts; the command's by default.
        mixed_prices: weigh prices of different markets against one another.
    """

    command: tuple[str, ...]
    when: str = "clean"
    within_s: float = 24 * 3600.0
    expect_s: float | None = None
    power_w: float | None = None
    zones: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    offline: bool = False
    least_saving: float = 0.02
    name: str = ""
    mixed_prices: bool = False

    def __post_init__(self) -> None:
        if self.when not in WHEN:
            raise UsageError(f"--when {self.when} is none of {', '.join(WHEN)}", "Say --when clean")
        if not 0 < self.within_s <= _LONGEST_S:
            raise UsageError(
                f"a window of {self.within_s:g} s", "Give one above 0 and up to 14 d, such as --deadline 24h"
            )
        if self.expect_s is not None and not 0 < self.expect_s <= _LONGEST_RUN_S:
            raise UsageError(
                f"a run time of {self.expect_s:g} s", "Give one above 0 and up to 366 d, such as --expect 2h"
            )
        if not 0 <= self.least_saving < 1:
            raise UsageError(f"a saving of {self.least_saving:g}", "Give a share from 0 to below 1, such as 2%")

    @property
    def title(self) -> str:
        return self.name or Path(self.command[0] if self.command else "wait").name


@dataclass(frozen=True, slots=True)
class Chosen:
    """A start, what it rests on, and how the job is expected to be."""

    start: Start
    rates: Rates
    currency: str
    meaning: str
    zones: tuple[str, ...]
    deadline: datetime
    run_s: float
    power_w: float | None
    notes: tuple[str, ...]
    sources: tuple[dict[str, Any], ...]
    expected: bool = True  # somebody said, or receipts say, how long it runs

    def knows_less_than(self, before: Chosen) -> bool:
        """Whether something that a source or a file told before is not told by one now, or in answer to another
        question."""
        pairs = zip(before.sources, self.sources, strict=True)
        return any(
            known["level"] in _TOLD and (kind not in now or now[kind]["level"] not in _TOLD or
                                         now[kind]["meaning"] != known["meaning"])
            for then, now in pairs for kind, known in then.items()
        )  # fmt: skip

    def sentence(self, now: datetime) -> str:
        wait_s = (self.start.at - now).total_seconds()
        if wait_s < 1:
            return f"starts now: {self.start.why}"
        return f"waits {_span(wait_s)}, until {self.start.at:%Y-%m-%d %H:%M} UTC at {self.start.site}: {self.start.why}"


def seconds(text: str, option: str) -> float:
    """A span as people type it, "72h" or "90 min". Raises UsageError."""
    try:
        value = parse_seconds(text)
    except ValueError as err:
        raise UsageError(f"{option} {text!r} is no span of time", "Write it as 72h, 90min or 30s") from err
    return value


def watts(text: str) -> float:
    """A power as people type it, "2 kW". Raises UsageError."""
    try:
        value = parse_power(text).watts
    except ValueError as err:
        raise UsageError(f"--power {text!r} is no power", "Write it as 2kW or 350W") from err
    if value <= 0:
        raise UsageError(f"--power {text} is not above 0", "Write it as 2kW or 350W")
    return value


def wait(ask: Ask, *, told: Told, sleep: Callable[[float], None] = time.sleep, now: Callable[[], datetime] = system_now,
         ledger: Path | str | None = None) -> Chosen:  # fmt: skip
    """Wait until it is time to start, looking again every quarter of an hour; returns what was chosen last.

    A source that falls silent leaves the last choice, and that is said: a yearly figure that stands in for it says
    nothing of when. One that never answered is not waited for, and that is said too. The deadline comes first: a start
    is only ever put off within it.
    """
    began = now()
    deadline = began + timedelta(seconds=ask.within_s)
    learned = _learned(ask, ledger)
    chosen = choose(ask, began, deadline, learned)
    for text in chosen.notes:
        told(text)
    told(chosen.sentence(began))
    silent = False
    while (left_s := (chosen.start.at - now()).total_seconds()) > 0:
        sleep(min(left_s, _LOOK_S))
        if left_s <= _LOOK_S:
            break
        try:
            again = choose(ask, now(), deadline, learned)
            fell_silent = again.knows_less_than(chosen)
        except (SeriesMismatch, UsageError):
            fell_silent = True  # what stands in for a source answers another question than the rest
        if fell_silent:
            if not silent:
                told(f"a source fell silent: the last choice stays, {chosen.start.at:%Y-%m-%d %H:%M} UTC")
            silent = True
            continue
        silent = False
        if again.rates.steps and math.isfinite(again.start.rate) and again.start.at != chosen.start.at:
            told(again.sentence(now()))
            chosen = again
    return chosen


def run_here(ask: Ask, *, told: Told, ledger: Path | str | None = None, sleep: Callable[[float], None] = time.sleep,
             now: Callable[[], datetime] = system_now, **measuring: Any) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Wait, then run the command here and measure it; the command's exit code, and what was predicted and came.

    Raises:
        CommandNotRun: it does not exist or cannot be executed.
    """
    from outweigh.app.running import exit_code_of, measure, receipt_line

    began = now()
    chosen = wait(ask, told=told, sleep=sleep, now=now, ledger=ledger)
    labels = {
        JOB: ask.title,
        "outweigh.when": ask.when,
        "outweigh.waited_s": repr(round((now() - began).total_seconds(), 3)),
        "outweigh.zone": chosen.zones[0] if chosen.zones else "",
        **_predicted(chosen),
    }
    receipt, address, kept_in = measure(
        ask.command, ledger=ledger, labels=[f"{k}={v}" for k, v in labels.items()], told=told, **measuring
    )
    told(receipt_line(receipt, address, kept_in))
    kwh = receipt.total.value.joules / 3.6e6
    known = math.isfinite(chosen.start.rate) and math.isfinite(chosen.start.now)
    document = {
        "schema": "outweigh.waited/1",
        "receipt": address,
        "exit_code": receipt.exit_code,
        "started": receipt.interval.start.isoformat(),
        "deadline": chosen.deadline.isoformat(),
        "deadline_met": receipt.interval.end <= chosen.deadline,
        "predicted_run_s": chosen.run_s,
        "run_s": receipt.interval.seconds,
        "energy_kwh": kwh,
        "grade": receipt.grade.value,
        **_choice(chosen),
        "saved_share": chosen.start.saving if known else None,
    }
    return exit_code_of(receipt), document


def run_there(
    ask: Ask, options: Options, *, told: Told, shown: Callable[[Cycle, int], None],
    now: Callable[[], datetime] = system_now,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Submit the command to a scheduler with its begin time, and follow it to its end."""
    began = now()
    chosen = choose(ask, began, began + timedelta(seconds=ask.within_s), _learned(ask, options.ledger))
    for text in chosen.notes:
        told(text)
    told(chosen.sentence(began))
    document = one_job_plan(ask, chosen, began)
    # A zone that is given without a place says what power the scheduler draws, and not where in it to run.
    placed = any("=" in text for text in ask.zones)
    came = run_plan(document, ask.title, options, told=told, shown=shown, names_sites=placed)
    return own_code(came), came


def choose(ask: Ask, now: datetime, deadline: datetime, learned: Learned) -> Chosen:
    """Where and when to start, on what is known now."""
    notes: list[str] = []
    run_s, power_w, expected = _expected(ask, learned, deadline - now, notes)
    zones = [_named(text) for text in ask.zones]
    if not zones:
        raise UsageError(
            "nobody says where the command runs", "Name the grid zone, as in --zone DE, or --zone SITE=ZONE"
        )
    start = datetime.fromtimestamp(now.timestamp() // _STEP_S * _STEP_S, now.tzinfo)
    steps = math.ceil((deadline - start).total_seconds() / _STEP_S)
    edges = [start.timestamp() + i * _STEP_S for i in range(steps + 1)]
    window = Interval(start, start + timedelta(seconds=steps * _STEP_S))
    carbon = np.full((len(zones), steps), np.nan)
    price = np.full((len(zones), steps), np.nan)
    prices, carbons, sources = list[Answer[PriceSeries]](), list[CarbonSeries](), list[dict[str, Any]]()
    for row, (site, zone) in enumerate(zones):
        key = find_zone(zone, {*price_zones()}).key
        found: dict[str, Any] = {}
        for kind, array, offer, resolve in (
            ("carbon", carbon, Offer.CARBON, resolve_carbon), ("price", price, Offer.PRICES, resolve_prices),
        ):  # fmt: skip
            if (
                ask.when == "now"
                or (kind == "price" and ask.when == "clean")
                or (kind == "carbon" and ask.when == "cheap")
            ):
                continue
            try:
                answer = resolve(key, window, _sources(ask, key, offer, notes), max_gap=1.0)
            except (FactorMissing, GridUnavailable, GridDataInvalid, MissingExtra) as err:
                notes.append(f"{site}: no {kind} ({err})")
                continue
            values = answer.series.onto(edges, max_gap=1.0).values
            array[row] = [math.nan if isinstance(value, Gap) else float(value) for value in values]
            if isinstance(answer.series, CarbonSeries):
                carbons.append(answer.series)
            else:
                prices.append(answer)
            found[kind] = {"level": answer.level.value, "meaning": str(answer.series.meaning)}
            if answer.level not in (Level.LIVE, Level.FILE):
                notes.append(f"{site}: one yearly figure of {kind} ({answer.source}) says where, and not when")
        sources.append(found)
    if not ask.mixed_prices:
        check_one_market(prices, "or say --mixed-prices")
    notes.extend(mixed_note(prices))
    for one in carbons[1:]:
        check_same_question(carbons[0], one)
    currencies = {one.series.meaning.currency for one in prices}
    if len(currencies) > 1:
        raise UsageError(
            f"prices are in different money ({', '.join(sorted(currencies))})",
            "Name zones of one currency, or decide by --when clean",
        )
    rates = Rates(tuple(site for site, _ in zones), start, _STEP_S, price, carbon, np.ones(len(zones)))
    weighed = rates
    if ask.when == "cheap" or np.isnan(carbon).all():
        weighed = replace(weighed, carbon=np.zeros_like(carbon))
    if ask.when == "clean" or (np.isnan(price).all() and not np.isnan(carbon).all()):
        weighed = replace(weighed, price=np.zeros_like(price))
    spare_s = 0.02 * run_s
    if ask.when == "now":
        found_start = Start(rates.sites[0], now, math.nan, math.nan, "as asked")
    else:
        found_start = best_start(
            weighed, now, deadline, run_s, carbon_price=BEST_PRICE, least_saving=ask.least_saving, spare_s=spare_s
        )
    return Chosen(
        found_start, rates, next(iter(currencies), "EUR"), str(carbons[0].meaning) if carbons else "not looked up",
        tuple(zone for _, zone in zones), deadline, run_s, power_w, tuple(dict.fromkeys(notes)), tuple(sources),
        expected,
    )  # fmt: skip


def one_job_plan(ask: Ask, chosen: Chosen, now: datetime) -> dict[str, Any]:
    """The choice as a plan of one job, of schema outweigh.plan/1, so that it is followed as any plan."""
    rates, start = chosen.rates, chosen.start
    power_w = chosen.power_w or 1.0
    end = start.at + timedelta(seconds=chosen.run_s)
    sites = [
        {
            "name": site, "pue": 1.0, "capacity_kw": None, "load_kw": [], "move_cost_per_gb": 0.0,
            "demand_rate_per_kw": 0.0, "peak_so_far_kw": 0.0, "zone": chosen.zones[row],
            "price_per_kwh": _known(rates.price[row]), "intensity_g_per_kwh": _known(rates.carbon[row]),
            "sources": chosen.sources[row],
        }
        for row, site in enumerate(rates.sites)
    ]  # fmt: skip
    job = {
        "name": ask.title, "count": 1, "home": rates.sites[0], "release": now.isoformat(),
        "deadline": chosen.deadline.isoformat(), "work_h": chosen.run_s / 3600, "preemptible": False,
        "levels": [{"speed": 1.0, "power_w": power_w}], "power_known": chosen.power_w is not None,
        "work_known": chosen.expected,
        "allowed_sites": sorted(rates.sites),
        "checkpoint_h": 0.0, "checkpoint_kwh": 0.0, "checkpoint_signal": "", "checkpoint_grace_s": 30.0,
        "data_gb": 0.0, "cpus": 1, "gpus": 0, "nodes": 1, "command": list(ask.command),
        "pieces": [{
            "run": 0, "site": start.site, "start": start.at.isoformat(), "end": end.isoformat(), "count": 1,
            "power_w": power_w, "energy_kwh": power_w * chosen.run_s / 3.6e6,
        }],
    }  # fmt: skip
    document = {
        "schema": SCHEMA, "outweigh_version": __version__, "created": now.isoformat(), "source": "", "source_name": "",
        "currency": chosen.currency, "carbon_price_per_tonne": BEST_PRICE, "carbon_meaning": chosen.meaning,
        "horizon": {
            "start": rates.start.isoformat(), "step_s": rates.step_s, "steps": rates.steps,
            "end": (rates.start + timedelta(seconds=rates.steps * rates.step_s)).isoformat(),
        },
        "sites": sites, "jobs": [job], "one_command": True,
        # Twice the same command is two jobs: what tells them apart is when they were asked for.
        "notes": [hashlib.sha256(f"{now.isoformat()} {time.monotonic_ns()}".encode()).hexdigest()[:12]],
    }  # fmt: skip
    return {**document, "plan_id": plan_id(document | {"created_at": now.isoformat()})}


@contextmanager
def wait_for(
    when: str = "clean", *, within: str = "24h", expect: str | None = None, zone: str = "", sources: Sequence[str] = (),
    files: Sequence[Path] = (), offline: bool = False, told: Told = lambda _: None,
    sleep: Callable[[float], None] = time.sleep, now: Callable[[], datetime] = system_now,
) -> Iterator[Chosen]:  # fmt: skip
    """`with outweigh.wait_for("clean", within="12h", expect="30min", zone="DE"):` waits, then runs the block.

    Args:
        when: "clean", "cheap", "best" or "now".
        within: the block is to be done in so long.
        expect: how long it takes; half of `within` where it is not said.
        zone: of the grid.

    Yields:
        What was chosen: `start.at`, `start.why`, `start.saving`.

    Raises:
        UsageError: no zone, or words that are no times.
    """
    ask = Ask(
        (), when, seconds(within, "within"), None if expect is None else seconds(expect, "expect"), None,
        (zone,) if zone else (), tuple(sources), tuple(files), offline,
    )  # fmt: skip
    yield wait(ask, told=told, sleep=sleep, now=now)


def document_of(chosen: Chosen, now: datetime) -> dict[str, Any]:
    """A choice without a command, as JSON."""
    return {
        "schema": "outweigh.waited/1",
        "started": now.isoformat(),
        "deadline": chosen.deadline.isoformat(),
        **_choice(chosen),
        "saved_share": chosen.start.saving,
    }


def _choice(chosen: Chosen) -> dict[str, Any]:
    return {
        "site": chosen.start.site,
        "start": chosen.start.at.isoformat(),
        "why": chosen.start.why,
        "carbon_meaning": chosen.meaning,
        "sources": list(chosen.sources),
        "notes": list(chosen.notes),
    }


def _predicted(chosen: Chosen) -> dict[str, str]:
    """Labels of what was said of it; what nobody said teaches nothing."""
    if not chosen.expected:
        return {}
    found = {PREDICTED_S: repr(chosen.run_s)}
    return found if chosen.power_w is None else {**found, PREDICTED_J: repr(chosen.power_w * chosen.run_s)}


def _expected(ask: Ask, learned: Learned, window: timedelta, notes: list[str]) -> tuple[float, float | None, bool]:
    """Run time [s], power [W], and whether anybody knows the run time."""
    if ask.expect_s is not None:
        run_s = ask.expect_s
    elif learned.run_s is not None:
        run_s = learned.run_s
        notes.append(
            f"{ask.title}: {_span(run_s)}, the mean of {learned.timed} earlier receipts (--expect says otherwise)"
        )
    else:
        run_s = _UNKNOWN_SHARE * max(window.total_seconds(), 1.0)
        notes.append(f"nobody says how long it runs: half of the window is kept for it, {_span(run_s)} (say --expect)")
    power_w = ask.power_w if ask.power_w is not None else learned.power_w
    return run_s, power_w, ask.expect_s is not None or learned.run_s is not None


def _learned(ask: Ask, ledger: Path | str | None) -> Learned:
    if not ask.command:
        return Learned()
    from outweigh.ledger import open_ledger

    try:
        store = open_ledger(find_ledger(ledger), create=False)
    except LedgerError:
        return Learned()  # there is none yet, so there is nothing to learn from
    try:
        return learn(receipt for _, receipt in store.receipts(ReceiptFilter())).get(ask.title, Learned())
    finally:
        store.close()


def _sources(ask: Ask, zone: str, offer: Offer, notes: list[str]) -> Sources:
    live = [open_source(text) for text in ask.sources]
    files = [open_source(f"file:{each}") for each in ask.files]
    if not live and not files and not ask.offline:
        opened, passed = open_live(zone, offer)
        notes.extend(f"{each.source}: {each.reason}" for each in passed)
        live = opened
    return Sources(live, files)


def _named(text: str) -> tuple[str, str]:
    site, equals, zone = text.partition("=")
    return (site, zone) if equals else (text, text)


def _known(values: Any) -> list[float | None]:
    return [each if math.isfinite(each) else None for each in values.tolist()]


def _span(seconds_: float) -> str:
    """
    >>> _span(5400), _span(90)
    ('1.5 h', '1.5 min')
    """
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds_ >= size:
            return f"{seconds_ / size:.3g} {unit}"
    return f"{seconds_:.3g} s"
