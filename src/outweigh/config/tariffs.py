"""Tariff files (TOML) -> the tariff engine's types. What is wrong is said with file, line and what to write instead.

Prices are read as decimals, as printed, never through a float. The keys are described in docs/tariffs.md.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from outweigh.config.documents import read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.locate import locate
from outweigh.config.refusals import Refusal, dotted, refuse
from outweigh.core.errors import ConfigError, InvalidQuantity
from outweigh.core.quantities import check_currency
from outweigh.whatif.tariff.clocks import schedule
from outweigh.whatif.tariff.terms import (
    ALL_DAYS,
    ALL_MONTHS,
    ALWAYS,
    BEFORE_RIDERS,
    BEFORE_TAXES,
    DAY_NAMES,
    MINUTES_PER_DAY,
    PEAK_MINUTES,
    WEEKDAYS,
    WEEKENDS,
    Block,
    DemandCharge,
    EnergyRate,
    Fixed,
    Kind,
    Levy,
    MinimumTake,
    Per,
    Ratchet,
    Rounding,
    Spot,
    Tariff,
    Tier,
    TierUnit,
    TierVolume,
    Window,
    check_volume,
)

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = {"all": ALL_DAYS, "weekdays": WEEKDAYS, "weekends": WEEKENDS}
_QUANTITY = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+))\s*(\S.*?)?\s*")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_KWH = {"kWh": Decimal(1), "MWh": Decimal(1000), "GWh": Decimal(10) ** 6}
_KW = {"W": Decimal("0.001"), "kW": Decimal(1), "MW": Decimal(1000)}

_TARIFF = (
    "name", "currency", "timezone", "source", "holidays", "rounding", "energy", "demand", "fixed", "rider", "tax",
    "minimum_bill", "minimum_take", "block", "spot", "left_out", "tiers_count", "tiers_peak",
)  # fmt: skip
_DEMAND = ("name", "price", "tiers", "window", "hours", "months", "ratchet", "minimum", "contract", "excess")
_BLOCK = ("name", "power", "price", "hours", "take_or_pay", "resale")
_MINUTES = {"15 min": 15, "30 min": 30, "60 min": 60, "1 h": 60}
_T = TypeVar("_T")
_LEVY = ("name", "price", "share", "of")


def load_tariff(path: Path) -> Tariff:
    """Read a tariff file.

    Raises:
        ConfigError: the file is missing, is not TOML, or says something we refuse: tiers that overlap, hours without a
            price, a tariff without a currency, a negative demand, an unknown key.
    """
    text = read_text(path, "Name a tariff file; docs/tariffs.md shows one")
    return loads_tariff(text, str(path))


def loads_tariff(text: str, source: str = "tariff.toml") -> Tariff:
    """Read a tariff from the text of its file; errors as `load_tariff`."""
    text = text.replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
        lines = locate(text)
    except RecursionError as err:
        raise ConfigError(source, 0, "tables are nested too deeply", "Write it as docs/tariffs.md does") from err
    except ValueError as err:
        remedy = "Text goes in quotes, tables in [brackets], and no key or table is written twice"
        raise ConfigError(source, 0, f"not valid TOML: {err}", remedy) from err
    try:
        return _Reader(document).tariff()
    except _Refused as err:
        raise refuse([err.refusal], source, lines) from err


class _Refused(Exception):
    def __init__(self, path: KeyPath, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.refusal = Refusal(path, problem, remedy)


class _Table:
    """A table of the file with the path it stands at. Keys that nobody asked about are refused."""

    def __init__(self, values: object, path: KeyPath, known: tuple[str, ...]) -> None:
        self.path = path
        if not isinstance(values, dict):
            raise _Refused(path, f"{dotted(path)} is not a table", "Write it as docs/tariffs.md does")
        self.values: Mapping[str, object] = values
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}"
                where = f"[{dotted(path)}]" if path else "the file"
                raise _Refused((*path, key), f"unknown key {key!r} in {where}", remedy)

    def at(self, key: str) -> KeyPath:
        return (*self.path, key)

    def has(self, key: str) -> bool:
        return key in self.values

    def need(self, key: str, example: str) -> object:
        if key not in self.values:
            where = f"[{dotted(self.path)}]" if self.path else "the file"
            raise _Refused(self.path, f"{where} lacks {key!r}", f"Add {example}")
        return self.values[key]

    def refuse(self, key: str, problem: str, remedy: str) -> _Refused:
        return _Refused(self.at(key), f"{dotted(self.at(key))}: {problem}", remedy)

    def text(self, key: str, example: str, default: str | None = None) -> str:
        value = self.values.get(key, default) if default is not None else self.need(key, example)
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, f"{value!r} is not text", f"Write {example}")
        return value

    def quantity(self, key: str, example: str) -> tuple[Decimal, str]:
        value = self.need(key, f"{key} = {example!r}")
        found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.refuse(key, f"{value!r} is not a number with its unit", f"Write {key} = {example!r}")
        return Decimal(found[1].replace("_", "")), found[2] or ""

    def scaled(self, key: str, units: Mapping[str, Decimal], example: str) -> Decimal:
        value, unit = self.quantity(key, example)
        if unit not in units:
            known = ", ".join(units)
            raise self.refuse(key, f"{unit or 'no unit'} is not one of {known}", f"Write {key} = {example!r}")
        if value < 0:
            raise self.refuse(key, f"{value} {unit} is negative", "It is 0 or more")
        return value * units[unit]

    def whole(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(key, f"{value!r} is not a whole number", f"Write {key} = {default}")
        return value

    def yes(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, f"{value!r} is not true or false", f"Write {key} = true")
        return value

    def share(self, key: str) -> Decimal:
        value = self.need(key, f"{key} = '80%'")
        try:
            if isinstance(value, str) and value.strip().endswith("%"):
                share = Decimal(value.strip()[:-1].strip()) / 100
            elif isinstance(value, int | float | str) and not isinstance(value, bool):
                share = Decimal(str(value))
            else:
                raise InvalidOperation
        except InvalidOperation as err:
            raise self.refuse(key, f"{value!r} is not a share", f"Write {key} = '80%' or 0.8") from err
        if not math.isfinite(share):
            raise self.refuse(key, f"{value!r} is not finite", f"Write {key} = '80%'")
        return share

    def one_of(self, key: str, choices: Mapping[str, object], default: str) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in choices:
            near = difflib.get_close_matches(str(value), list(choices), n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Write one of {', '.join(choices)}"
            raise self.refuse(key, f"{value!r} is not one of {', '.join(choices)}", remedy)
        return str(value)

    def tables(self, key: str, known: tuple[str, ...]) -> Iterator[_Table]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, "is one table", f"Write [[{dotted(self.at(key))}]], in two brackets")
        for index, one in enumerate(value):
            yield _Table(one, (*self.at(key), index), known)

    def table(self, key: str, known: tuple[str, ...]) -> _Table | None:
        return _Table(self.values[key], self.at(key), known) if key in self.values else None


class _Reader:
    def __init__(self, document: Mapping[str, object]) -> None:
        self._file = _Table(document, (), _TARIFF)
        self._currency = ""

    def tariff(self) -> Tariff:
        file = self._file
        self._currency = file.text("currency", "currency = 'EUR': money without a currency is not money")
        self._said(file, "currency", lambda: check_currency(self._currency))
        known = ("name", "price", "tiers", "hours")
        energy = tuple(self._energy(table) for table in file.tables("energy", known))
        # Here, and not when a bill is made, so that the refusal can point at a line.
        if energy:
            windows = [(rate.name, rate.windows) for rate in energy]
            self._said(file, "energy", lambda: schedule(windows, complete=True))
        volume = TierVolume(file.one_of("tiers_count", dict.fromkeys(TierVolume), TierVolume.PERIOD))
        self._said(file, "tiers_count", lambda: check_volume(energy, volume))
        return self._said(file, "name", lambda: self._whole(energy, volume))

    def _whole(self, energy: tuple[EnergyRate, ...], volume: TierVolume) -> Tariff:
        file = self._file
        bill, take = file.table("minimum_bill", ("amount",)), file.table("minimum_take", ("energy", "per", "price"))
        return Tariff(
            name=file.text("name", "name = 'fra-1 2026'"),
            currency=self._currency,
            timezone=file.text("timezone", "timezone = 'Europe/Berlin'"),
            energy=energy,
            tier_volume=volume,
            demand=tuple(self._demand(table) for table in file.tables("demand", _DEMAND)),
            fixed=tuple(self._fixed(table) for table in file.tables("fixed", ("name", "amount", "per"))),
            riders=tuple(self._levy(table, BEFORE_RIDERS) for table in file.tables("rider", _LEVY)),
            taxes=tuple(self._levy(table, BEFORE_TAXES) for table in file.tables("tax", _LEVY)),
            minimum_bill=None if bill is None else self._money(bill, "amount"),
            minimum_take=None if take is None else self._take(take),
            blocks=tuple(self._block(table) for table in file.tables("block", _BLOCK)),
            spot=self._spot(),
            rounding=self._rounding(),
            holidays=frozenset(self._holidays()),
            source=file.text("source", "source = 'https://…'", default="no source given"),
            left_out=tuple(self._left_out()),
            peak_minutes=_MINUTES[file.one_of("tiers_peak", _MINUTES, f"{PEAK_MINUTES} min")],
        )

    def _said(self, table: _Table, key: str, make: Callable[[], _T]) -> _T:
        """What the engine's own types refuse, said with the line it comes from."""
        try:
            return make()
        except InvalidQuantity as err:
            path = table.at(key) if table.has(key) else table.path
            problem = f"{dotted(path) or 'the file'}: {err.quantity}: {err.given}"
            raise _Refused(path, problem, err.remedy[:1].upper() + err.remedy[1:]) from err

    # --- money --------------------------------------------------------------------------------------

    def _priced(self, table: _Table, key: str, per: Mapping[str, Decimal]) -> tuple[Decimal, str]:
        units = " or ".join(f"{self._currency}/{unit}" for unit in per)
        amount, unit = table.quantity(key, f"0.12 {self._currency}/{next(iter(per))}")
        currency, slash, what = (part.strip() for part in unit.partition("/"))
        if not slash or what not in per:
            raise table.refuse(key, f"{unit or 'no unit'} is not a price here", f"Write it in {units}")
        if currency != self._currency:
            problem = f"{currency} in a tariff in {self._currency}"
            raise table.refuse(key, problem, "A tariff has one currency; convert at a stated rate first")
        return amount / per[what], what

    def _per_kwh(self, table: _Table, key: str) -> Decimal:
        return self._priced(table, key, {"kWh": _KWH["kWh"], "MWh": _KWH["MWh"]})[0]

    def _per_kw(self, table: _Table, key: str) -> Decimal:
        return self._priced(table, key, {"kW": _KW["kW"], "MW": _KW["MW"]})[0]

    def _money(self, table: _Table, key: str) -> Decimal:
        amount, unit = table.quantity(key, f"1500 {self._currency}")
        if unit != self._currency:
            problem = f"{unit or 'no currency'} in a tariff in {self._currency}"
            raise table.refuse(key, problem, f"Write it in {self._currency}")
        return amount

    # --- terms --------------------------------------------------------------------------------------

    def _energy(self, table: _Table) -> EnergyRate:
        name = table.text("name", "name = 'peak'", default=f"energy {int(table.path[-1]) + 1}")
        windows = self._windows(table)
        if not table.has("tiers"):
            price = self._per_kwh(table, "price")
            return self._said(table, "price", lambda: EnergyRate(name, (Tier(None, price),), windows))
        if table.has("price"):
            raise table.refuse("price", "stands beside tiers", "Write one of the two")
        units = {**_KWH, "kWh/kW": Decimal(1)}
        tiers, found = [], set()
        for tier in table.tables("tiers", ("up_to", "price")):
            limit = None
            if tier.has("up_to"):
                limit = tier.scaled("up_to", units, "1000 kWh")
                found.add("kWh/kW" if tier.quantity("up_to", "1000 kWh")[1] == "kWh/kW" else "kWh")
            tiers.append(Tier(limit, self._per_kwh(tier, "price")))
        if len(found) > 1:
            raise table.refuse("tiers", "count both kWh and kWh/kW", "Write all limits in one of them")
        unit = TierUnit(found.pop()) if found else TierUnit.KWH
        return self._said(table, "tiers", lambda: EnergyRate(name, tuple(tiers), windows, unit))

    def _demand(self, table: _Table) -> DemandCharge:
        if table.has("tiers"):
            limits = list(table.tables("tiers", ("up_to", "price")))
            tiers = tuple(
                Tier(tier.scaled("up_to", _KW, "500 kW") if tier.has("up_to") else None, self._per_kw(tier, "price"))
                for tier in limits
            )
        else:
            tiers = (Tier(None, self._per_kw(table, "price")),)
        if table.has("excess") and not table.has("contract"):
            raise table.refuse("excess", "has no contract to exceed", "Add contract = '7 MW'")
        return self._said(
            table,
            "tiers",
            lambda: DemandCharge(
                name=table.text("name", "name = 'capacity'", default=f"demand {int(table.path[-1]) + 1}"),
                tiers=tiers,
                minutes=_MINUTES[table.one_of("window", _MINUTES, "15 min")],
                windows=self._windows(table),
                months=self._months(table, "months"),
                ratchet=self._ratchet(table),
                minimum_kw=table.scaled("minimum", _KW, "4 MW") if table.has("minimum") else Decimal(0),
                contract_kw=table.scaled("contract", _KW, "7 MW") if table.has("contract") else None,
                excess_price=self._per_kw(table, "excess") if table.has("excess") else Decimal(0),
            ),
        )

    def _ratchet(self, table: _Table) -> Ratchet | None:
        ratchet = table.table("ratchet", ("share", "months", "of", "counts"))
        if ratchet is None:
            return None
        counts = ratchet.one_of("counts", {"metered": None, "billed": None}, "metered")
        return self._said(
            ratchet,
            "share",
            lambda: Ratchet(
                ratchet.share("share"), ratchet.whole("months", 11), self._months(ratchet, "of"), counts == "billed"
            ),
        )

    def _fixed(self, table: _Table) -> Fixed:
        per = table.one_of("per", {"day": None, "month": None}, "month")
        name, amount = table.text("name", "name = 'metering'", default="fixed"), self._money(table, "amount")
        return self._said(table, "amount", lambda: Fixed(name, amount, Per(per)))

    def _levy(self, table: _Table, default: frozenset[Kind]) -> Levy:
        kinds = frozenset(self._kinds(table)) if table.has("of") else default
        per_kwh = self._per_kwh(table, "price") if table.has("price") else None
        share = table.share("share") if table.has("share") else None
        name = table.text("name", "name = 'electricity tax'")
        return self._said(table, "name", lambda: Levy(name, kinds, per_kwh, share))

    def _kinds(self, table: _Table) -> Iterator[Kind]:
        value = table.values["of"]
        known = [str(kind) for kind in Kind if kind is not Kind.ROUNDING]
        for one in value if isinstance(value, list) else [value]:
            if one not in known:
                raise table.refuse("of", f"{one!r} is no kind of line", f"Write a list of {', '.join(known)}")
            yield Kind(str(one))

    def _take(self, table: _Table) -> MinimumTake:
        per = table.one_of("per", {"month": None, "year": None}, "month")
        kwh, price = table.scaled("energy", _KWH, "2 GWh"), self._per_kwh(table, "price")
        return self._said(table, "price", lambda: MinimumTake(kwh, price, Per(per)))

    def _block(self, table: _Table) -> Block:
        return self._said(
            table,
            "price",
            lambda: Block(
                name=table.text("name", "name = 'PPA 2024'"),
                kw=table.scaled("power", _KW, "2 MW"),
                price=self._per_kwh(table, "price"),
                windows=self._windows(table),
                take_or_pay=table.yes("take_or_pay", True),
                resale=table.share("resale") if table.has("resale") else None,
            ),
        )

    def _spot(self) -> Spot | None:
        table = self._file.table("spot", ("multiplier", "adder"))
        if table is None:
            return None
        multiplier = table.share("multiplier") if table.has("multiplier") else Decimal(1)
        adder = self._per_kwh(table, "adder") if table.has("adder") else Decimal(0)
        return self._said(table, "adder", lambda: Spot(multiplier, adder))

    def _rounding(self) -> Rounding:
        table = self._file.table("rounding", ("to", "by", "each"))
        if table is None:
            return Rounding()
        each = table.one_of("each", {"line": None, "bill": None}, "line")
        to = self._money(table, "to") if table.has("to") else Decimal("0.01")
        by = table.text("by", "by = 'half-up'", default="half-up")
        return self._said(table, "by", lambda: Rounding(to, by, each == "line"))

    # --- time ---------------------------------------------------------------------------------------

    def _windows(self, table: _Table) -> tuple[Window, ...]:
        if not table.has("hours"):
            return ALWAYS
        found: list[Window] = []
        for hours in table.tables("hours", ("from", "to", "days", "months")):
            start, end = self._clock(hours, "from", "00:00"), self._clock(hours, "to", "24:00")
            days, months = self._days(hours), self._months(hours, "months")
            # A night is two stretches of one calendar day: its small hours and its late ones.
            spans = [(start, end)] if start < end else [(0, end), (start, MINUTES_PER_DAY)]
            for low, high in spans:
                if low < high:
                    found.append(self._window(hours, low, high, days, months))
        return tuple(found)

    def _window(self, table: _Table, low: int, high: int, days: frozenset[int], months: frozenset[int]) -> Window:
        return self._said(table, "from", lambda: Window(low, high, days, months))

    def _clock(self, table: _Table, key: str, default: str) -> int:
        value = table.values.get(key, default)
        match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else MINUTES_PER_DAY + 1
        if minutes > MINUTES_PER_DAY:
            raise table.refuse(key, f"{value!r} is not a time of day", f"Write {key} = '08:00', up to '24:00'")
        return minutes

    def _days(self, table: _Table) -> frozenset[int]:
        value = table.values.get("days", "all")
        if isinstance(value, str) and value in _DAYS:
            return _DAYS[value]
        named = value if isinstance(value, list) else [value]
        for one in named:
            if one not in DAY_NAMES:
                remedy = f"Write 'all', 'weekdays', 'weekends' or a list of {', '.join(DAY_NAMES)}"
                raise table.refuse("days", f"{one!r} is not a day", remedy)
        return frozenset(DAY_NAMES.index(str(one)) for one in named)

    def _months(self, table: _Table, key: str) -> frozenset[int]:
        value = table.values.get(key)
        if value is None:
            return ALL_MONTHS
        named = value if isinstance(value, list) else [value]
        for one in named:
            if one not in MONTH_NAMES:
                raise table.refuse(key, f"{one!r} is not a month", f"Write a list of {', '.join(MONTH_NAMES)}")
        return frozenset(MONTH_NAMES.index(str(one)) + 1 for one in named)

    def _holidays(self) -> Iterator[date]:
        value = self._file.values.get("holidays", [])
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, date) or isinstance(one, datetime):
                raise self._file.refuse("holidays", f"{one!r} is not a day", "Write days without quotes: [2026-12-25]")
            yield one

    def _left_out(self) -> Iterator[str]:
        value = self._file.values.get("left_out", [])
        for one in value if isinstance(value, list) else [value]:
            yield str(one)
