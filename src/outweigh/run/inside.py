"""Runs measured inside a job that is followed: their receipts stand where its declared power would have stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.drawn import OF_JOB
from outweigh.ports import ReceiptFilter
from outweigh.ports.serving import KeepsTexts
from outweigh.run.tracked import Tracked

#: Label beside OF_JOB: how long who measured was there, listening included [s].
OF_JOB_S = "outweigh.of_job_s"
#: Labels of the job's own receipt: energy that was measured inside it, and the run time that is of.
MEASURED_J, MEASURED_S = "outweigh.measured_j", "outweigh.measured_s"
#: Time at work of which nobody measured anything is charged at the declared power, but for what starting and ending a
#: command takes: this share of it, or this long [s].
_SHARE: Final = 0.05
_SHORT_S: Final = 10.0
_PAGE: Final = 500
_FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Inside:
    """What was measured inside a job.

    Attributes:
        whole: what the job drew: the sum of it, and declared power where nobody measured.
        rest: what of that is on no other receipt, so that nothing is counted twice; nothing where all was measured.
        labels: for the job's own receipt.
        note: for people.
    """

    whole: Measurement
    rest: Measurement
    labels: Mapping[str, str]
    note: str


class Insides:
    """Reads a ledger on, from where it was read last, for what was measured inside jobs.

    Args:
        store: the ledger; one that hands out no texts is not read.
        begin: nothing is older.
    """

    def __init__(self, store: object, begin: datetime) -> None:
        self._store = store if isinstance(store, KeepsTexts) else None
        self._which = ReceiptFilter(within=Interval(begin, _FOREVER))
        self._after: int | None = None
        self._found: dict[str, list[Receipt]] = {}

    def of(self, key: str) -> Sequence[Receipt]:
        """Receipts that were written inside a job, and are usable. Raises LedgerError."""
        while self._store is not None and (page := self._store.texts(self._which, after=self._after, limit=_PAGE)):
            for kept in page:
                if OF_JOB not in kept.text:
                    continue  # most are of no job, and need not be built
                receipt = Receipt.from_dict(json.loads(kept.text))
                job = dict(receipt.labels).get(OF_JOB)
                if job is not None and receipt.status is not RunStatus.UNUSABLE:
                    self._found.setdefault(job, []).append(receipt)
            self._after = page[-1].number
        return self._found.get(key, ())


def inside(job: Tracked, receipts: Sequence[Receipt], run_s: float, interval: Interval) -> Inside | None:
    """What receipts written inside a job say of it; None where there is none, or where they leave out a part of which
    nobody says what it drew.

    Args:
        run_s: its time at work [s]. interval: from its first start to its end.
    """
    if not receipts:
        return None
    rest_s = run_s - sum(_there_s(receipt) for receipt in receipts)
    rest_s = rest_s if rest_s > max(_SHARE * run_s, _SHORT_S) else 0.0
    if rest_s and not job.terms.power_known:
        return None
    totals = [receipt.total for receipt in receipts]
    measured = [total for total in totals if total.method.is_measured]
    names = ", ".join(receipt.content_hash[:12] for receipt in receipts)
    source = f"measured inside the job: receipt {names}"
    rest_j = rest_s * job.power_w()
    limits = UncertaintyComponent("declared power", 0.5 * rest_j / 3**0.5, "± 50 %, rectangular; not measured")
    grade = Grade.D if rest_s else Grade.worst(total.grade for total in totals)
    method = totals[0].method if len({total.method for total in totals}) == 1 and not rest_s else Method.MODELLED
    # The parts may share a meter, and with it an error: standard uncertainties add.
    standard_j = sum(total.standard_uncertainty.joules for total in totals)
    parts = (UncertaintyComponent("what was measured", standard_j, source), *((limits,) if rest_s else ()))
    joules = sum(total.value.joules for total in totals)
    scopes = {total.scope for total in totals}
    scope = scopes.pop() if len(scopes) == 1 and not rest_s else Scope.NODE
    whole = Measurement(Energy(joules + rest_j), interval, scope, grade, method, source, components=parts)
    if rest_s:
        rest = Measurement(
            Energy(rest_j), interval, Scope.NODE, Grade.D, Method.DECLARED,
            f"declared power of the plan x {rest_s:.0f} s that nobody measured", components=(limits,),
        )  # fmt: skip
    else:
        rest = Measurement(Energy(0.0), interval, scope, grade, method, source)
    labels = {}
    if measured:
        length_s = sum(total.interval.seconds for total in measured)
        labels = {MEASURED_J: repr(sum(total.value.joules for total in measured)), MEASURED_S: repr(length_s)}
    note = f"its energy is on receipt {names}, written inside it"
    return Inside(whole, rest, labels, f"{note}; {rest.source}" if rest_s else f"{note}, and not counted here again")


def _there_s(receipt: Receipt) -> float:
    try:
        return float(dict(receipt.labels)[OF_JOB_S])
    except (KeyError, ValueError):
        return receipt.interval.seconds
