"""Records of other tools, taken into the ledger as what they are: theirs, with their grade.

One file a format; its name is the name people type. A format has `read(text, about) -> Foreign`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Final, cast

from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.imports._foreign import JOB, About, Foreign
from outweigh.ports import ReceiptFilter, Store

__all__ = ["FORMATS", "SLURM_JOB", "About", "Foreign", "guess_format", "import_foreign", "read_foreign"]

#: Label of a receipt that `outweigh run` left of a job of Slurm: its number there.
SLURM_JOB: Final = "outweigh.slurm_job"
_SACCT: Final = "import:sacct"
FORMATS = ("codecarbon", "dcgm", "kepler", "sacct", "trtllm", "vllm", "zeus")


def read_foreign(text: str, about: About, kind: str = "") -> Foreign:
    """The receipts in a foreign file, nothing kept yet.

    Args:
        kind: one of FORMATS; "" guesses it from the content.

    Raises:
        UsageError: the format is unknown, or the file is not what it should be; with its line.
    """
    text = text.removeprefix("\ufeff")  # some Windows programs begin a text with it
    kind = kind or guess_format(text)
    if kind not in FORMATS:
        raise UsageError(
            f"{about.source}: {kind or 'what it holds'!r} is no format outweigh imports",
            f"Give one of {', '.join(FORMATS)}",
        )
    module = importlib.import_module(f"outweigh.ledger.imports.{kind}")
    return cast("Callable[[str, About], Foreign]", module.read)(text, about)


def import_foreign(store: Store, text: str, about: About, kind: str = "") -> tuple[int, int, tuple[str, ...]]:
    """Read a foreign file whole, then keep its receipts; reading it again adds nothing.

    A record of a job of Slurm that `outweigh run` has a figure of in this ledger is left out: both hold the same
    joules, and receipts are never taken back.

    Returns:
        (new, known, left out): receipts added, receipts the ledger had, one sentence for each record left out.

    Raises:
        UsageError: as `read_foreign`. Nothing was kept.
        LedgerError: the ledger cannot be written. What was kept before stays; repeating goes on from there.
    """
    found = read_foreign(text, about, kind)
    followed = _followed(store, found.receipts)
    left_out = list(found.left_out)
    new = known = 0
    for receipt in found.receipts:
        if address := followed.get(receipt.content_hash):
            job = dict(receipt.labels)[JOB]
            left_out.append(f"job {job}: receipt {address[:12]} of `outweigh run` has its energy")
            continue
        try:
            store.get(receipt.content_hash)
        except UsageError:
            store.append(receipt)
            new += 1
        else:
            known += 1
    return new, known, tuple(left_out)


def _followed(store: Store, receipts: Sequence[Receipt]) -> dict[str, str]:
    """Address of the receipt that `outweigh run` left of the same job, by that of the record. A number of a job may
    come again, on another cluster or after years: the two have run at one time."""
    asked = [(dict(receipt.labels).get(JOB), receipt) for receipt in receipts if receipt.meter == _SACCT]
    if not asked:
        return {}
    whole = Interval(
        min(receipt.interval.start for _, receipt in asked), max(receipt.interval.end for _, receipt in asked)
    )
    left: dict[str, list[tuple[str, Receipt]]] = {}
    for address, receipt in store.receipts(ReceiptFilter(within=whole)):
        job = dict(receipt.labels).get(SLURM_JOB)
        if job is not None and receipt.status is not RunStatus.UNUSABLE:
            left.setdefault(job, []).append((address, receipt))
    return {
        record.content_hash: address
        for job, record in asked
        for address, receipt in left.get((job or "").partition("_")[0], ())  # an array's tasks are its job's
        if receipt.interval.overlap_s(record.interval) > 0
    }


def guess_format(text: str) -> str:
    """The format a text looks like, "" when none. It looks for what each format cannot do without.

    >>> guess_format("JobID|Start|End|ConsumedEnergyRaw\\n")
    'sacct'
    """
    text = text.removeprefix("\ufeff").lstrip()
    first = text.partition("\n")[0]
    if text.startswith(("{", "[")):
        signs = (
            ("DCGM_FI_", "dcgm"), ("kepler_", "kepler"), ('"gpu_energy_j"', "vllm"), ('"ttft', "vllm"),
            ('"total_latency_ms"', "trtllm"), ('"gpu_energy"', "zeus"), ('"jobs"', "sacct"),
            ('"total_output_tokens"', "vllm"),
        )  # fmt: skip
        return next((kind for sign, kind in signs if sign in text), "")
    if "ConsumedEnergyRaw" in first:
        return "sacct"
    if "energy_consumed" in first:
        return "codecarbon"
    return "zeus" if first.startswith(("start_time,", "time,")) else ""
