"""Levers as they were measured: the variants of a review, or of a sitting in the ledger, against the one in service."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outweigh.app.files import opened, read_review
from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import UsageError
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ports import ReceiptFilter
from outweigh.whatif.levers_curve import Kind, Lever, Ratio

_MONTHS = 12
_FEWEST = 2  # variants that make a sitting


@dataclass(frozen=True, slots=True)
class Measured:
    """Variants against the incumbent.

    Attributes:
        levers: by the variant's name.
        kwh: energy of the incumbent in a year at the declared volume; None where no volume is known.
        notes: what the figures do not say.
    """

    incumbent: str
    levers: dict[str, Lever]
    kwh: float | None
    notes: tuple[str, ...] = ()


def of_review(path: Path) -> Measured:
    """The variants of a review.json. They exclude each other: one of them serves."""
    document: Mapping[str, Any] = read_review(path)
    incumbent = next((one for one in document["variants"] if one["role"] == "incumbent"), None)
    if incumbent is None:
        raise UsageError(f"{path} names no incumbent", "Review the project with gate.incumbent set")
    name, project = incumbent["name"], document["project"]
    variants = {one["name"]: one for one in document["variants"]}
    levers = {
        one["candidate"]: _of_comparison(one, variants[one["candidate"]], name, document)
        for one in document["comparisons"]
        if one["against"] == name and one["candidate"] in variants
    }
    kwh = incumbent["energy_j_per_unit"]["value"] * project["volume_per_month"] * _MONTHS / J_PER_KWH
    notes = [f"measured levers are of {project['name']}, {document['created'][:10]}, against {name}"]
    if document["evidence"]["provisional"]:
        notes.append(f"the review is provisional: {document['evidence']['statement']}")
    return Measured(name, levers, kwh, tuple(notes))


def _of_comparison(
    one: Mapping[str, Any], variant: Mapping[str, Any], incumbent: str, document: Mapping[str, Any]
) -> Lever:
    ratio, quality = one["energy_ratio"], one["quality_difference"]
    known = ratio["low"] is not None and ratio["high"] is not None
    better = quality["low"] is not None and quality["low"] >= 0
    applied = variant["levers"]
    command = f"outweigh compare {incumbent} {variant['name']}"
    if len(applied) == 1:
        command = f"outweigh shrink {variant['parent'] or incumbent} --lever {applied[0]}"
    return Lever(
        variant["name"],
        Ratio(ratio["value"], ratio["low"], ratio["high"]) if known else Ratio(*[ratio["value"]] * 3),
        measured=True,
        grade=variant["grade"],
        method=variant["method"],
        source=f"review {document['review_id'][:8]}: {', '.join(applied) or 'another model'}",
        kind=Kind.SOFTWARE,
        excludes=f"review {document['review_id'][:8]}",
        keeps_quality=bool(one["equivalent"]) or better,
        barred="" if known else "its saving has no interval",
        command=command,
    )


def of_ledger(ledger: Path | str, batch: str = "", incumbent: str = "", project: str = "") -> Measured:
    """The variants of a sitting whose receipts a ledger keeps.

    Args:
        batch: id that its receipts share; the latest sitting of two variants or more by default.
        incumbent: variant the others are held against; the first one measured by default.
        project: whose sittings are looked at; every project's by default.

    Raises:
        UsageError: no such sitting, or no such variant in it.
    """
    with opened(ledger) as store:
        found = [
            receipt for _, receipt in store.receipts(ReceiptFilter(batch=batch, project=project)) if _counts(receipt)
        ]
    sittings: dict[str, list[Receipt]] = {}
    for receipt in found:
        sittings.setdefault(receipt.batch, []).append(receipt)
    whole = {key: one for key, one in sittings.items() if len({r.variant for r in one}) >= _FEWEST}
    if not whole:
        what = f"batch {batch!r}" if batch else "no batch"
        remedy = "Measure some with `outweigh compare` or `outweigh shrink`; `outweigh ledger list` shows what is there"
        raise UsageError(f"the ledger holds two measured variants in {what}", remedy)
    receipts = list(whole.values())[-1]
    rounds = _rounds(receipts)
    names = list(rounds)
    if incumbent and incumbent not in rounds:
        raise UsageError(f"no variant of that sitting is called {incumbent!r}", f"There are {', '.join(names)}")
    from outweigh.compare.energy import log_ratio  # brings statistics that declared levers do without

    base = incumbent or names[0]
    key = receipts[0].batch
    levers: dict[str, Lever] = {}
    for name in names:
        if name == base:
            continue
        shared = sorted(set(rounds[name]) & set(rounds[base]))
        ratio = log_ratio([rounds[name][i] for i in shared], [rounds[base][i] for i in shared]).ratio()
        own = [receipt for receipt in receipts if receipt.variant in (name, base)]
        levers[name] = Lever(
            name, Ratio(ratio.value, ratio.bounds.low, ratio.bounds.high), measured=True,
            grade=max(receipt.grade.value for receipt in own), method=own[0].total.method.value,
            source=f"{len(shared)} rounds of batch {key[:8]}", kind=Kind.SOFTWARE, excludes=f"batch {key[:8]}",
            command=f"outweigh compare {base} {name}",
        )  # fmt: skip
    notes = (
        f"measured levers are of {receipts[0].project}, batch {key[:8]}, against {base}: IT energy of paired rounds",
        "receipts alone do not judge quality: `outweigh compare` does",
    )
    return Measured(base, levers, None, notes)


def _counts(receipt: Receipt) -> bool:
    return bool(
        receipt.status is RunStatus.COMPLETED
        and receipt.batch
        and receipt.variant
        and receipt.round_index is not None
        and receipt.units
    )


def _rounds(receipts: Iterable[Receipt]) -> dict[str, dict[int, float]]:
    """Energy of a unit [J] by variant and round; what a variant drew twice in a round is added up."""
    energy: dict[str, dict[int, list[float]]] = {}
    for receipt in receipts:
        index, units = receipt.round_index, receipt.units
        if index is not None and units:
            sums = energy.setdefault(receipt.variant, {}).setdefault(index, [0.0, 0.0])
            sums[0] += receipt.total.value.joules
            sums[1] += units
    return {name: {index: j / units for index, (j, units) in of.items()} for name, of in energy.items()}


def costed(measured: Measured, costs: Mapping[str, Lever]) -> list[Lever]:
    """The measured levers with what a file says of their cost.

    Raises:
        UsageError: the file names a variant that was not measured.
    """
    for variant in costs:
        if variant not in measured.levers:
            near = difflib.get_close_matches(variant, measured.levers, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Measured: {', '.join(measured.levers) or 'none'}"
            raise UsageError(f"no measured variant is called {variant!r}", remedy)
    return [
        lever if (said := costs.get(name)) is None else replace(
            lever, name=said.name, cost=said.cost, kind=said.kind or lever.kind, together=said.together,
            excludes=said.excludes or lever.excludes,
            command=said.command or lever.command,
        )
        for name, lever in measured.levers.items()
    ]  # fmt: skip
