"""`gate.sarif`: what did not hold, beside the line of energy.toml that asks for it.

Source: OASIS SARIF 2.1.0 (3.27 result, 3.49 reportingDescriptor, 3.28 location); code scanning of GitHub shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters import _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.registry import exporters

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES = {**_words.QUESTIONS, "baseline": "Is what would be in service what was weighed?",
          "identity": "Is anything proposed at all?", "policy": "Does the head leave the policy alone?",
          "proxy": "Does what can be counted stay as it is?", "verdict": "Could it be weighed?"}  # fmt: skip


@exporters.register("sarif")
class SarifExporter:
    """One SARIF run. An error is a refuted test that may block a merge; everything else is a warning or a note."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, json.dumps(render(model), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def render(doc: Mapping[str, Any]) -> dict[str, object]:
    rules = [
        {"id": f"outweigh/{name}", "name": name, "shortDescription": {"text": question}}
        for name, question in _RULES.items()
    ]
    driver = {"name": "outweigh", "version": doc["outweigh_version"], "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"outweigh-gate/{doc['project']['name']}"},
                "results": list(_results(doc)),
            }
        ],
    }


def _results(doc: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    request = doc.get("pull_request", {})
    if (why := request.get("no_verdict")) is not None:
        yield _result(request, "verdict", "", "error", f"no verdict: {why['reason']}")
    if "verdict" in doc:
        verdict, waived = doc["verdict"], bool(doc.get("weighing", {}).get("waived"))
        for part in verdict["parts"]:
            if part["binding"] and part["outcome"] != "pass":
                blocks = part["outcome"] == "fail" and verdict["may_block"] and not waived
                level = "error" if blocks else "warning" if part["outcome"] == "fail" else "note"
                yield _result(request, part["part"], part["subject"], level, part["explanation"])
    for one in request.get("policy_changes", []):
        says = f"the head writes {one['key']} otherwise ({one['base'] or 'not set'} → {one['head'] or 'not set'}); "
        yield _result(request, "policy", one["key"], "note", f"{says}the base's held")
    for one in request.get("proxies", []):
        if one["warns"]:
            factor = "from none" if one["ratio"] is None else f"by a factor of {one['ratio']:.3g}"
            says = f"{one['name']} grew {factor}: a count, not energy ({one['how']})"
            yield _result(request, "proxy", one["name"], "warning", says)


def _result(request: Mapping[str, Any], rule: str, subject: str, level: str, says: str) -> dict[str, object]:
    lines = request.get("lines", {})
    name = f"{rule}: {subject}" if subject else rule
    where = f"{request.get('folder', '')}/energy.toml".lstrip("/")
    line = lines.get(name, lines.get("", 1))
    return {
        "ruleId": f"outweigh/{rule}",
        "level": level,
        "message": {"text": f"{subject}: {says}" if subject else says},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": where}, "region": {"startLine": line}}},
        ],
        "partialFingerprints": {"outweighPart/v1": name},
    }
