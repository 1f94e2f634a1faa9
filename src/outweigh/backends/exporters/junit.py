"""`junit.xml`: each test of the gate as a test case, for the test tabs of CI systems.

The dialect is the one CI systems share: testsuites, testsuite, testcase, failure, skipped, system-out (Jenkins xunit
plugin, junit-10.xsd). A refuted test is a failure; one that could not be settled, or was not asked, is skipped and says
so: neither a pass nor a fail. A verdict on evidence that may not block a merge holds no failure: its cases are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from outweigh.backends.exporters._atomic import write_text
from outweigh.registry import exporters

# XML 1.0, 2.2: the characters a document may hold.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@exporters.register("junit")
class JunitExporter:
    """JUnit XML of a review document, or of one without a verdict."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    name = _clean(f"outweigh gate: {doc['project']['name']}")
    suite = ET.Element("testsuite", name=name, timestamp=str(doc["created"]).removesuffix("Z"))
    if "verdict" in doc:
        waived = bool(doc.get("weighing", {}).get("waived"))
        for part in doc["verdict"]["parts"]:
            _case(suite, part, doc["verdict"]["may_block"], waived)
    elif (why := doc.get("pull_request", {}).get("no_verdict")) is not None:
        case = ET.SubElement(suite, "testcase", classname="outweigh.gate", name="verdict", time="0")
        ET.SubElement(case, "error", message=_clean(why["reason"]), type=_clean(why["kind"]))
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for kind, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", f"{float(doc.get('cost_of_review', {}).get('wall_s', 0.0)):.3f}")
    whole = ET.Element("testsuites")
    whole.append(suite)
    ET.indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(whole, encoding="unicode") + "\n"


def _case(suite: ET.Element, part: Mapping[str, Any], may_block: bool, waived: bool) -> None:
    name = f"{part['part']}: {part['subject']}" if part["subject"] else part["part"]
    case = ET.SubElement(suite, "testcase", classname=f"outweigh.gate.{part['part']}", name=_clean(name), time="0")
    says = _clean(part["explanation"])
    if not part["binding"]:
        ET.SubElement(case, "skipped", message=f"not asked: {says}")
    elif part["outcome"] == "fail" and may_block and not waived:
        ET.SubElement(case, "failure", message=says, type="outweigh.gate.refuted").text = _figures(part)
    elif part["outcome"] != "pass":
        why = "waived" if waived else "inconclusive" if part["outcome"] == "inconclusive" else "refuted, may not block"
        ET.SubElement(case, "skipped", message=f"{why}: {says}")
    ET.SubElement(case, "system-out").text = f"{says}\n{_figures(part)}"


def _figures(part: Mapping[str, Any]) -> str:
    bounds = part["bounds"] or {"low": None, "high": None}
    return (
        f"statistic {part['statistic']} [{part['unit']}], interval {bounds['low']} to {bounds['high']}, "
        f"threshold {part['threshold']}, distance {part['distance']}"
    )


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
