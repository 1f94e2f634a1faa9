"""The words of the project as frozen value types. Standard library only, no I/O, no clock.

A word is imported when it is first asked for (PEP 562): most programs need a few of them, and making the classes of
all takes longer than a measured block.
"""

from __future__ import annotations

# Not from typing, whose import alone would cost as much as all the words a window needs; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
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
    from outweigh.core.receipt import HumSplit, Latency, MeterCost, Quality, Receipt, RunStatus
    from outweigh.core.site import PueCurve, Site
    from outweigh.core.variant import Variant
    from outweigh.core.verdict import Outcome, PartResult, Verdict

_HOMES = {
    "budget": ("Budget", "Period", "Phase"),
    "errors": ("OutweighError",),
    "intervals": ("Bounds", "Estimate", "Interval"),
    "measurement": ("Factor", "Grade", "Measurement", "Method", "Missing", "Scope", "UncertaintyComponent"),
    "plan": ("Assignment", "Certificate", "Plan"),
    "quantities": (
        "Carbon",
        "CarbonBasis",
        "CarbonIntensity",
        "CarbonScope",
        "Energy",
        "LocationCarbon",
        "MarginalCarbon",
        "MarketCarbon",
        "Money",
        "Power",
        "Price",
    ),
    "receipt": ("HumSplit", "Latency", "MeterCost", "Quality", "Receipt", "RunStatus"),
    "site": ("PueCurve", "Site"),
    "variant": ("Variant",),
    "verdict": ("Outcome", "PartResult", "Verdict"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, words in _HOMES.items():
        if name in words:
            word: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = word
            return word
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    "HumSplit",
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
