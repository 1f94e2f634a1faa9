"""`comment.md`: a pull request's verdict as one short comment, the details folded away.

The model is a review document with the keys `weighing` and `pull_request`. Its first line is the marker that the next
run finds the comment by; the second says what it is for, so that another job can post it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters import _tables, _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.markdown import escape, table
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.registry import exporters

_MOST_CHANGES = 8
_LATENCIES = {"p50_latency_ms": "p50", "p95_latency_ms": "p95", "mean_latency_ms": "mean"}


@exporters.register("comment")
class CommentExporter:
    """GitHub-flavoured Markdown, which GitLab reads too; every word from outside is escaped."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def marker(project: str) -> str:
    """What the comment of a project is found by.

    >>> marker("news-triage")
    '<!-- outweigh-gate: news-triage -->'
    """
    return f"<!-- outweigh-gate: {re.sub(r'[^A-Za-z0-9 ._+-]|--+', '-', project)} -->"


def render(doc: Mapping[str, Any]) -> str:
    """The comment, marker first."""
    request = doc["pull_request"]
    about = {"number": request["number"], "head": request["head"]["commit"]}
    head = f"{marker(doc['project']['name'])}\n<!-- {json.dumps(about)} -->"
    if "no_verdict" in request:
        blocks = list(_without_verdict(doc))
    elif "verdict" not in doc:
        blocks = list(_nothing_proposed(doc))
    else:
        blocks = list(_with_verdict(doc))
    return "\n\n".join([head, *(block for block in blocks if block)]) + "\n"


def _with_verdict(doc: Mapping[str, Any]) -> Iterator[str]:
    verdict, weighing = doc["verdict"], doc["weighing"]
    waived = ", waived" if weighing["waived"] else ""
    yield f"### {verdict['outcome'].upper()}{waived}: {escape(_words.title(doc))} · {escape(doc['project']['name'])}"
    if _words.badge(doc):
        yield f"> **{escape(_words.badge(doc))}.** {escape(_words.blocking(doc))}"
    yield "\n".join(_figures(doc))
    yield "\n".join(f"- {line}" for line in _points(doc))
    yield _policy(doc)
    yield from _details(doc)
    yield _footer(doc)


def _nothing_proposed(doc: Mapping[str, Any]) -> Iterator[str]:
    yield f"### NOTHING TO WEIGH · {escape(doc['project']['name'])}"
    yield "The head adds or changes no variant and proposes none. Nothing was measured."
    yield _policy(doc)
    yield _footer(doc)


def _without_verdict(doc: Mapping[str, Any]) -> Iterator[str]:
    why = doc["pull_request"]["no_verdict"]
    yield f"### NO VERDICT · {escape(doc['project']['name'])}"
    yield f"The pull request could not be weighed (exit code {why['exit_code']}): {escape(why['reason'])}"
    yield _footer(doc)


# --- base, head, change, limit ----------------------------------------------------------------------


def _figures(doc: Mapping[str, Any]) -> Iterator[str]:
    """The figures a verdict hangs on, a row each."""
    verdict = doc["verdict"]
    found = {one["name"]: one for one in doc["variants"]}
    base, head = found[verdict["incumbent"]], found[verdict["proposal"]]
    compared = next(
        (c for c in doc["comparisons"] if (c["candidate"], c["against"]) == (head["name"], base["name"])), None
    )
    yield f"| per {escape(doc['project']['unit'])} | base | head | change | limit |"
    yield "| :-- | --: | --: | --: | :-- |"
    ratio = compared["energy_ratio"] if compared else None
    yield _row("energy", *(_words.energy(one, _words.prefix(doc)) for one in (base, head)), _times(ratio), _caps(doc))
    change = _points_changed(doc, compared["quality_difference"]) if compared else ""
    metric = base["quality"]["metric"]
    yield _row(metric, _words.quality(base), _words.quality(head), change, _primary_limit(verdict, metric))
    for part in verdict["parts"]:
        if part["part"] == "guards" and part["binding"] and part["subject"] != metric:
            yield _guard(part, base, head)
    proportion = next((part for part in verdict["parts"] if part["part"] == "proportion"), None)
    if proportion is not None and proportion["statistic"] is not None:
        yield _row(f"T = g − {verdict['eta']:g} x", "", "", _range(proportion), "above 0")


def _row(*cells: str) -> str:
    return f"| {' | '.join([escape(cells[0]), *cells[1:]])} |"


def _times(ratio: Mapping[str, Any] | None) -> str:
    return "" if ratio is None else f"× {plus_minus(ratio['value'], ratio['low'], ratio['high'])}"


def _points_changed(doc: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    scale, unit = (100.0, " points") if _words.is_percent(doc) else (1.0, "")
    ends = (None if difference[end] is None else scale * difference[end] for end in ("low", "high"))
    return f"{_words.signed(scale * difference['value'], *ends)}{unit}"


def _caps(doc: Mapping[str, Any]) -> str:
    """The tightest limit per unit."""
    limits = doc["weighing"]["per_unit_limits_j"]
    if not limits:
        return ""
    name = min(limits, key=limits.__getitem__)
    return f"{_words.joules(limits[name])} ({escape(name)})"


def _primary_limit(verdict: Mapping[str, Any], metric: str) -> str:
    for part in verdict["parts"]:
        if part["part"] == "guards" and part["subject"] == metric and part["threshold"] is not None:
            return f"at least {_signed_points(part['threshold'])}"
    return ""


def _guard(part: Mapping[str, Any], base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    name = part["subject"]
    if name in _LATENCIES:
        sides = [f"{significant(one['latency_ms'][_LATENCIES[name]])} ms" for one in (base, head)]
        label = f"{_LATENCIES[name]} latency"
        if part["unit"] == "1":
            return _row(label, *sides, f"× {_range(part)}", f"× {significant(part['threshold'])}")
        return _row(label, *sides, f"{_range(part)} {part['unit']} over the margin", "0")
    values = [one["metrics"].get(name) for one in (base, head)]
    if all(value is not None and 0 <= value <= 1 for value in values):
        sides = [f"{significant(100 * value)} %" for value in values]
        return _row(name, *sides, f"{_range(part, 100.0)} points", f"at least {_signed_points(part['threshold'])}")
    return _row(name, *(_known(value) for value in values), _range(part), f"at least {significant(part['threshold'])}")


def _known(value: float | None) -> str:
    return "not known" if value is None else significant(value)


def _signed_points(share: float) -> str:
    return f"{significant(100 * share)} points"


def _range(part: Mapping[str, Any], scale: float = 1.0) -> str:
    bounds = part["bounds"] or {"low": None, "high": None}
    ends = (None if bounds[end] is None else scale * bounds[end] for end in ("low", "high"))
    return plus_minus(scale * part["statistic"], *ends)


# --- words ------------------------------------------------------------------------------------------


def _points(doc: Mapping[str, Any]) -> Iterator[str]:
    weighing = doc["weighing"]
    head, _, rest = _words.decided(doc).partition(":")
    yield f"**{escape(head)}:**{escape(rest)}" if rest else f"**{escape(head)}**"
    if doc["verdict"]["cheapest_pass"] != doc["verdict"]["proposal"]:
        yield f"**Cheapest measured way to pass:** {escape(_words.cheapest(doc))}"
    steps = " ".join(_words.next_steps(doc))
    if steps:
        yield f"**Next:** {escape(steps)}"
    for waiver in weighing["waivers"]:
        if waiver["state"] == "other":
            continue
        state = "Waived" if waiver["state"] == "applied" else "A waiver ran out"
        yield (f"**{state}:** by {escape(waiver['owner'])} until {waiver['expires'][:10]}: {escape(waiver['reason'])}")
    warning = [one for one in doc["pull_request"]["proxies"] if one["warns"]]
    if warning:
        grown = ", ".join(f"{one['name']} {_growth(one)}" for one in warning)
        yield f"**Proxies that grew** (counted, not energy; they never fail a gate): {escape(grown)}"
    if not doc["pull_request"]["up_to_date"]:
        yield (
            "**The head lacks commits of the base:** some of what differs may be the base's own news. "
            "Update the branch."
        )


def _policy(doc: Mapping[str, Any]) -> str:
    changes = doc["pull_request"]["policy_changes"]
    if not changes:
        return ""
    lines = [f"- {_code(one['key'])}: {_shown(one['base'])} → {_shown(one['head'])}" for one in changes[:_MOST_CHANGES]]
    if len(changes) > _MOST_CHANGES:
        lines.append(f"- and {len(changes) - _MOST_CHANGES} more")
    said = "**The head changes the policy it is held to; the base's held here.** It counts from the merge on:"
    return "\n".join([said, "", *lines])


def _code(text: str) -> str:
    return f"`{re.sub(r'[`<>&|]', '', ' '.join(text.split()))}`"


def _shown(text: str) -> str:
    short = text if len(text) <= 60 else f"{text[:57]}…"
    return escape(short) if short else "*not set*"


def _details(doc: Mapping[str, Any]) -> Iterator[str]:
    request, weighing = doc["pull_request"], doc["weighing"]
    body = [escape(_words.rule(doc)), table(_tables.parts(doc)), "Everything measured:", table(_tables.variants(doc))]
    if request["proxies"]:
        body += ["Proxies: counted, not measured energy.", "\n".join(_proxy_rows(request["proxies"]))]
    yield _fold("Every test, every variant", body)
    yield _fold("What was not run", ["\n".join(f"- {escape(each)}" for each in request["not_run"])])
    if weighing["waiver_to_paste"]:
        text = weighing["waiver_to_paste"].replace("```", "")
        yield _fold("To waive it, merge this into the base's energy.toml", [f"```toml\n{text}\n```"])


def _proxy_rows(found: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "| proxy | base | head | change | counted as |"
    yield "| :-- | --: | --: | --: | :-- |"
    for one in found:
        sides = (_amount(one[side], one["unit"]) for side in ("base", "head"))
        yield _row(one["name"], *sides, f"{_growth(one)}{' ⚠' if one['warns'] else ''}", escape(one["how"]))


def _growth(proxy: Mapping[str, Any]) -> str:
    return "from none" if proxy["ratio"] is None else f"× {significant(proxy['ratio'])}"


def _amount(value: float, unit: str) -> str:
    factor, letter = si_prefix(value)
    return f"{significant(value / factor)} {letter}{unit}" if len(unit) < 5 else f"{significant(value)} {unit}"


def _fold(summary: str, body: list[str]) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n\n" + "\n\n".join(body) + "\n\n</details>"


def _footer(doc: Mapping[str, Any]) -> str:
    request = doc["pull_request"]
    where = f"base {_code(request['base']['commit'][:10])}, head {_code(request['head']['commit'][:10])}"
    said = [f"outweigh {doc['outweigh_version']}", where]
    if "verdict" in doc:
        said += [
            escape(f"{doc['meter']['name']}, grade {doc['meter']['grade']}"),
            f"{doc['project']['rounds']} interleaved rounds on one machine, "
            f"{significant(doc['project']['n_items'])} items",
            f"policy, task and factors of the base; data set {_code(doc['project']['dataset_hash'][:10])}",
            f"verdict {_code(doc['weighing']['verdict_id'][:16])}, {len(doc['receipts'])} receipts",
        ]
    return f"<sub>{' · '.join(said)}</sub>"
