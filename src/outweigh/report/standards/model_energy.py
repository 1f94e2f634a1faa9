"""What a description of a model says of its energy: the one document that SPDX and the model card are written from.

Sources: SPDX 3.0.1, AI profile, EnergyConsumption (training, fine-tuning and inference, each a quantity and a unit);
Hugging Face Hub, model card metadata, `co2_eq_emissions` [gCO2e].
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from outweigh.core.budget import Phase
from outweigh.core.constants import J_PER_KWH
from outweigh.core.measurement import utc
from outweigh.report.declared import Given
from outweigh.report.sheet import Asked, finite
from outweigh.report.standards import asking
from outweigh.report.standards.sci import operational
from outweigh.report.totals import Addressed, carbon_text, energy_text, total

SCHEMA = "outweigh.model-energy/1"
PHASES = (Phase.TRAINING, Phase.DEVELOPMENT, Phase.INFERENCE)


def model_energy(
    receipts: Iterable[Addressed], given: Given, project: str, created: datetime, version: str
) -> dict[str, Any]:
    """Energy of a model by phase, with grade, method and boundary, and carbon of making it where the grid is known.

    Args:
        project: its name where the facts give the model none.
        version: that of outweigh.

    Raises:
        UsageError: no usable receipt.
    """
    kept = list(receipts)
    total(kept)
    pue = None if given.pue is None else given.pue[0]
    phases: dict[str, dict[str, Any] | None] = {}
    for phase in PHASES:
        own = [one for one in kept if one[1].phase is phase]
        if not own:
            phases[str(phase)] = None
            continue
        of = total(own)
        energy_j = of.at(pue)
        phases[str(phase)] = {
            "energy_j": energy_j[0], "energy_low_j": energy_j[1], "energy_high_j": energy_j[2],
            "energy_kwh": energy_j[0] / J_PER_KWH, "shown": energy_text(*energy_j), "boundary": of.boundary(pue),
            **of.about(), "units": of.units, "unit": of.unit or None,
            "energy_j_per_unit": energy_j[0] / of.units if of.units else None,
        }  # fmt: skip
    made = [one for one in kept if one[1].phase in (Phase.TRAINING, Phase.DEVELOPMENT)]
    carbon = None
    if made and given.intensity is not None:
        rate, factor = given.intensity
        grams = operational(total(made).at(pue), rate)
        carbon = {
            "carbon_g": grams.g, "carbon_low_g": grams.low_g, "carbon_high_g": grams.high_g, "shown":
            carbon_text(grams.g, grams.low_g, grams.high_g), "basis": str(rate.basis), "scope": str(rate.scope),
            "intensity_g_per_kwh": rate.g_per_kwh, "source": f"{factor.source} {factor.issued}".strip(),
            "phases": [str(phase) for phase in PHASES[:2] if any(one[1].phase is phase for one in made)],
        }  # fmt: skip
    model = given.model
    found = {
        "schema": SCHEMA,
        "created": utc(created),
        "outweigh_version": version,
        "model": {
            "name": model.name or project, "version": model.version or None, "supplier": model.supplier or None,
            "licence": model.licence or None, "kind": model.kind or None, "parameters": model.parameters,
            "training_type": model.training_type or None, "hardware": model.hardware or None,
            "location": model.location or None,
            "release": None if model.release is None else model.release.isoformat(),
            "download": model.download or None,
        },
        "pue": pue,
        "phases": phases,
        "carbon_of_making": carbon,
    }  # fmt: skip
    return {key: finite(value) for key, value in found.items()}


def asks_for_card(given: Given) -> list[Asked]:
    """Facts the model card has a field for and nobody declared."""
    model = given.model
    asks = [
        (given.intensity is None, asking.INTENSITY),
        (not model.training_type, asking.model("training_type", '"fine-tuning"', "the card says which kind it was")),
        (not model.hardware, asking.model("hardware", '"1 x NVIDIA H100"', "the card names it")),
        (not model.location, asking.model("location", '"Frankfurt, Germany"', "the card says where")),
    ]
    return [ask for lacks, ask in asks if lacks]


def asks_for_spdx(given: Given) -> list[Asked]:
    """Facts that the AI profile of SPDX wants of a package; without them the file claims the core profile alone."""
    model = given.model
    why = "the AI profile of SPDX 3.0.1 wants it of a package"
    asks = [
        (not model.supplier, asking.model("supplier", '"Example GmbH"', why)),
        (not model.version, asking.model("version", '"1.2.0"', why)),
        (not model.download, asking.model("download", '"https://example.org/model"', why)),
        (model.release is None, asking.model("release", "2026-11-01", why)),
    ]
    return [ask for lacks, ask in asks if lacks]
