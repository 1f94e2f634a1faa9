"""A model card's metadata and its section on the environment, for the Hugging Face Hub.

Source: Hugging Face Hub documentation, "Displaying carbon emissions for your model": `co2_eq_emissions` with emissions
[gCO2e], source, training_type, geographical_location, hardware_used. It knows no energy, grade or interval: they are in
the section below, and beside the metadata as comments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.focus import plain
from outweigh.backends.exporters.markdown import escape
from outweigh.registry import exporters


@exporters.register("hf-card")
class HfCardExporter:
    """A document of schema outweigh.model-energy/1 as a README.md. Without a factor there is no emissions entry."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The card as text."""
        return "\n".join(["---", *_metadata(model), "---", "", *_section(model)]) + "\n"

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))


def _metadata(model: Mapping[str, Any]) -> Iterator[str]:
    facts, carbon = model["model"], model["carbon_of_making"]
    if facts["licence"]:
        yield f"license: {_text(facts['licence'].lower())}"
    if carbon is None:
        yield "# co2_eq_emissions: not known; the grid that powered the training is not declared"
        return
    yield "co2_eq_emissions:"
    yield f"  emissions: {plain(float(carbon['carbon_g']))}"
    yield f"  source: {_text(_source(model))}"
    for key, value in (
        ("training_type", facts["training_type"]),
        ("geographical_location", facts["location"]),
        ("hardware_used", facts["hardware"]),
    ):
        if value:
            yield f"  {key}: {_text(value)}"


def _source(model: Mapping[str, Any]) -> str:
    carbon = model["carbon_of_making"]
    grade = max(model["phases"][phase]["grade"] for phase in carbon["phases"])
    boundary = model["phases"][carbon["phases"][0]]["boundary"]
    methods = ", ".join(dict.fromkeys(one for phase in carbon["phases"] for one in model["phases"][phase]["methods"]))
    return (
        f"outweigh {model['outweigh_version']}: energy of {' and '.join(carbon['phases'])} ({methods}, grade {grade}, "
        f"{boundary}) x {carbon['intensity_g_per_kwh']:g} gCO2e/kWh, {carbon['basis']}-based, {carbon['scope']} "
        f"({carbon['source']})"
    )


def _text(value: str) -> str:
    """YAML 1.2 takes any JSON string as it is."""
    return json.dumps(value, ensure_ascii=False)


def _section(model: Mapping[str, Any]) -> Iterator[str]:
    yield "## Environmental impact"
    yield ""
    yield "| phase | energy | per unit | grade | method | boundary |"
    yield "| :-- | --: | --: | :-- | :-- | :-- |"
    for phase, one in model["phases"].items():
        if one is None:
            yield f"| {phase} | not measured | | | | |"
            continue
        per = f"{one['energy_j_per_unit']:.4g} J per {one['unit']}" if one["energy_j_per_unit"] and one["unit"] else ""
        cells = (phase, one["shown"], per, one["grade"], ", ".join(one["methods"]), one["boundary"])
        yield f"| {' | '.join(escape(cell) for cell in cells)} |"
    yield ""
    carbon = model["carbon_of_making"]
    if carbon is None:
        yield "Carbon: not given, because the grid that powered the training is not declared."
    else:
        yield escape(
            f"Carbon of {' and '.join(carbon['phases'])}: {carbon['shown']}, {carbon['basis']}-based, "
            f"{carbon['scope']} factors, {carbon['intensity_g_per_kwh']:g} gCO2e/kWh ({carbon['source']})."
        )
    yield "Intervals hold about 95 % and are those of the meters."
