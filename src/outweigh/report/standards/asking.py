"""What to ask for where a fact is missing, with an example to paste into a file of facts (docs/reports.md)."""

from __future__ import annotations

from outweigh.report.sheet import Asked

INTENSITY = Asked(
    "carbon of the power", "no carbon is given without the grid it was drawn from",
    '[grid]\nintensity = "353 gCO2e/kWh"    # or zone = "DE"',
)  # fmt: skip
PUE = Asked(
    "PUE of the building", "energy is IT energy until the building's share is known", "[site]\npue = 1.25"
)  # fmt: skip
EMBODIED = Asked(
    "embodied carbon of the hardware", "ISO/IEC 21031 counts making and disposing of it (M) in the score",
    '[[embodied]]\nname = "server"\ntotal = "1310 kgCO2e"\nlifespan_years = 4\nshare = 1.0',
)  # fmt: skip
UNITS = Asked(
    "functional units", "a score is per unit delivered, and no receipt counted any",
    'with outweigh.measured(...) as run:\n    run.units, run.unit = 1000, "request"',
)  # fmt: skip
PRICE = Asked(
    "price of energy", "a row of costs needs it", '[site]\nprice = "0.18 EUR/kWh"'
)  # fmt: skip


def model(key: str, example: str, why: str) -> Asked:
    """A fact of the model's maker."""
    return Asked(f"model.{key}", why, f"[model]\n{key} = {example}")
