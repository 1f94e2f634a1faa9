"""Frontier: what beats what, release by release."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, clipped
from outweigh.app.pages.found import FileKind, Found, files_of, json_of
from outweigh.app.pages.shape import Column, figure, table
from outweigh.app.sittings import Sitting, of_receipts, of_review
from outweigh.core.errors import UsageError
from outweigh.ports import ReceiptFilter, Store
from outweigh.report.checking import trouble_with

if TYPE_CHECKING:
    from outweigh.app.serving import Served

SCHEMA = "outweigh.page.frontier/1"
TAKES = ("release", "kind")
KINDS = ("measured", "modelled", "replayed")
_MOST_RECEIPTS = 2000  # of the latest, that sittings are looked for among
_MOST_REVIEWS = 60
_MOST_DRAWN = 24  # releases in the course
_MOST_WORD = 24  # characters of a name in a heading
_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}


def frontier(served: Served, asked: Asked) -> dict[str, Any]:
    """The variants of one sitting with what dominates them, and the course over all of them.

    Fields: `release`, the id of a sitting or the start of it, the latest by default; `kind`, of its energy figures
    ("measured", "modelled", "replayed"), where it has several: those are never ranked together.

    Raises:
        FieldRefused: no such release, or no figures of that kind in it.
    """
    sittings, left_out = _sittings(served)
    notes = [*left_out]
    if not sittings:
        return {
            "schema": SCHEMA,
            "sitting": None,
            "figures": [],
            "tables": {},
            "releases": [],
            "kinds": [],
            "empty": "No variants were held against each other yet.",
            "commands": ["outweigh review", "outweigh compare"],
            "notes": notes,
        }
    ids = [one["id"] for one in sittings]
    wanted = asked.text("release")
    chosen = next((one for one in reversed(sittings) if wanted and one["id"].startswith(wanted)), None)
    if chosen is None:
        asked.choice("release", ids)
        chosen = sittings[-1]
    kinds = [kind for kind in KINDS if any(one["kind"] == kind for one in chosen["variants"])]
    kind = asked.choice("kind", kinds, kinds[0])
    if len(kinds) > 1:
        notes.append(f"this sitting has {' and '.join(kinds)} figures: each kind is shown and ranked by itself")
    own = [_plain(one, chosen) for one in chosen["variants"] if one["kind"] == kind]
    if kind != "measured":
        notes.append(f"energy here is {kind}, not read from a counter: it ranks these variants among themselves alone")
    notes.append(f"energy per {_unit(chosen)} is {chosen['energy_is']}")
    course, apart = _course(sittings, kind)
    notes += apart
    return {
        "schema": SCHEMA,
        "sitting": {key: value for key, value in chosen.items() if key != "variants"},
        "kind": kind,
        "kinds": kinds,
        "percent": _is_percent(own),
        "figures": list(_figures(own, chosen)),
        "releases": [_release(one) for one in reversed(sittings)],
        "tables": {
            "variants": table(
                f"Variants of {_name(chosen)}: {_metric(chosen)} against energy per {_unit(chosen)}",
                _columns(own, chosen),
                own,
            ),
            "course": table(
                f"Release by release: {kind} energy per unit of every variant, oldest first",
                _COURSE,
                course,
            ),
        },
        "notes": notes,
    }


# --- sittings ---------------------------------------------------------------------------------------


def _sittings(served: Served) -> tuple[list[Sitting], list[str]]:
    """Oldest first, each once: a review stands for the batch of receipts it rests on."""
    project = served.project
    name, metric = (project.name, project.task.primary.metric) if project else ("", "")
    kept, many = _of_ledger(_State(served.ledger, served.texts.head(), name, metric))
    notes = [f"sittings are looked for among the latest {_MOST_RECEIPTS:,} receipts"] if many else []
    found = {one["id"]: one for one in kept}
    for one, where in _reviews(served):
        if isinstance(one, str):
            notes.append(f"{where} is no whole review and is left out: {one}")
        elif one["variants"]:
            found[one["id"]] = one
    return sorted(found.values(), key=lambda one: str(one["created"])), notes


@dataclass(frozen=True)
class _State:
    """A state of the ledger: what is worked out of it is worked out once."""

    ledger: Store
    head: tuple[int, str]
    project: str
    metric: str


@lru_cache(maxsize=8)
def _of_ledger(state: _State) -> tuple[tuple[Sitting, ...], bool]:
    """The sittings among the latest receipts, and whether there may be more."""
    receipts = list(state.ledger.receipts(ReceiptFilter(project=state.project, limit=_MOST_RECEIPTS)))
    return tuple(of_receipts(receipts, state.metric)), len(receipts) == _MOST_RECEIPTS


def _reviews(served: Served) -> Iterator[tuple[Sitting | str, str]]:
    """Sittings of reviews, those of the project's folder and those that were sent in, or what is wrong with one."""
    for one in files_of(served.folder, FileKind.REVIEW)[:_MOST_REVIEWS]:
        try:
            yield _of_file(one), one.name
        except UsageError:
            continue  # half of a file that is being written: the next look will have it
    for kept in served.documents.documents("verdict", limit=_MOST_REVIEWS, newest=True):
        document = json.loads(kept.body)
        if isinstance(document, dict) and document.get("kind") == "outweigh.review":
            yield _checked(document, where := f"verdict {kept.address[:12]}"), where


@lru_cache(maxsize=256)
def _of_file(one: Found) -> Sitting | str:
    return _checked(json_of(one), one.name)


def _checked(document: Mapping[str, Any], where: str) -> Sitting | str:
    """The sitting of a review, or what is wrong with it."""
    try:
        return trouble_with(document) or of_review(document, where)
    except ValueError as err:  # a method or grade of another version
        return str(err)


# --- what is shown ----------------------------------------------------------------------------------


def _name(sitting: Sitting) -> str:
    return f"{sitting['from']} {sitting['id'][:8]}"


def _unit(sitting: Sitting) -> str:
    return clipped(sitting["unit"], _MOST_WORD) or "unit"


def _metric(sitting: Sitting) -> str:
    return clipped(sitting["metric"], _MOST_WORD) or "quality"


def _plain(one: dict[str, Any], sitting: Sitting) -> dict[str, Any]:
    beaten = one["dominated_by"]
    state = "on the frontier" if one["on_frontier"] else f"beaten by {clipped(beaten)}" if beaten else "not ranked"
    why = {"energy_why": ""} | ({} if one["quality"] is not None else {"quality_why": "nobody scored it"})
    if one["role"] == "incumbent":
        why["ratio_said"] = "in service"
    elif one["ratio"] is None:
        why["ratio_why"] = "no pairs of rounds were kept"
    if one["p95_ms"] is None:
        why["p95_why"] = "no latency was kept"
    probability = one["frontier_probability"]
    return {
        **one,
        **why,
        "state": state,
        "probability": probability,
        **({} if probability is not None else {"probability_why": "nobody resampled"}),
    }


def _is_percent(variants: Sequence[dict[str, Any]]) -> bool:
    values = [one[key] for one in variants for key in ("quality", "quality_low", "quality_high")]
    return all(value is None or 0 <= value <= 1 for value in values)


def _columns(own: Sequence[dict[str, Any]], sitting: Sitting) -> list[Column]:
    columns = [
        Column("variant", "variant", "code", note="role"),
        Column("quality", _metric(sitting), "share" if _is_percent(own) else "number"),
        Column("energy", f"energy per {_unit(sitting)}", "joules"),
        Column("state", "frontier", "state", note="dominated_reason"),
    ]
    if any(one["ratio"] is not None for one in own):
        columns.append(Column("ratio", "energy, times the incumbent's", "number"))
    if any(one["probability"] is not None for one in own):
        columns.append(Column("probability", "on the frontier, probability", "share"))
    return [*columns, Column("p95", "p95 latency", "latency"), Column("grade", "grade", "grade", note="method")]


_COURSE = [
    Column("created", "when", "time"),
    Column("release", "release", "code", href="href", note="where"),
    Column("variant", "variant", "code", note="role"),
    Column("quality", "quality", "number"),
    Column("energy", "energy per unit", "joules", note="counts"),
    Column("state", "frontier", "state"),
    Column("verdict", "verdict", "state"),
    Column("grade", "grade", "grade", note="method"),
]


def _course(sittings: Sequence[Sitting], kind: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Every variant of the latest releases whose figures are of one kind, and what was left out."""
    units = {one["unit"] for one in sittings}
    latest = [one for one in sittings if any(v["kind"] == kind for v in one["variants"])][-_MOST_DRAWN:]
    rows = [
        {
            **{key: value for key, value in _plain(one, sitting).items() if key != "levers"},
            "created": sitting["created"],
            "release": sitting["id"][:8],
            "id": sitting["id"],
            "href": f"/frontier?release={sitting['id'][:16]}",
            "where": sitting["where"],
            "verdict": _WORDS.get(sitting["outcome"], "") or "not weighed",
            "unit": sitting["unit"],
            "energy_is": sitting["energy_is"],
            "counts": sitting["energy_is"].partition(":")[0].partition(" as ")[0],
        }
        for sitting in latest
        for one in sitting["variants"]
        if one["kind"] == kind
    ]
    notes = []
    others = sum(1 for one in sittings if not any(v["kind"] == kind for v in one["variants"]))
    if others:
        notes.append(f"{others} sitting(s) without {kind} figures are not in the course")
    if len({one["energy_is"] for one in latest}) > 1:
        notes.append("in the course, reviews count facility energy and batches of the ledger IT energy: see each row")
    if len(units) > 1:
        notes.append("releases with different units are in the course: compare within a release")
    return rows, notes


def _figures(own: Sequence[dict[str, Any]], sitting: Sitting) -> Iterator[dict[str, Any]]:
    unit = _unit(sitting)
    best = [one for one in own if one["on_frontier"]]
    for label, one in (
        ("in service", next((v for v in own if v["role"] == "incumbent"), None)),
        ("least energy on the frontier", min(best, key=lambda v: float(v["energy_j"]), default=None)),
    ):
        if one is not None:
            yield figure(
                "joules", f"{label}: {clipped(one['variant'], 40)}, per {unit}", one["energy_j"], one["energy_low_j"],
                one["energy_high_j"], grade=one["grade"], method=one["method"], source=sitting["meter"],
            )  # fmt: skip


def _release(sitting: Sitting) -> dict[str, Any]:
    outcome = _WORDS.get(sitting["outcome"], "")
    return {
        "id": sitting["id"],
        "label": f"{str(sitting['created'])[:10]} {sitting['id'][:8]} {outcome or sitting['from']}".strip(),
        "created": sitting["created"],
        "where": sitting["where"],
    }
