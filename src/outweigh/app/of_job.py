"""The job of a plan that this process runs in, as its executor and its supervisor told it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.receipt import Receipt
from outweigh.ledger.drawn import OF_JOB
from outweigh.run.inside import OF_JOB_S

_KEY: Final = "OUTWEIGH_JOB"
_PROJECT, _PHASE = "OUTWEIGH_JOB_PROJECT", "OUTWEIGH_JOB_PHASE"


@dataclass(frozen=True, slots=True)
class OfJob:
    """The job, and what its receipts are booked on; "" and None where nobody says."""

    key: str
    project: str
    phase: Phase | None

    @staticmethod
    def found(environment: Mapping[str, str] = os.environ) -> OfJob | None:
        """None outside a job. Raises UsageError for a phase that is none."""
        key, phase = environment.get(_KEY, ""), environment.get(_PHASE, "")
        if not key:
            return None
        if phase and phase not in set(Phase):
            raise UsageError(f"{_PHASE} is {phase!r}, which is no phase", f"Say one of {', '.join(Phase)}, or unset it")
        return OfJob(key, environment.get(_PROJECT, ""), Phase(phase) if phase else None)

    @property
    def labels(self) -> dict[str, str]:
        return {OF_JOB: self.key}


def there(receipt: Receipt, since_s: float) -> Receipt:
    """A receipt that was written inside a job, with how long who measured was there; any other one as it is.

    Args:
        since_s: when that began [s], on the monotonic clock.
    """
    if OF_JOB not in dict(receipt.labels):
        return receipt
    labels = {**dict(receipt.labels), OF_JOB_S: repr(round(time.monotonic() - since_s, 3))}
    return replace(receipt, labels=tuple(sorted(labels.items())))
