"""`measure`: one command, one receipt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outweigh.app.files import find_ledger
from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.receipt import Receipt
from outweigh.core.rounding import si


def measure(
    command: Sequence[str],
    *,
    meter: str | None = None,
    hum_s: float = 2.0,
    phase: str = "development",
    project: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
) -> tuple[Receipt, str, str]:
    """Run a command, measure it and keep the receipt.

    Args:
        hum_s: how long to listen to the idle draw before [s].
        labels: "key=value" texts to keep on the receipt.

    Returns:
        The receipt, its address and where it was kept.

    Raises:
        CommandNotRun: the command does not exist or cannot be executed.
        LedgerError, MeterUnavailable: before the command is started.
    """
    from outweigh.ledger import open_ledger
    from outweigh.measure import MeterSession, choose_meter, measure_command
    from outweigh.registry import executors

    chosen, _ = choose_meter(meter)
    where = find_ledger(ledger)
    store = open_ledger(where)
    try:
        with MeterSession(chosen) as session:
            receipt = measure_command(
                session,
                executors.get("local")(),
                command,
                project=project or Path.cwd().name,
                phase=Phase(phase),
                hum_s=hum_s,
                labels=parse_labels(labels),
            )
        return receipt, store.append(receipt), str(where)
    finally:
        store.close()


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """
    >>> parse_labels(["team=triage", "why="])
    {'team': 'triage', 'why': ''}
    """
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{text!r} is not a label", "Write it as KEY=VALUE, such as --label team=triage")
        labels[key] = value
    return labels


def receipt_line(receipt: Receipt, address: str, kept_in: str) -> str:
    """A receipt in a few lines for people: figure, interval, split, how we know it, where it is kept."""
    total = receipt.total
    lines = [
        f"{si(total.value.joules, 'J', total.bounds_j.half_width)} in {total.interval.seconds:.1f} s   "
        f"{total.method}, grade {total.grade}, {total.scope}   {receipt.status}"
    ]
    if receipt.hum is not None and receipt.work is not None:
        lines.append(
            f"  hum {si(receipt.hum.value.joules, 'J', receipt.hum.bounds_j.half_width)}, "
            f"work {si(receipt.work.value.joules, 'J', receipt.work.bounds_j.half_width)}"
        )
    lines.append(f"  how: {total.source}")
    lines += [f"  note: {text}" for text in receipt.notes]
    lines.append(f"  receipt {address[:12]} in {kept_in}")
    return "\n".join(lines)
