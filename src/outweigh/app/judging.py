"""A verdict, what waivers make of it, and what it hangs on: the key `weighing` of a review document."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from outweigh.app.keeping import keep_sitting
from outweigh.app.sitting import Progress, Sat, silent, sit
from outweigh.app.weighing import contenders_of, hangs_on, sites_of, terms_of, verdict_of
from outweigh.core.measurement import utc
from outweigh.core.project import Project
from outweigh.core.rounding import significant
from outweigh.core.site import Site
from outweigh.core.verdict import Outcome, Verdict
from outweigh.core.waiver import Waiver
from outweigh.gate import Ranked, Sensitivity, Terms, Waived, ranking, under_waivers, verdict_id, waiver_to_paste
from outweigh.ledger import open_ledger
from outweigh.report.shape import SensitivityShape, WaiverShape, WeighingShape


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict of a sitting.

    Attributes:
        content: content hash of what was proposed.
        n_items: evaluation items it was judged on.
    """

    waived: Waived
    content: str
    n_items: int
    sensitivity: Sensitivity
    ranking: tuple[Ranked, ...]
    project: Project

    @property
    def verdict(self) -> Verdict:
        return self.waived.verdict

    @property
    def exit_code(self) -> int:
        return self.waived.exit_code

    def weighing(self) -> WeighingShape:
        """What stands beside a verdict: its id, its waivers, what it hangs on, and the limits it was held to."""
        waived, verdict = self.waived, self.verdict
        passed = verdict.outcome is Outcome.PASS
        return {
            "verdict_id": verdict_id(verdict, self.content),
            "content_hash": self.content,
            "waived": waived.waived,
            "exit_code": waived.exit_code,
            "open_parts": list(waived.open_parts),
            "waivers": [
                *(_waiver(one, "applied", waived.open_parts) for one in waived.applied),
                *(_waiver(one, "expired", ()) for one in waived.expired),
                *(_waiver(one, "other", ()) for one in waived.others),
            ],
            "waiver_to_paste": "" if passed else waiver_to_paste(verdict, self.content),
            "per_unit_limits_j": {
                budget.name: budget.per_unit.joules
                for budget in self.project.budgets
                if budget.per_unit is not None and budget.phase.value == "inference"
            },
            "sensitivity": _sensitivity(self.sensitivity, verdict, self.n_items),
            "ranking": [
                {
                    "variant": one.name,
                    "benefit_low_per_month": one.worth.benefit_low,
                    "cost_high_per_month": one.worth.cost_high,
                    "currency": one.worth.currency,
                    "ratio": one.ratio if math.isfinite(one.ratio) else None,
                }
                for one in self.ranking
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """A sitting and what the gate says of it.

    Attributes:
        judged_at: when; waivers are held against this instant.
    """

    sat: Sat
    judged: Judged
    sites: tuple[Site, ...]
    judged_at: datetime

    @property
    def verdict(self) -> Verdict:
        return self.judged.verdict


def sit_and_weigh(
    project: Project,
    names: Sequence[str],
    ledger: Path | str,
    *,
    meter: str | None = None,
    progress: Progress = silent,
    allow_device_settings: bool = False,
    held: Callable[[Verdict], Verdict] = lambda verdict: verdict,
) -> Weighed:
    """Measure the contenders against each other, weigh the proposal, and hold the waivers against the verdict.

    Args:
        names: incumbent, proposal, anchor and alternatives, each once.
        ledger: file or URL; what was measured is in it whatever happens after.
        held: what the rule does not know and a verdict is held to as well.

    Raises:
        OutweighError: with the exit code and remedy of what went wrong.
    """
    gate = project.gate
    sites = sites_of(project)
    home = sites[0] if sites else None
    store = open_ledger(ledger)
    try:
        sat = sit(
            project,
            names,
            home=home,
            store=store,
            meter=meter,
            progress=progress,
            essential=[name for name in (gate.incumbent, gate.proposal, gate.anchor) if name],
            # The gate weighs quality as well as energy, and needs every item for it.
            every_round=True,
            allow_device_settings=allow_device_settings,
        )
        progress("weighing", 0.98)
        terms = terms_of(sat, home=home, store=store)
        verdict = held(verdict_of(sat, terms))
    finally:
        store.close()
    now = datetime.now(UTC)
    sat = keep_sitting(ledger, sat)
    return Weighed(sat, judged(sat, verdict, terms, now), sites, now)


def judged(sat: Sat, verdict: Verdict, terms: Terms, now: datetime) -> Judged:
    """Hold the project's waivers against a verdict, and see what it hangs on."""
    proposed = sat.comparison.evidence[verdict.proposal]
    content = proposed.variant.content_hash
    waived = under_waivers(verdict, content, sat.project.waivers, now)
    by_value = ranking(contenders_of(sat), terms, seed=sat.project.protocol.seed)
    return Judged(waived, content, int(proposed.items.size), hangs_on(sat, terms), by_value, sat.project)


def _waiver(waiver: Waiver, state: str, open_parts: Sequence[str]) -> WaiverShape:
    day = f"{waiver.expires:%Y-%m-%d}"
    if state == "expired":
        statement = f"ran out on {day} and no longer counts: {waiver.owner}, {waiver.reason}"
    elif state == "other":
        statement = (
            f"of {waiver.proposal} with content {waiver.content[:12]}, which is not what was weighed: it does not "
            f"count ({waiver.owner} until {day}: {waiver.reason})"
        )
    else:
        rest = f"; it does not cover {', '.join(open_parts)}" if open_parts else ""
        statement = f"by {waiver.owner} until {day}: {waiver.reason}{rest}"
    return {
        "state": state, "proposal": waiver.proposal, "content": waiver.content, "verdict": waiver.verdict,
        "owner": waiver.owner, "reason": waiver.reason, "expires": utc(waiver.expires), "parts": list(waiver.parts),
        "statement": statement,
    }  # fmt: skip


def _sensitivity(found: Sensitivity, verdict: Verdict, n_items: int) -> SensitivityShape:
    turning = dict.fromkeys(one.what for one in found.turning(verdict.outcome))
    turns = f"moving {' or '.join(turning)} within the table turns it" if turning else "nothing in the table turns it"
    return {
        "settings": [
            {
                "what": one.what, "value": one.value, "outcome": one.outcome.value, "decided_by": one.decided_by,
                "declared": one.declared, "turns": one.outcome is not verdict.outcome,
            }
            for one in found.settings
        ],
        "eta_holds": _ends(found.holds),
        "eta_refuted": _ends(found.refuted),
        "smallest_gain": found.smallest_gain,
        "cut_asked": found.cut_asked,
        "items_for_cut_asked": found.items_for_cut_asked,
        "statement": (
            f"The verdict is {verdict.outcome}; {turns}. The proportion alone holds {_etas(found.holds)} and is "
            f"refuted {_etas(found.refuted)}."
        ),
        "power_statement": " ".join(_power(found, verdict, n_items)),
    }  # fmt: skip


def _power(found: Sensitivity, verdict: Verdict, n_items: int) -> Iterator[str]:
    """What the evaluation can show at all, what is asked of it, and what would settle an open verdict."""
    if found.smallest_gain is None:
        yield "No gain can be told: an error lies beyond the declared ceiling."
    else:
        yield (
            f"The smallest gain that {n_items:,} items like these show in 4 of 5 cases is a cut in error of "
            f"{_percent(found.smallest_gain)}."
        )
    if found.cut_asked is not None:
        many = "more items than anybody has" if found.items_for_cut_asked is None else f"{found.items_for_cut_asked:,}"
        yield (
            f"The growth in energy asks for a cut of {_percent(found.cut_asked)}; to show one of just that size takes "
            f"{many}."
        )
    if verdict.outcome is Outcome.INCONCLUSIVE:
        ways = [
            f"{count:,} more {what}"
            for count, what in ((verdict.items_needed, "items"), (verdict.rounds_needed, "rounds"))
            if count is not None
        ]
        settled = " or ".join(ways) if ways else "no number of items or rounds alone"
        yield f"If the estimates stay as they are, {settled} would settle {verdict.decided_by}."


def _percent(share: float) -> str:
    return f"{significant(100 * share, 2)} %"


def _etas(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "for no eta"
    low, high = ends
    if math.isinf(high):
        return "for every eta" if low == 0 else f"for every eta above {low:.3g}"
    return f"for every eta below {high:.3g}" if low == 0 else f"for eta from {low:.3g} to {high:.3g}"


def _ends(ends: tuple[float, float] | None) -> list[float | None] | None:
    return None if ends is None else [end if math.isfinite(end) else None for end in ends]
