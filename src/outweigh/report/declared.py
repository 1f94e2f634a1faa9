"""What no meter knows and a standard asks for: model, grid, building, making of the hardware, contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonIntensity, CarbonScope, Energy, Price


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model as its maker describes it. What is None or "" was not declared.

    Attributes:
        training_flop: floating-point operations of the training run.
        inference_flop: of the task that `inference_task` describes ("generating 100000 tokens").
        training_type: "pre-training" or "fine-tuning".
        hardware: what it was trained on ("8 x NVIDIA H100").
        hardware_count: how many accelerators; gives hardware-days.
        location: where it was trained, as granular as one likes to say.
    """

    name: str = ""
    version: str = ""
    supplier: str = ""
    licence: str = ""
    kind: str = ""
    parameters: float | None = None
    training_tokens: float | None = None
    training_flop: float | None = None
    inference_flop: float | None = None
    inference_task: str = ""
    inference_hardware: str = ""
    training_type: str = ""
    hardware: str = ""
    hardware_count: float | None = None
    location: str = ""
    release: date | None = None
    download: str = ""


@dataclass(frozen=True, slots=True)
class Embodied:
    """Carbon of making and disposing of hardware, and the share of it that the software has.

    Attributes:
        low_g, high_g: TE, the sum of life-cycle assessments of its components [gCO2e]; alike where one figure is known.
        lifespan_s: EL, how long the hardware will be installed [s].
        share: RR/ToR, the share of its resources reserved, in (0, 1].
        reserved_s: TiR, how long they were reserved [s]; None takes the time of the receipts.
        side: "consumer" or "provider", where it serves one of the two boundaries of the SCI for AI; "" for both.
        source: who says so.
    """

    name: str
    low_g: float
    high_g: float
    lifespan_s: float
    share: float = 1.0
    reserved_s: float | None = None
    side: str = ""
    source: str = "declared"

    def __post_init__(self) -> None:
        if not 0 <= self.low_g <= self.high_g:
            raise InvalidQuantity("embodied carbon", f"{self.low_g} to {self.high_g} g", "give low up to high, from 0")
        if self.lifespan_s <= 0 or not 0 < self.share <= 1:
            given = f"{self.lifespan_s:g} s, {self.share:g}"
            raise InvalidQuantity("lifespan or share", given, "a lifespan is above 0, a share above 0 and up to 1")

    def grams(self, seconds: float) -> tuple[float, float]:
        """M, low and high [gCO2e]: TE x (TiR / EL) x (RR / ToR).

        Args:
            seconds: the time of the receipts [s]; used where no time is declared.

        Source: ISO/IEC 21031:2024; Green Software Foundation, SCI specification 1.1.0, "Embodied emissions".

        >>> four_years_s = 4 * 365 * 24 * 3600
        >>> round(Embodied("server", 1e6, 1e6, four_years_s).grams(3600)[0], 1)
        28.5
        """
        part = (self.reserved_s if self.reserved_s is not None else seconds) / self.lifespan_s * self.share
        return self.low_g * part, self.high_g * part


@dataclass(frozen=True, slots=True)
class Instrument:
    """A contract for power: a certificate, a purchase agreement, a supplier's own rate.

    Attributes:
        g_per_kwh: what it says a kWh carries; `scope` whether at the stack or over the life cycle.
        energy: how much it covers in the period; None covers everything (a supplier's rate).
        hourly: energy by hour [J], by the hour's start as UTC epoch [s]; empty where only its sum is known.
    """

    name: str
    g_per_kwh: float
    energy: Energy | None = None
    scope: CarbonScope = CarbonScope.DIRECT
    hourly: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Billing:
    """Who bills whom, for FOCUS.

    Attributes:
        invoiced: True where these rows are the invoice. By default they show what runs cost, and the invoice is the
            power supplier's: a billed cost of 0, or it would be counted twice.
    """

    account: str = ""
    account_name: str = ""
    issuer: str = ""
    provider: str = ""
    region: str = ""
    invoiced: bool = False


@dataclass(frozen=True, slots=True)
class PowerSetup:
    """How power was measured, for the MLPerf rules; None was not declared.

    Attributes:
        analyser: model of the power analyser, "" for none.
        accuracy: specified accuracy of the meter at 1 Hz, as a share.
        nodes: nodes that took part.
    """

    analyser: str = ""
    accuracy: float | None = None
    nodes: int | None = None
    clocks_synchronised: bool | None = None
    battery_between: bool | None = None
    interconnect_counted: bool | None = None
    management_documented: bool | None = None
    performance_phase_only: bool | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """All that was declared or looked up, each rate with where it came from.

    Attributes:
        intensity: carbon of a kWh, location-based or marginal; never by contract.
        hours: the same by hour, (start as UTC epoch [s], g/kWh or None for a gap); empty where one figure holds.
        residual: carbon of a kWh that no instrument covers, for the market-based figure.
        sci_kind: kind of AI system by the SCI for AI ("llm"); `sci_units` how many of its units one of ours is.
        sci_count: how many of its units were delivered in all, where they are counted elsewhere.
    """

    model: ModelFacts = ModelFacts()
    intensity: tuple[CarbonIntensity, Factor] | None = None
    hours: tuple[tuple[float, float | None], ...] = ()
    hours_source: str = ""
    hours_scope: CarbonScope = CarbonScope.LIFECYCLE
    hours_grade: Grade = Grade.D
    pue: tuple[float, Factor] | None = None
    price: tuple[Price, Factor] | None = None
    embodied: tuple[Embodied, ...] = ()
    instruments: tuple[Instrument, ...] = ()
    residual: tuple[CarbonIntensity, Factor] | None = None
    billing: Billing = Billing()
    power: PowerSetup = field(default_factory=PowerSetup)
    sci_kind: str = ""
    sci_units: float | None = None
    sci_count: float | None = None
