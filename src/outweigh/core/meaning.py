"""What a figure of a grid says of itself: which question it answers, how well it is known, who said it and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum

from outweigh.core.errors import GridDataInvalid, InvalidQuantity
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope, check_currency

CLOCK_SLACK_S = 300.0  # how far two well-kept clocks may be apart before a time stamp is called wrong


class Gap(Enum):
    """Why a slot has no value. Deliberately not a number: `min` over a gap and a number is a TypeError."""

    MISSING = "missing"  # nothing came for this time
    NULL = "null"  # the provider said that it does not know
    INVALID = "invalid"  # something came that cannot be a value


GAPS = frozenset(Gap)


class DataQuality(StrEnum):
    """How a value came about, best first."""

    MEASURED = "measured"  # metered generation or flows; a price that was settled or auctioned
    ESTIMATED = "estimated"  # the provider's own stand-in for late or missing meters
    FORECAST = "forecast"
    TYPICAL = "typical day"  # the mean of that hour in that month of another year
    YEARLY_DEFAULT = "yearly default"
    DECLARED = "declared"
    FILLED = "filled"  # put into a gap by us, on request

    @property
    def grade(self) -> Grade:
        """B where it was metered at this time, C where it was modelled, D where another figure stands in.

        A is kept for what one's own wall meter says: no grid-wide figure is that.
        """
        return _GRADES.get(self, Grade.D)


_GRADES = {DataQuality.MEASURED: Grade.B, DataQuality.ESTIMATED: Grade.C, DataQuality.FORECAST: Grade.C}
RANK = {quality: rank for rank, quality in enumerate(DataQuality)}


class CarbonKind(StrEnum):
    AVERAGE = "average"  # all generation over all energy
    MARGINAL = "marginal"  # what one more or one less kWh changes


class Accounting(StrEnum):
    """Whose generation counts."""

    PRODUCTION = "production"  # what runs in the zone
    CONSUMPTION = "consumption"  # imports and exports traced


@dataclass(frozen=True, slots=True)
class CarbonMeaning:
    """The question a carbon series answers. Only equal meanings may be compared."""

    kind: CarbonKind
    scope: CarbonScope
    accounting: Accounting

    @property
    def unit(self) -> str:
        return "gCO2e/kWh"

    def __str__(self) -> str:
        return f"{self.kind} {self.scope} {self.accounting}-based carbon intensity"


class Market(StrEnum):
    DAY_AHEAD = "day-ahead"
    REAL_TIME = "real-time"
    RETAIL = "retail"


@dataclass(frozen=True, slots=True)
class PriceMeaning:
    """The question a price series answers: in which money, on which market, with or without taxes and levies."""

    currency: str
    market: Market
    taxes: bool

    def __post_init__(self) -> None:
        check_currency(self.currency)

    @property
    def unit(self) -> str:
        return f"{self.currency}/kWh"

    def __str__(self) -> str:
        return f"{self.market} price in {self.currency} {'with' if self.taxes else 'without'} taxes"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said it, of which zone, when, under which terms.

    Attributes:
        provider: short name of who publishes it ("NESO", "EIA-930", "user file").
        zone: the zone the figures are of, which may be larger than the one asked for.
        source: what to cite: a publication, an address, a file.
        licence: terms of the data ("CC BY 4.0"); "declared" for a user's own.
        method: name and version of the provider's method, as far as it states one.
        issued_at: when the provider published it; None where it does not say. A forecast must say.
        retrieved_at: when we fetched it; None for tables that ship.
        vintage: of which year or release a default is ("2024"); "" for a series of its own time.
    """

    provider: str
    zone: str
    source: str
    licence: str
    method: str = ""
    issued_at: datetime | None = None
    retrieved_at: datetime | None = None
    vintage: str = ""

    def __post_init__(self) -> None:
        for name in ("issued_at", "retrieved_at"):
            stamp = getattr(self, name)
            if stamp is None:
                continue
            if stamp.tzinfo is None:
                raise InvalidQuantity(name, repr(stamp), "give it a time zone; we keep UTC")
            object.__setattr__(self, name, stamp.astimezone(UTC))
        if self.issued_at and self.retrieved_at:
            ahead_s = (self.issued_at - self.retrieved_at).total_seconds()
            if ahead_s > CLOCK_SLACK_S:
                raise GridDataInvalid(
                    self.provider,
                    self.zone,
                    f"it was issued {ahead_s:.0f} s after we fetched it, so one of the clocks is wrong",
                    "Check this machine's clock (timedatectl, ntpq)",
                )
