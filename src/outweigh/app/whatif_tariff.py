"""`outweigh whatif tariff`: files into loads and tariffs, questions asked of the engine, answers as rows."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo

from outweigh.app.whatif_csv import FEWEST, YEARS, Row, read_rows, times
from outweigh.config.tariff_text import tariff_text
from outweigh.config.tariffs import load_tariff
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError
from outweigh.core.quantities import CarbonIntensity, Power
from outweigh.core.rates import parse_intensity, price_unit
from outweigh.core.series import DataQuality, Market, Origin, PriceMeaning, PriceSeries
from outweigh.core.units import parse_money, parse_power, parse_seconds
from outweigh.whatif.tariff.billing import Bill
from outweigh.whatif.tariff.clocks import Month, label
from outweigh.whatif.tariff.cooling import Cooling, Stage
from outweigh.whatif.tariff.load import Load, Run
from outweigh.whatif.tariff.marginal import CarbonPrice, Curve, Marginal, Question, Way, curve, ways
from outweigh.whatif.tariff.terms import DAY_NAMES, Kind, Tariff
from outweigh.whatif.tariff.urdb import tariff_from_urdb

_MOST_KW = Decimal(10) ** 9
_MOST_PUE = 1e3
Progress = Callable[[str, float], None]
_MOST_RUNS = 1000
SHOWN = (
    ("energy", (Kind.ENERGY,)),
    ("demand", (Kind.DEMAND,)),
    ("ratchet", (Kind.RATCHET,)),
    ("fixed, minimum", (Kind.FIXED, Kind.MINIMUM, Kind.ROUNDING)),
    ("riders", (Kind.RIDER,)),
    ("taxes", (Kind.TAX,)),
)
"""Columns of tables, and which kinds of lines each adds up."""
NOT_RUNNING = "not running"


def _quiet(_what: str, _share: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told about the site, as written."""

    tariff: Path
    load: Path | None = None
    flat: str | None = None
    since: str | None = None
    until: str | None = None
    history: Path | None = None
    spot: Path | None = None
    carbon_price: str | None = None
    intensity: str | None = None
    pue: float | None = None
    cooling: Path | None = None


def ask(asked: Asked) -> Question:
    """The question of a site: its tariff, its load and what belongs to them.

    Raises:
        ConfigError: a file is missing or says something we refuse.
        UsageError: options that do not go together.
    """
    tariff = load_tariff(asked.tariff)
    load, repeats = _load(asked, tariff)
    return Question(
        tariff=tariff,
        load=load,
        history=None if asked.history is None else _history(asked.history, tariff),
        spot=None if asked.spot is None else _spot(asked.spot, tariff),
        carbon=_carbon(asked.carbon_price, asked.intensity),
        cooling=_cooling(asked),
        repeats=repeats,
    )


def run_of(
    tariff: Tariff,
    *,
    power: str | None,
    lasting: str,
    start: str,
    gpus: int | None = None,
    per_gpu: str | None = None,
) -> Run:
    """A run as the command line describes it: its power, or GPUs x power each, before what cools it."""
    if (power is None) == (gpus is None):
        raise UsageError("a run needs its power", 'Give --power "650 kW", or --gpus 512 --per-gpu "1.275 kW" --pue 1.2')
    if gpus is not None and per_gpu is None:
        raise UsageError("--gpus needs the power of each", 'Add --per-gpu "1.275 kW", host and network included')
    drawn = parse_power(power) if power is not None else parse_power(str(per_gpu)) * float(gpus or 0)
    return Run(drawn, parse_seconds(lasting), moment(start, tariff.timezone), "the run")


def import_rate(path: Path, timezone: str, name: str | None = None) -> tuple[str, tuple[str, ...]]:
    """A file of the Utility Rate Database as the text of a tariff file, and what could not come along.

    Args:
        name: label of the rate, where the file holds several.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as err:
        remedy = "Name a JSON file of the Utility Rate Database"
        raise ConfigError(str(path), 0, f"cannot be read ({err.strerror})", remedy) from err
    except (ValueError, RecursionError) as err:
        raise ConfigError(str(path), 0, f"not JSON: {err}", "Fetch it with format=json and detail=full") from err
    rates = found.get("items", [found]) if isinstance(found, dict) else found
    if not isinstance(rates, list) or not all(isinstance(rate, dict) for rate in rates) or not rates:
        raise ConfigError(str(path), 0, "there is no rate in it", "Fetch it with format=json and detail=full")
    chosen = [rate for rate in rates if name is None or rate.get("label") == name]
    if len(chosen) != 1:
        labels = ", ".join(str(rate.get("label")) for rate in rates[:5])
        raise ConfigError(str(path), 0, f"it holds {len(rates)} rates", f"Choose one with --label; it holds {labels}")
    tariff = tariff_from_urdb(chosen[0], timezone)
    return tariff_text(tariff), tariff.left_out


# --- answers ------------------------------------------------------------------------------------------


def bill_rows(bill: Bill, question: Question) -> list[dict[str, object]]:
    """A row per month and one for all of them: kinds, total, energy, carbon at its price, highest billed demand."""
    rows: list[dict[str, object]] = []
    for month in (*bill.months, None):
        lines = [line for line in bill.lines if month is None or line.month == month]
        kinds = {str(kind): float(sum(one.amount for one in lines if one.kind is kind)) for kind in Kind}
        billed = [one.billed_kw for one in bill.demands if month is None or one.month == month]
        rows.append(
            {
                "month": "all" if month is None else label(month),
                "currency": bill.currency,
                **kinds,
                "total": float(sum(line.amount for line in lines)),
                "billed_demand_w": float(max(billed, default=Decimal(0))) * 1e3,
            }
        )
    carbon = question.carbon_of(bill.kwh)
    rows[-1] |= {
        "energy_j": float(bill.kwh) * 3.6e6,
        "carbon": None if carbon is None else float(carbon),
        "notes": list(bill.notes),
    }
    return rows


def line_rows(bill: Bill) -> list[dict[str, object]]:
    """A row per line of the bill."""
    return [
        {
            "month": label(line.month),
            "kind": str(line.kind),
            "name": line.name,
            "quantity": None if line.quantity is None else float(line.quantity),
            "unit": line.unit,
            "price": None if line.price is None else float(line.price),
            "amount": float(line.amount),
            "currency": bill.currency,
        }
        for line in bill.lines
    ]


def way_rows(
    question: Question, run: Run, latest: str | None, every: str, progress: Progress = _quiet
) -> list[dict[str, object]]:
    """Not running, and a row per way of doing the run: now, at its best start, held under the contract."""
    until = run.start if latest is None else moment(latest, question.tariff.timezone)
    found = ways(question, run, until, every_s=round(parse_seconds(every)), progress=progress)
    return [_nothing(question), *(_way_row(way, one, question) for way, one in found.items())]


def _nothing(question: Question) -> dict[str, object]:
    kinds = {str(kind): 0.0 for kind in Kind}
    return {
        "way": NOT_RUNNING,
        "start": None,
        "end": None,
        "energy_j": 0.0,
        "peak_w": question.load.peak_kw * 1e3,
        "currency": question.tariff.currency,
        **kinds,
        "cooling": 0.0,
        "cooling_parts": kinds,
        "cooling_energy_j": 0.0,
        "total": 0.0,
        "per_kwh": None,
        "naive": 0.0,
        "times_naive": None,
        "carbon": None if question.carbon is None else 0.0,
        "notes": [],
    }


def _way_row(way: Way, one: Marginal, question: Question) -> dict[str, object]:
    zone = ZoneInfo(question.tariff.timezone)
    return {
        "way": str(way),
        "start": one.start.astimezone(zone).isoformat(timespec="minutes"),
        "end": one.end.astimezone(zone).isoformat(timespec="minutes"),
        "energy_j": float(one.kwh) * 3.6e6,
        "peak_w": one.peak_kw * 1e3,
        "currency": one.currency,
        **{str(kind): float(amount) for kind, amount in one.parts.items()},
        "cooling": float(one.cooling),
        "cooling_parts": {str(kind): float(amount) for kind, amount in one.cooling_parts.items()},
        "cooling_energy_j": float(one.cooling_kwh) * 3.6e6,
        "total": float(one.total),
        "per_kwh": None if one.per_kwh is None else float(one.per_kwh),
        "naive": None if one.naive is None else float(one.naive),
        "times_naive": None if one.times_naive is None else float(one.times_naive),
        "carbon": None if one.carbon is None else float(one.carbon),
        "notes": [*one.after.notes, *one.notes, *(f"{way}: {told}" for told in one.left_out)],
    }


def curve_rows(
    question: Question, run: Run, runs: int, progress: Progress = _quiet
) -> tuple[list[dict[str, object]], Curve]:
    """Not running (run 0) and a row per run of the month, and the curve itself."""
    if runs > _MOST_RUNS:
        raise InvalidQuantity("number of runs", str(runs), f"each is billed: ask for at most {_MOST_RUNS:,}")
    found = curve(question, run, runs, progress=progress)
    none: dict[str, object] = {
        "run": 0,
        "currency": found.currency,
        **{str(kind): 0.0 for kind in Kind},
        "cooling": 0.0,
        "total": 0.0,
        "peak_w": question.load.peak_kw * 1e3,
        "crosses_contract": False,
    }
    rows: list[dict[str, object]] = [
        {
            "run": step.number,
            "currency": found.currency,
            **{str(kind): float(amount) for kind, amount in step.parts.items()},
            "cooling": float(step.cooling),
            "total": float(step.cost),
            "peak_w": step.peak_kw * 1e3,
            "crosses_contract": step.crosses,
        }
        for step in found.steps
    ]
    return [none, *rows], found


def shown_parts(row: Mapping[str, object]) -> list[str]:
    """The columns of `SHOWN` of a row, as people read them."""
    return [in_money(sum(_float(row[str(kind)]) for kind in kinds)) for _, kinds in SHOWN]


def in_money(amount: object) -> str:
    """
    >>> in_money(-1234.5), in_money(None)
    ('\N{MINUS SIGN}1,234.50', '-')
    """
    return "-" if amount is None else f"{_float(amount):,.2f}".replace("-", "\N{MINUS SIGN}")


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float | Decimal) else 0.0


# --- files --------------------------------------------------------------------------------------------


def moment(text: str, timezone: str) -> datetime:
    """A day (its first local instant) or a local time, or a time with its own zone."""
    try:
        day = datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise InvalidQuantity("time", repr(text), "write 2026-03-01 or 2026-03-01T06:00") from err
    if not YEARS[0] <= day.year < YEARS[1]:
        raise InvalidQuantity("time", repr(text), f"write a year from {YEARS[0]} to {YEARS[1] - 1}")
    return day if day.tzinfo is not None else day.replace(tzinfo=ZoneInfo(timezone))


def _load(asked: Asked, tariff: Tariff) -> tuple[Load, Callable[[datetime], Load] | None]:
    """The load, and how it goes on to another end, where it repeats."""
    if asked.load is not None and asked.flat is not None:
        raise UsageError("--load and --flat both say what is drawn", "Give one of them")
    if asked.load is None and asked.flat is None:
        raise UsageError("a bill needs a load", 'Give --load FILE.csv, or --flat "5.2 MW"')
    if asked.load is not None:
        rows = _rows(asked.load)
        if "day" not in rows[0][1]:
            return _metered(asked.load, rows, tariff), None
    if asked.since is None or asked.until is None:
        raise UsageError("a load that repeats needs its span", "Give --from 2026-01-01 --to 2027-01-01")
    # The engine counts in UTC; a local midnight is not always a whole hour of it.
    start, end = (moment(text, tariff.timezone).astimezone(UTC) for text in (asked.since, asked.until))
    power = None if asked.flat is None else parse_power(asked.flat)
    week = {} if asked.load is None else _week(asked.load, rows)

    def up_to(last: datetime) -> Load:
        step_s = math.gcd(3600, int(start.timestamp()), int(last.timestamp()))
        if power is not None:
            return Load.flat(power, start, last.astimezone(UTC), step_s)
        return Load.weekly(week, start, last.astimezone(UTC), tariff.timezone, step_s)

    return up_to(end), up_to


def _week(path: Path, rows: Sequence[Row]) -> dict[int, list[float]]:
    week: dict[int, list[float]] = {day: [math.nan] * 24 for day in range(7)}
    for line, row in rows:
        day, hour = row.get("day", ""), row.get("hour", "")
        if day not in DAY_NAMES[:7] or not hour.isdigit() or int(hour) > 23:
            remedy = f"Write day ({', '.join(DAY_NAMES[:7])}), hour (0 to 23) and kw"
            raise ConfigError(str(path), line, f"{day!r}, {hour!r} is no hour of a week", remedy)
        week[DAY_NAMES.index(day)][int(hour)] = _figure(path, line, row, "kw")
    if lacking := [f"{DAY_NAMES[d]} {h}" for d in week for h in range(24) if math.isnan(week[d][h])]:
        raise ConfigError(str(path), 0, f"the week lacks {lacking[0]} and {len(lacking) - 1} more hours", "Add them")
    return week


def _metered(path: Path, rows: Sequence[Row], tariff: Tariff) -> Load:
    column = next((name for name in ("kw", "kwh") if name in rows[0][1]), None)
    if column is None or "start" not in rows[0][1] or len(rows) < FEWEST:
        raise ConfigError(str(path), 1, "it is no load", "Write columns start,kw or start,kwh or day,hour,kw")
    first_s, step_s = times(path, rows, ZoneInfo(tariff.timezone))
    figures = [_figure(path, line, row, column) for line, row in rows]
    make = Load.from_kw if column == "kw" else Load.from_kwh
    return make(datetime.fromtimestamp(first_s, UTC), round(step_s), figures)


def _history(path: Path, tariff: Tariff) -> dict[str, dict[Month, Decimal]]:
    found: dict[str, dict[Month, Decimal]] = {}
    known = [charge.name for charge in tariff.demand]
    for line, row in _rows(path):
        try:
            day = date.fromisoformat(f"{row['month']}-01")
            kw = Decimal(row["kw"])
            charge = row["charge"]
        except (KeyError, ValueError, InvalidOperation) as err:
            remedy = "Write columns charge,month,kw, such as capacity,2025-11,6100"
            raise ConfigError(str(path), line, "it is no demand of a month", remedy) from err
        if not kw.is_finite() or not 0 <= kw <= _MOST_KW:
            raise ConfigError(str(path), line, f"a demand of {kw} kW", f"A demand is 0 or more, up to {_MOST_KW:,} kW")
        if charge not in known:
            near = difflib.get_close_matches(charge, known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(map(repr, known)) or 'none'}"
            raise ConfigError(str(path), line, f"{tariff.name!r} has no demand charge {charge!r}", remedy)
        found.setdefault(charge, {})[day.year, day.month] = kw
    return found


def _spot(path: Path, tariff: Tariff) -> PriceSeries:
    rows = _rows(path)
    units = [name for name in rows[0][1] if name != "start"]
    if "start" not in rows[0][1] or len(units) != 1 or len(rows) < FEWEST:
        raise ConfigError(str(path), 1, "it is no series of prices", "Write columns start and a unit: start,EUR/MWh")
    currency, kwh = price_unit(units[0])
    first_s, step_s = times(path, rows, ZoneInfo(tariff.timezone))
    values = [_figure(path, line, row, units[0]) / kwh if row[units[0]] else None for line, row in rows]
    meaning = PriceMeaning(currency, Market.DAY_AHEAD, taxes=False)
    origin = Origin("user file", "site", str(path), "declared")
    first = datetime.fromtimestamp(first_s, UTC)
    return PriceSeries.regular(first, step_s, values, DataQuality.DECLARED, meaning, origin)


def _cooling(asked: Asked) -> Cooling | None:
    if asked.cooling is None:
        if asked.pue is not None and asked.pue > _MOST_PUE:
            raise InvalidQuantity("PUE", f"{asked.pue:g}", "facility over IT power, such as 1.2")
        return None if asked.pue is None else Cooling.flat(asked.pue)
    if asked.pue is not None:
        raise UsageError("--pue and --cooling both say what cooling draws", "Give one of them")
    stages = []
    for line, row in _rows(asked.cooling):
        if not {"up_to_kw", "fixed_kw", "share"} <= set(row):
            raise ConfigError(str(asked.cooling), 1, "it holds no stages", "Write columns up_to_kw,fixed_kw,share")
        top = _figure(asked.cooling, line, row, "up_to_kw") if row["up_to_kw"] else None
        fixed, share = (_figure(asked.cooling, line, row, column) for column in ("fixed_kw", "share"))
        stages.append(Stage(top, fixed, share))
    try:
        return Cooling(tuple(stages))
    except InvalidQuantity as err:
        raise ConfigError(str(asked.cooling), 0, f"{err.quantity}: {err.given}", err.remedy) from err


def _carbon(price: str | None, intensity: str | None) -> CarbonPrice | None:
    if price is None and intensity is None:
        return None
    if price is None or intensity is None:
        remedy = 'Give --carbon-price "80 EUR/t" and --intensity "350 gCO2e/kWh"'
        raise UsageError("a price of carbon needs an intensity, and the other way round", remedy)
    amount, slash, per = price.partition("/")
    if slash and per.strip() != "t":
        raise InvalidQuantity("carbon price", repr(price), "it is per tonne of CO2e; write it as '80 EUR/t'")
    money = parse_money(amount)
    if money.amount < 0:
        raise InvalidQuantity("carbon price", repr(price), "it is 0 or more")
    return CarbonPrice(money, CarbonIntensity(parse_intensity(intensity)))


def _rows(path: Path) -> list[Row]:
    rows = read_rows(path)
    if not rows:
        raise ConfigError(str(path), 0, "it holds no rows", "Write a header and a row for each step")
    return rows


def _figure(path: Path, line: int, row: Mapping[str, str], column: str) -> float:
    try:
        figure = float(row[column])
    except (KeyError, ValueError) as err:
        problem = f"{column} is {row.get(column, '')!r}, which is not a number"
        raise ConfigError(str(path), line, problem, "What is missing stays missing: cut the load there") from err
    if not math.isfinite(figure):
        raise ConfigError(
            str(path), line, f"{column} is not finite", "What is missing stays missing: cut the load there"
        )
    if figure < 0 and column in ("kw", "kwh"):
        raise ConfigError(str(path), line, f"a negative demand of {figure:g} {column}", "A demand is 0 or more")
    return figure


def power_words(watts: object) -> str:
    """
    >>> power_words(5_600_000.0)
    '5,600 kW'
    """
    return f"{Power(_float(watts)).to_kw():,.0f} kW"
