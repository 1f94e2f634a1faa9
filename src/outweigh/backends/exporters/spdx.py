"""SPDX 3.0.1 as JSON-LD: a model as an AI package, with its energy and, as annotations, how it is known.

Source: SPDX 3.0.1, core, software and AI profiles. EnergyConsumption takes a quantity and a unit and no more, so
method, grade, interval and boundary are an annotation of the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.focus import plain
from outweigh.registry import exporters

VERSION = "3.0.1"
CONTEXT = f"https://spdx.org/rdf/{VERSION}/spdx-context.jsonld"
_INFO = "_:creation"
_ENERGY = {"training": "trainingEnergyConsumption", "inference": "inferenceEnergyConsumption"}
_FINE_TUNED = "finetuningEnergyConsumption"


@exporters.register("spdx")
class SpdxExporter:
    """A document of schema outweigh.model-energy/1 as an SPDX document.

    It claims the AI profile where the maker's facts are all there that the profile wants of a package, else the core
    and software profiles alone.
    """

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The document as text."""
        return json.dumps(document(model), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))


def document(model: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-LD graph. Ids are URNs of the content, so that the same facts give the same document."""
    body = json.dumps(model, sort_keys=True, default=str)
    base = f"urn:spdx.dev:outweigh-{sha256(body.encode()).hexdigest()[:32]}"
    facts = model["model"]
    created = f"{model['created'][:19]}Z"
    tool, maker, package = (f"{base}:{name}" for name in ("tool", "maker", "model"))
    whole = all(facts[key] for key in ("supplier", "version", "download", "release"))
    graph: list[dict[str, Any]] = [
        {
            "type": "CreationInfo", "@id": _INFO, "specVersion": VERSION, "created": created,
            "createdBy": [maker], "createdUsing": [tool],
        },
        {"type": "Tool", "spdxId": tool, "creationInfo": _INFO, "name": f"outweigh {model['outweigh_version']}"},
        {
            "type": "Organization" if facts["supplier"] else "Agent", "spdxId": maker, "creationInfo": _INFO,
            "name": facts["supplier"] or "not declared",
        },
    ]  # fmt: skip
    graph.append(_package(model, package, maker))
    graph += [_annotation(model, phase, f"{base}:{phase}", package) for phase, one in model["phases"].items() if one]
    if model["carbon_of_making"]:
        graph.append(_carbon(model, f"{base}:carbon", package))
    if facts["licence"]:
        licence, relation = f"{base}:licence", f"{base}:has-licence"
        graph += [
            {
                "type": "simplelicensing_LicenseExpression", "spdxId": licence, "creationInfo": _INFO,
                "simplelicensing_licenseExpression": facts["licence"],
            },
            {
                "type": "Relationship", "spdxId": relation, "creationInfo": _INFO, "from": package, "to": [licence],
                "relationshipType": "hasDeclaredLicense",
            },
        ]  # fmt: skip
    graph.append(
        {
            "type": "SpdxDocument", "spdxId": f"{base}:document", "creationInfo": _INFO,
            "name": f"Energy of {facts['name']}", "rootElement": [package],
            "element": [one["spdxId"] for one in graph if "spdxId" in one],
            "profileConformance": ["core", "software", *(["ai"] if whole else []),
                                   *(["simpleLicensing"] if facts["licence"] else [])],
        }
    )  # fmt: skip
    return {"@context": CONTEXT, "@graph": graph}


def _package(model: Mapping[str, Any], package: str, maker: str) -> dict[str, Any]:
    facts = model["model"]
    energy = _energy(model)
    told: dict[str, Any] = {
        "type": "ai_AIPackage",
        "spdxId": package,
        "creationInfo": _INFO,
        "name": facts["name"],
        "software_primaryPurpose": "model",
    }
    if energy:
        told["ai_energyConsumption"] = energy
    if facts["supplier"]:
        told["suppliedBy"] = maker
    if facts["version"]:
        told["software_packageVersion"] = facts["version"]
    if facts["download"]:
        told["software_downloadLocation"] = facts["download"]
    if facts["release"]:
        told["releaseTime"] = f"{facts['release']}T00:00:00Z"
    if facts["kind"]:
        told["ai_typeOfModel"] = [facts["kind"]]
    if facts["hardware"]:
        told["ai_informationAboutTraining"] = f"trained on {facts['hardware']}"
    return told


def _energy(model: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for phase, term in _ENERGY.items():
        one = model["phases"].get(phase)
        if one is None:
            continue
        if phase == "training" and model["model"]["training_type"] == "fine-tuning":
            term = _FINE_TUNED
        found[f"ai_{term}"] = [
            {
                "type": "ai_EnergyConsumptionDescription",
                "ai_energyQuantity": plain(float(one["energy_kwh"])),
                "ai_energyUnit": "kilowattHour",
            }
        ]
    return {"type": "ai_EnergyConsumption", **found} if found else {}


def _annotation(model: Mapping[str, Any], phase: str, name: str, package: str) -> dict[str, Any]:
    one = model["phases"][phase]
    per = f"; {one['energy_j_per_unit']:.4g} J per {one['unit']}" if one["energy_j_per_unit"] and one["unit"] else ""
    where = "" if phase in _ENERGY else "; the AI profile has no property for it"
    statement = (
        f"Energy of {phase}: {one['shown']} (interval of about 95 %), {one['boundary']}; grade {one['grade']}; "
        f"method {', '.join(one['methods'])}; scope {', '.join(one['scopes'])}; {one['receipts']} receipts "
        f"from {one['start']} to {one['end']}{per}{where}"
    )
    return _said(name, package, statement)


def _carbon(model: Mapping[str, Any], name: str, package: str) -> dict[str, Any]:
    one = model["carbon_of_making"]
    statement = (
        f"Carbon of {' and '.join(one['phases'])}: {one['shown']}, {one['basis']}-based, {one['scope']} factors, "
        f"{one['intensity_g_per_kwh']:g} gCO2e/kWh ({one['source']})"
    )
    return _said(name, package, statement)


def _said(name: str, package: str, statement: str) -> dict[str, Any]:
    return {
        "type": "Annotation", "spdxId": name, "creationInfo": _INFO, "annotationType": "other", "subject": package,
        "contentType": "text/plain", "statement": statement,
    }  # fmt: skip
