"""A receipt as the flat numbers and words that trackers take: the unit is in every name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outweigh.core.measurement import Measurement
from outweigh.core.receipt import Receipt, RunStatus

if TYPE_CHECKING:
    from outweigh.measure import WindowReading


def numbers_of(receipt: Receipt) -> dict[str, float]:
    """Figures of a receipt; what is not known is not there.

    `energy_j` is hum and work together, `energy_standard_uncertainty_j` is its standard uncertainty (k = 1).
    """
    numbers = _split(receipt.total, receipt.hum, receipt.work)
    numbers["energy_standard_uncertainty_j"] = receipt.total.standard_uncertainty.joules
    numbers["duration_s"] = receipt.interval.seconds
    if receipt.units:
        numbers["units"] = receipt.units
        numbers[f"energy_j_per_{_word(receipt.unit)}"] = receipt.total.value.joules / receipt.units
    return numbers


def numbers_so_far(reading: WindowReading, units: float | None, unit: str) -> dict[str, float]:
    """The same of a run that goes on; empty when its samples do not carry a figure."""
    if reading.status is RunStatus.UNUSABLE:
        return {}
    numbers = _split(reading.total, reading.hum, reading.work)
    if units:
        numbers[f"energy_j_per_{_word(unit)}"] = reading.total.value.joules / units
    return numbers


def words_of(receipt: Receipt) -> dict[str, str]:
    """What has to be known beside the figures: how good they are and how they came about."""
    return {
        "energy_grade": receipt.grade.value,
        "energy_method": receipt.total.method.value,
        "energy_scope": receipt.total.scope.value,
        "energy_status": receipt.status.value,
        "energy_meter": receipt.meter,
        "energy_receipt": receipt.content_hash,
    }


def receipt_json(receipt: Receipt) -> str:
    """The receipt whole, with its address."""
    body = {"receipt": receipt.content_hash, **receipt.to_dict()}
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False)


def _split(total: Measurement, hum: Measurement | None, work: Measurement | None) -> dict[str, float]:
    numbers = {"energy_j": total.value.joules}
    if hum is not None and work is not None:
        numbers |= {"energy_hum_j": hum.value.joules, "energy_work_j": work.value.joules}
    return numbers


def _word(unit: str) -> str:
    """
    >>> _word("solved task"), _word("")
    ('solved_task', 'unit')
    """
    return "".join(c if c.isalnum() else "_" for c in unit) or "unit"
