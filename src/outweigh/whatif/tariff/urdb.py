"""Rates of the U.S. Utility Rate Database (OpenEI) as tariffs of ours. What cannot be carried over is refused or named.

Where leaving a field out would change bills in silence (units we do not bill, tiers per day), the rate is refused;
where it adds a charge we cannot bill, the tariff names it in `left_out` and every bill can say so.

Source of the fields: OpenEI utility rates API, version 8, https://openei.org/services/doc/rest/util_rates/?version=8
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from outweigh.core.errors import ConfigError
from outweigh.whatif.tariff.clocks import schedule
from outweigh.whatif.tariff.terms import (
    ALL_MONTHS,
    ALWAYS,
    WEEKDAYS,
    WEEKENDS,
    DemandCharge,
    EnergyRate,
    Fixed,
    Per,
    Ratchet,
    Tariff,
    Tier,
    TierUnit,
    TierVolume,
    Window,
    limits,
    rates_of,
    shares_tiers,
)

_ADDRESS = "https://apps.openei.org/IURDB/rate/view/"
_TIER_UNITS = {"": TierUnit.KWH, "kwh": TierUnit.KWH, "kwh/kw": TierUnit.KWH_PER_KW}
# Charges the database can state and a bill of ours does not hold.
_NAMED = {
    "coincidentratestructure": "charges at the system's peak (coincident), whose hours the database does not state",
    "demandreactivepowercharge": "a charge for reactive power",
    "fueladjustmentsmonthly": "fuel adjustments that change by month",
    "demandratchetpercentage": "demand ratchet percentages by month",
    "annualmincharge": "a minimum charge per year",
    "fixedchargeeaaddl": "a charge per additional meter",
}
_BILLED = frozenset({"fixedchargefirstmeter", "fixedmonthlycharge", "mincharge", "minmonthlycharge"})


def tariff_from_urdb(rate: Mapping[str, object], timezone: str) -> Tariff:
    """A rate as the database answers it.

    Args:
        rate: one item, with numbers as `Decimal` (`json.load(..., parse_float=Decimal)`).
        timezone: IANA name; the database states none.

    Raises:
        ConfigError: the rate lacks a price of energy or counts in a unit that we do not bill.
        InvalidQuantity: schedules or tiers that contradict themselves.
    """
    return _Rate({key.lower(): value for key, value in rate.items()}).tariff(timezone)


class _Rate:
    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        label = str(fields.get("label", ""))
        self._source = str(fields.get("uri") or (_ADDRESS + label if label else "URDB"))
        self._left_out = [text for key, text in _NAMED.items() if _says_something(fields.get(key))]
        # The database grows, and has fields older than its description: what looks like a charge is never dropped.
        self._left_out += [
            f"{key} = {value}, a charge we do not know"
            for key, value in fields.items()
            if "charge" in key and key not in _BILLED | _NAMED.keys() and _is_figure(value) and _number(value)
        ]

    def tariff(self, timezone: str) -> Tariff:
        name = " ".join(str(self._fields[key]) for key in ("utility", "name") if self._fields.get(key))
        energy = tuple(self._energy())
        schedule([(rate.name, rate.windows) for rate in energy], complete=True)
        volume = self._volume(energy)
        return Tariff(
            name=name or "rate without a name",
            currency="USD",
            timezone=timezone,
            energy=energy,
            tier_volume=volume,
            demand=(*self._flat_demand(), *self._timed_demand()),
            fixed=tuple(self._fixed()),
            minimum_bill=self._minimum_bill(),
            source=self._source,
            left_out=tuple(self._left_out),
            peak_minutes=self._minutes(),
        )

    def _refused(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(self._source, 0, problem, remedy)

    def _name(self, what: str) -> None:
        if what not in self._left_out:
            self._left_out.append(what)

    # --- energy and demand --------------------------------------------------------------------------

    def _energy(self) -> Iterator[EnergyRate]:
        periods = self._rows("energyratestructure")
        if not periods:
            raise self._refused(
                "there is no energyratestructure", "Write the tariff by hand; docs/tariffs.md shows one"
            )
        windows = self._windows("energy", len(periods))
        for index, tiers in enumerate(periods):
            # A period that no hour has is left over from editing; it bills nothing.
            if windows[index]:
                units = {str(tier.get("unit") or "").lower() for tier in tiers} or {""}
                if unknown := units - set(_TIER_UNITS):
                    remedy = "We bill tiers per month, in kWh or kWh/kW; write the tariff by hand"
                    raise self._refused(f"tiers of energy count {', '.join(sorted(unknown))}", remedy)
                kinds = {_TIER_UNITS[unit] for unit in units}
                if len(kinds) > 1:
                    raise self._refused("tiers of one period count in two units", "Write the tariff by hand")
                if (
                    any(_number(tier.get("sell")) for tier in tiers)
                    and "payment for energy fed back" not in self._left_out
                ):
                    self._left_out.append("payment for energy fed back")
                yield EnergyRate(f"period {index}", _tiers(tiers), windows[index], kinds.pop())

    def _volume(self, energy: tuple[EnergyRate, ...]) -> TierVolume:
        """As NREL's System Advisor Model bills rates of the database, where it makes a difference."""
        if not shares_tiers(energy):
            return TierVolume.PERIOD
        if all(len({limits(energy[i]) for i in rates_of(energy, month)}) == 1 for month in ALL_MONTHS):
            return TierVolume.MONTH
        self._name("how the month fills tiers that differ between its periods: here each period fills its own")
        return TierVolume.PERIOD

    def _timed_demand(self) -> Iterator[DemandCharge]:
        periods = self._rows("demandratestructure")
        if not periods:
            return
        self._check_unit("demandunits", "demandrateunit")
        windows = self._windows("demand", len(periods))
        for index, tiers in enumerate(periods):
            if windows[index] and any(tier.price for tier in _tiers(tiers)):
                months = frozenset().union(*(window.months for window in windows[index]))
                yield DemandCharge(
                    f"demand period {index}", _tiers(tiers), self._minutes(), windows[index], months, self._ratchet()
                )

    def _flat_demand(self) -> Iterator[DemandCharge]:
        periods = self._rows("flatdemandstructure")
        if not periods:
            return
        self._check_unit("flatdemandunit", "flatdemandunits")
        of_month = self._fields.get("flatdemandmonths") or [0] * 12
        if not isinstance(of_month, list) or len(of_month) != 12:
            raise self._refused("flatdemandmonths does not hold twelve months", "Correct the file")
        of_month = [self._period("flatdemandmonths", one, len(periods)) for one in of_month]
        for index, tiers in enumerate(periods):
            months = frozenset(month + 1 for month in range(12) if of_month[month] == index)
            if months and any(tier.price for tier in _tiers(tiers)):
                yield DemandCharge(
                    f"flat demand {index}", _tiers(tiers), self._minutes(), ALWAYS, months, self._ratchet()
                )

    def _check_unit(self, *keys: str) -> None:
        for key in keys:
            unit = str(self._fields.get(key) or "kW")
            if unit.lower() != "kw":
                raise self._refused(f"demand is billed in {unit}", "We bill kW per month; write the tariff by hand")

    def _minutes(self) -> int:
        given = _number(self._fields.get("demandwindow"))
        if not given:
            return 15
        if given not in (15, 30, 60):
            raise self._refused(f"demand is averaged over {given} min", "We bill 15, 30 or 60 minutes")
        return int(given)

    def _ratchet(self) -> Ratchet | None:
        share = _number(self._fields.get("lookbackpercent"))
        if not share:
            return None
        # The database writes 0.8 and, in older entries, 80.
        share = share / 100 if share > 1 else share
        months = self._fields.get("lookbackmonths")
        counted = ALL_MONTHS
        if isinstance(months, list) and len(months) == 12 and any(months):
            counted = frozenset(month + 1 for month in range(12) if months[month])
        return Ratchet(share, int(_number(self._fields.get("lookbackrange"))) or 11, counted)

    def _windows(self, kind: str, periods: int) -> list[tuple[Window, ...]]:
        """Hours of each period, from the 12 x 24 tables of weekdays and weekends."""
        found: list[dict[tuple[int, int, frozenset[int]], set[int]]] = [defaultdict(set) for _ in range(periods)]
        for part, days in (("weekday", WEEKDAYS), ("weekend", WEEKENDS)):
            table = self._fields.get(f"{kind}{part}schedule")
            if table is None and periods == 1:
                table = [[0] * 24] * 12
            rows = table if isinstance(table, list) else []
            if len(rows) != 12 or not all(isinstance(row, list) and len(row) == 24 for row in rows):
                problem = f"{kind}{part}schedule is not a table of 12 months by 24 hours"
                raise self._refused(problem, "Correct the file, or write the tariff by hand")
            for month, row in enumerate(rows):
                for low, high, period in _runs([self._period(f"{kind}{part}schedule", one, periods) for one in row]):
                    found[period][low * 60, high * 60, days].add(month + 1)
        return [
            tuple(Window(low, high, days, frozenset(months)) for (low, high, days), months in one.items())
            for one in found
        ]

    def _rows(self, key: str) -> list[list[Mapping[str, object]]]:
        """Tiers of each period. What has another shape is refused: left out, it would renumber the periods."""
        value = self._fields.get(key)
        if not value:
            return []
        shaped = isinstance(value, list) and all(
            isinstance(period, list) and all(isinstance(tier, dict) for tier in period) for period in value
        )
        if not shaped or not isinstance(value, list):
            raise self._refused(f"{key} is not a list of periods, each a list of tiers", "Correct the file")
        return value

    def _period(self, key: str, value: object, periods: int) -> int:
        """A number of a period, which some entries write as 0.0."""
        number = _number(value) if _is_figure(value) else None
        if number is None or number != number.to_integral_value():
            problem = f"{key} names period {value!r}, which is no whole number"
            raise self._refused(problem, "Correct the file, or write the tariff by hand")
        if not 0 <= number < periods:
            raise self._refused(f"{key} names period {number} of {periods}", "Correct the file")
        return int(number)

    # --- the rest -----------------------------------------------------------------------------------

    def _fixed(self) -> Iterator[Fixed]:
        amount = _number(self._fields.get("fixedchargefirstmeter"))
        unit = str(self._fields.get("fixedchargeunits") or "$/month")
        if not amount:
            # Older entries, before the field had units.
            amount, unit = _number(self._fields.get("fixedmonthlycharge")), "$/month"
        if not amount:
            return
        if unit == "$/year":
            self._left_out.append(f"a fixed charge of {amount} USD per year")
        elif unit in ("$/month", "$/day"):
            yield Fixed("fixed charge", amount, Per(unit[2:]))
        else:
            raise self._refused(f"the fixed charge is in {unit}", "We bill it per day or per month")

    def _minimum_bill(self) -> Decimal | None:
        amount, unit = _number(self._fields.get("mincharge")), str(self._fields.get("minchargeunits") or "$/month")
        if not amount:
            # Older entries, before the field had units.
            amount, unit = _number(self._fields.get("minmonthlycharge")), "$/month"
        if not amount:
            return None
        if unit != "$/month":
            self._left_out.append(f"a minimum charge of {amount} {unit}")
            return None
        return amount


def _tiers(tiers: Sequence[Mapping[str, object]]) -> tuple[Tier, ...]:
    """The last tier is without end: some entries close it at a round, unreachable figure."""
    return tuple(
        Tier(
            None if index == len(tiers) - 1 or tier.get("max") is None else _number(tier["max"]),
            _number(tier.get("rate")) + _number(tier.get("adj")),
        )
        for index, tier in enumerate(tiers)
    )


def _runs(row: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """
    >>> list(_runs([0, 0, 1]))
    [(0, 2, 0), (2, 3, 1)]
    """
    low = 0
    for high in range(1, len(row) + 1):
        if high == len(row) or row[high] != row[low]:
            yield low, high, row[low]
            low = high


def _number(value: object) -> Decimal:
    """A figure, 0 where the database leaves it out.

    Raises:
        ConfigError: there is something that is no figure: read as 0 it would be a free price.
    """
    if value is None or value == "":
        return Decimal(0)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if isinstance(value, bool) or not number.is_finite():
        raise ConfigError("URDB", 0, f"{value!r} is no figure", "Correct the file, or write the tariff by hand")
    return number


def _is_figure(value: object) -> bool:
    """Whether it reads as a finite number.

    >>> _is_figure(Decimal("0.5")), _is_figure("0.5"), _is_figure("$/day"), _is_figure(None)
    (True, True, False, False)
    """
    if value is None or value == "" or isinstance(value, bool):
        return False
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _says_something(value: object) -> bool:
    if isinstance(value, list):
        return any(_says_something(one) for one in value)
    if isinstance(value, dict):
        return any(_says_something(one) for key, one in value.items() if key != "unit")
    return bool(value)
