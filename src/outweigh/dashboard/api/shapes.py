"""What may be sent in, as pydantic sees it: strict, finite, within what can be, of known fields and bounded length.

A receipt's shape is that of `core.Receipt.to_dict`, schemas 1 and 2. Figures are bounded so that sums, quotients and
squares of them stay numbers: a receipt cannot be taken back, and one odd figure would spoil every page it is on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_RECEIPTS = 500
_MOST = 1000  # entries of a list in a receipt
_WHOLE = 2**53  # what every JSON reader still takes for a whole number
_MOST_J = 1e21  # the world draws 6e20 J of primary energy a year (Energy Institute, Statistical Review, 2024)
_LEAST_UNITS, _MOST_UNITS = 1e-9, 1e18
_FARTHEST = 1e30  # of any other figure

Text = Annotated[str, Field(max_length=10_000)]
Name = Annotated[str, Field(max_length=500)]
Whole = Annotated[int, Field(ge=-_WHOLE, le=_WHOLE)]
Joules = Annotated[float, Field(ge=-_MOST_J, le=_MOST_J)]
Number = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST)]
#: None was delivered, or a number that energy can be divided by.
Units = Annotated[float, Field(ge=0, le=0)] | Annotated[float, Field(ge=_LEAST_UNITS, le=_MOST_UNITS)]
Time = Annotated[
    str,
    Field(
        max_length=40,
        pattern="^(19[789]|2[01][0-9])[0-9]-",
        description="ISO 8601 with its distance from UTC, of 1970 to 2199.",
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class FactorIn(_Strict):
    name: Text
    value: Number
    unit: Name
    source: Text
    grade: Name
    issued: Text = ""
    retrieved: Text = ""
    licence: Text = ""


class ComponentIn(_Strict):
    name: Text
    standard_j: Joules
    source: Text


class MeasurementIn(_Strict):
    """Energy [J] with its standard uncertainty (k = 1), interval, scope, grade, method and source."""

    energy_j: Joules
    standard_uncertainty_j: Joules
    start: Time
    end: Time
    scope: Name
    grade: Name
    method: Name
    source: Text
    components: list[ComponentIn] = Field(max_length=_MOST)
    factors: list[FactorIn] = Field(max_length=_MOST)


class BoundsIn(_Strict):
    low: Number
    high: Number
    confidence: Number


class QualityIn(_Strict):
    metric: Name
    value: Number
    n: Whole
    bounds: BoundsIn | None


class LatencyIn(_Strict):
    mean_ms: Number
    p50_ms: Number
    p95_ms: Number
    n: Whole


class MeterCostIn(_Strict):
    cpu_s: Number
    energy_j: Joules | None


class HumSplitIn(_Strict):
    allocated_j: Joules | None
    unallocated_j: Joules | None
    host_j: Joules | None
    cooling_j: Joules | None


class ReceiptIn(_Strict):
    """The record of one run, as `outweigh ledger export` writes it under `body`."""

    schema_: Literal[1, 2] = Field(alias="schema")
    run_id: Annotated[str, Field(min_length=1, max_length=200)]
    project: Name
    phase: Name
    status: Name
    total: MeasurementIn
    hum: MeasurementIn | None
    work: MeasurementIn | None
    batch: Name
    variant: Name
    variant_hash: Name
    round_index: Whole | None
    units: Units | None
    unit: Name
    quality: list[QualityIn] = Field(max_length=_MOST)
    latency: LatencyIn | None
    meter: Name
    meter_cost: MeterCostIn | None
    overlapping: list[MeasurementIn] = Field(max_length=_MOST)
    exit_code: Whole | None
    versions: dict[Name, Text] = Field(max_length=_MOST)
    labels: dict[Name, Text] = Field(max_length=_MOST)
    notes: list[Text] = Field(max_length=_MOST)
    hum_split: HumSplitIn | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `core.Receipt.from_dict` reads."""
        body = self.model_dump(by_alias=True)
        if self.hum_split is None:
            del body["hum_split"]
        return body


class ReceiptsIn(_Strict):
    receipts: list[ReceiptIn] = Field(min_length=1, max_length=MOST_RECEIPTS)


class TokenIn(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    role: Literal["reader", "writer", "owner"]
    expires: Annotated[str, Field(max_length=8, pattern="^[0-9]{1,5}[dh]$")] | None = Field(
        None, description="How long it holds: 90d, 12h; without it until it is revoked."
    )
