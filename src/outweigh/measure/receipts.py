"""From a reading to a receipt: who ran, on which meter, with which versions. Nothing about the machine or the code.

A receipt never holds host names, environment variables, command lines, prompts or source code; what a user
wants on it goes in as a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from outweigh.core.budget import Phase
from outweigh.core.receipt import HumSplit, Latency, MeterCost, Quality, Receipt, RunStatus
from outweigh.measure.reading import WindowReading


def versions(meter_source: str) -> tuple[tuple[str, str], ...]:
    """(name, version) of what shaped a figure: this package, Python, and the meter's own source."""
    # Imported here: reading package metadata costs more than everything else in this room.
    import platform
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("outweigh")
    except PackageNotFoundError:
        ours = "unknown"
    return (("meter", meter_source), ("outweigh", ours), ("python", platform.python_version()))


def receipt_for(
    reading: WindowReading,
    *,
    meter: str,
    project: str,
    phase: Phase,
    status: RunStatus | None = None,
    batch: str = "",
    variant: str = "",
    variant_hash: str = "",
    round_index: int | None = None,
    units: float | None = None,
    unit: str = "",
    quality: Sequence[Quality] = (),
    latency: Latency | None = None,
    meter_cost: MeterCost | None = None,
    exit_code: int | None = None,
    labels: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    hum_split: HumSplit | None = None,
    run_id: str = "",
) -> Receipt:
    """The receipt of one window.

    Args:
        meter: name of the meter.
        status: how the run ended; a reading that cannot be used stays UNUSABLE whatever is given.
        notes: what to add to the reading's own notes.
        hum_split: what the hum is made of (`outweigh.measure.hum.split_of`).
        run_id: the id that the run's journal or samples have already; a new one by default.
    """
    import uuid

    unusable = reading.status is RunStatus.UNUSABLE
    return Receipt(
        run_id=run_id or uuid.uuid4().hex,
        project=project,
        phase=phase,
        status=RunStatus.UNUSABLE if unusable else status or reading.status,
        total=reading.total,
        hum=reading.hum,
        work=reading.work,
        batch=batch,
        variant=variant,
        variant_hash=variant_hash,
        round_index=round_index,
        units=units,
        unit=unit,
        quality=tuple(quality),
        latency=latency,
        meter=meter,
        meter_cost=meter_cost,
        overlapping=reading.overlapping,
        exit_code=exit_code,
        versions=versions(reading.total.source),
        labels=tuple(sorted((labels or {}).items())),
        notes=(*reading.notes, *notes),
        hum_split=hum_split,
    )
