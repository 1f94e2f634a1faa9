"""A verdict as one page to keep: what was decided, on what evidence, and who answers for an exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters import _tables, _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.markdown import escape, table
from outweigh.registry import exporters


@exporters.register("decision")
class DecisionExporter:
    """Markdown. Evidence is linked by content hash: `outweigh ledger show HASH` gives each receipt again."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page; `doc` is a review document with the key `weighing`, and `pull_request` where it was one."""
    return "\n\n".join(block for block in _blocks(doc) if block) + "\n"


def _blocks(doc: Mapping[str, Any]) -> Iterator[str]:
    verdict, weighing = doc["verdict"], doc["weighing"]
    waived = ", waived" if weighing["waived"] else ""
    yield f"# {escape(_words.title(doc))}: {verdict['outcome']}{waived}"
    yield "\n".join(f"- {term}: {text}" for term, text in _head(doc))
    if _words.badge(doc):
        yield f"**{escape(_words.badge(doc))}.** {escape(doc['evidence']['statement'])}"
    yield "## Decision"
    yield escape(" ".join([_words.decided(doc), *_words.next_steps(doc)]))
    yield f"Cheapest measured way to pass: {escape(_words.cheapest(doc))}"
    yield "## Waivers"
    yield table(_tables.waivers(doc)) if weighing["waivers"] else "None."
    if weighing["open_parts"] and weighing["waivers"]:
        yield f"Not excused: {escape(', '.join(weighing['open_parts']))}."
    yield "## Tests"
    yield escape(_words.rule(doc))
    yield table(_tables.parts(doc))
    yield "## What it hangs on"
    yield escape(weighing["sensitivity"]["statement"])
    yield table(_tables.settings(doc))
    yield "## Variants"
    yield table(_tables.variants(doc))
    yield "## Evidence"
    yield f"Data set: SHA-256 `{doc['project']['dataset_hash']}`"
    yield "\n".join(_evidence(doc))


def _head(doc: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    verdict = doc["verdict"]
    yield "Project", escape(doc["project"]["name"])
    yield "Decided", doc["created"]
    yield "Verdict", f"`{doc['weighing']['verdict_id']}`"
    request = doc.get("pull_request")
    if request is not None:
        number = f"{request['number']}, " if request["number"] else ""
        yield "Pull request", f"{number}base `{request['base']['commit']}`, head `{request['head']['commit']}`"
        tried = [f"`{one['key']}`" for one in request["policy_changes"]]
        if tried:
            yield "Keys the head changes and was not held to", ", ".join(tried)
    yield "Evidence", escape(f"grade {verdict['grade']}; meter {doc['meter']['name']}, {doc['meter']['source']}")
    yield "Made with", f"outweigh {doc['outweigh_version']}"


def _evidence(doc: Mapping[str, Any]) -> Iterator[str]:
    rounds: dict[str, list[str]] = {}
    for row in doc["rounds"]:
        if row["receipt"]:
            rounds.setdefault(row["variant"], []).append(row["receipt"])
    of_rounds = {receipt for found in rounds.values() for receipt in found}
    for variant in doc["variants"]:
        content = variant["content_hash"] or "not known"
        receipts = ", ".join(f"`{receipt}`" for receipt in rounds.get(variant["name"], [])) or "none"
        yield f"- {escape(variant['name'])}, content `{content}`; receipts of its rounds: {receipts}"
    others = [receipt for receipt in doc["receipts"] if receipt not in of_rounds]
    if others:
        yield f"- the hum, and what making variants drew: {', '.join(f'`{receipt}`' for receipt in others)}"
