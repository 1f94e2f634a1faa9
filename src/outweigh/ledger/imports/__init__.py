"""Records of other tools, taken into the ledger as what they are: theirs, with their grade.

One file a format; its name is the name people type. A format has `read(text, about) -> Foreign`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from outweigh.core.errors import UsageError
from outweigh.ledger.imports._foreign import About, Foreign
from outweigh.ports import Store

__all__ = ["FORMATS", "About", "Foreign", "guess_format", "import_foreign", "read_foreign"]

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

    Returns:
        (new, known, left out): receipts added, receipts the ledger had, one sentence for each record left out.

    Raises:
        UsageError: as `read_foreign`. Nothing was kept.
        LedgerError: the ledger cannot be written. What was kept before stays; repeating goes on from there.
    """
    found = read_foreign(text, about, kind)
    new = known = 0
    for receipt in found.receipts:
        try:
            store.get(receipt.content_hash)
        except UsageError:
            store.append(receipt)
            new += 1
        else:
            known += 1
    return new, known, found.left_out


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
