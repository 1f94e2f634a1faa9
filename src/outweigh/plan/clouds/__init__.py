"""Three clouds: regions ranked and spread over, every figure with its source and age, what is missing named."""

from outweigh.plan.clouds.criteria import Criterion, Region, check_weights
from outweigh.plan.clouds.ranking import Ranked, Standing, rank
from outweigh.plan.clouds.spreading import Spread, spread
from outweigh.plan.clouds.survey import GpuPrice, Surveyed, Wanted, great_circle_km, survey

__all__ = [
    "Criterion",
    "GpuPrice",
    "Ranked",
    "Region",
    "Spread",
    "Standing",
    "Surveyed",
    "Wanted",
    "check_weights",
    "great_circle_km",
    "rank",
    "spread",
    "survey",
]
