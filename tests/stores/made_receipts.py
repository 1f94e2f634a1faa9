"""Made-up receipts, and a process that writes them: `python made_receipts.py PATH-OR-URL FIRST COUNT`.

The process prints the address of each receipt once `append` has returned, so that whoever kills it knows what
was acknowledged. Every figure here is invented and says so (project "synthetic", method "replayed").
"""

import sys
from datetime import UTC, datetime, timedelta

from outweigh.core import (
    Bounds,
    Energy,
    Factor,
    Grade,
    Interval,
    Latency,
    Measurement,
    MeterCost,
    Method,
    Phase,
    Quality,
    Receipt,
    RunStatus,
    Scope,
    UncertaintyComponent,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FACTOR = Factor("invented", 1.0, "W", "made up for tests", "2026", "2026-01-01", "none", Grade.C)


def made_measurement(joules=100.0, start=EPOCH, seconds=10.0, scope=Scope.PACKAGE, grade=Grade.B):
    return Measurement(
        value=Energy(joules),
        interval=Interval(start, start + timedelta(seconds=seconds)),
        scope=scope,
        grade=grade,
        method=Method.REPLAYED,
        source="synthetic",
        components=(UncertaintyComponent("invented", 0.5, "made up"),),
        factors=(FACTOR,),
    )


def made_receipt(
    index=0, *, joules=None, start=None, seconds=10.0, scope=Scope.PACKAGE, grade=Grade.B, phase=Phase.INFERENCE,
    status=RunStatus.COMPLETED, batch="", project="synthetic", variant="base", run_id=None, labels=(),
):  # fmt: skip
    start = EPOCH + timedelta(minutes=index) if start is None else start
    joules = 100.0 + index if joules is None else joules
    total = made_measurement(joules, start, seconds, scope, grade)
    return Receipt(
        run_id=f"run-{index:06d}" if run_id is None else run_id,
        project=project,
        phase=phase,
        status=status,
        total=total,
        hum=made_measurement(joules * 0.25, start, seconds, scope, grade),
        work=made_measurement(joules * 0.75, start, seconds, scope, grade),
        batch=batch,
        variant=variant,
        units=40.0,
        unit="ticket",
        quality=(Quality("accuracy", 0.9, 400, Bounds(0.87, 0.93)),),
        latency=Latency(9.0, 8.5, 14.0, 40),
        meter="replay",
        meter_cost=MeterCost(0.01, None),
        versions=(("outweigh", "0.0"),),
        labels=labels,
        notes=("synthetic: café, 37 °C",),
    )


def main(location, first, count):
    from outweigh.ledger import open_ledger

    store = open_ledger(location)
    for index in range(int(first), int(first) + int(count)):
        sys.stdout.write(store.append(made_receipt(index)) + "\n")
        sys.stdout.flush()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
