"""Policy: declared shocks and their cost at each site, the support that makes home equal, how firm a ranking is."""

from __future__ import annotations

from outweigh.whatif.policy.exposure import Exposure, Gap, exposures, incentive_gap
from outweigh.whatif.policy.question import Hit, Load, Place, Shock, everyday
from outweigh.whatif.policy.ranking import CRITERIA, Criterion, Ranked, rank

__all__ = [
    "CRITERIA",
    "Criterion",
    "Exposure",
    "Gap",
    "Hit",
    "Load",
    "Place",
    "Ranked",
    "Shock",
    "everyday",
    "exposures",
    "incentive_gap",
    "rank",
]
