"""The words of the project as frozen value types. Standard library only, no I/O, no clock."""

from outweigh.core.budget import Budget, Period, Phase
from outweigh.core.errors import OutweighError
from outweigh.core.intervals import Bounds, Estimate, Interval
from outweigh.core.measurement import (
    Factor,
    Grade,
    Measurement,
    Method,
    Missing,
    Scope,
    UncertaintyComponent,
)
from outweigh.core.plan import Assignment, Certificate, Plan
from outweigh.core.quantities import (
    Carbon,
    CarbonBasis,
    CarbonIntensity,
    CarbonScope,
    Energy,
    LocationCarbon,
    MarginalCarbon,
    MarketCarbon,
    Money,
    Power,
    Price,
)
from outweigh.core.receipt import Latency, MeterCost, Quality, Receipt, RunStatus
from outweigh.core.site import PueCurve, Site
from outweigh.core.variant import Variant
from outweigh.core.verdict import Outcome, PartResult, Verdict

__all__ = [
    "Assignment",
    "Bounds",
    "Budget",
    "Carbon",
    "CarbonBasis",
    "CarbonIntensity",
    "CarbonScope",
    "Certificate",
    "Energy",
    "Estimate",
    "Factor",
    "Grade",
    "Interval",
    "Latency",
    "LocationCarbon",
    "MarginalCarbon",
    "MarketCarbon",
    "Measurement",
    "MeterCost",
    "Method",
    "Missing",
    "Money",
    "Outcome",
    "OutweighError",
    "PartResult",
    "Period",
    "Phase",
    "Plan",
    "Power",
    "Price",
    "PueCurve",
    "Quality",
    "Receipt",
    "RunStatus",
    "Scope",
    "Site",
    "UncertaintyComponent",
    "Variant",
    "Verdict",
]
