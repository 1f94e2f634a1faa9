"""`compare --sweep`: one knob turned through its values, or the sizes of a family, and the exponent of the energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outweigh.app.compared import Compared
from outweigh.app.sitting import Sat
from outweigh.compare.elasticity import elasticity
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Estimate
from outweigh.core.project import Project, VariantSpec
from outweigh.core.rounding import plus_minus, significant
from outweigh.core.variant import Option, Variant

SWEEP_COLUMNS = ("variant", "value", "J per unit", "exponent from the one before")
BYTES = "bytes"  # the one size that needs no declaring: that of the model file


@dataclass(frozen=True, slots=True)
class Sweep:
    """A knob and its values, in increasing order.

    Attributes:
        key: a variant option ("batch"); or BYTES.
        values: to turn it to; empty where the variants named differ in it already.
    """

    key: str
    values: tuple[int | float, ...] = ()


def parse_sweep(text: str) -> Sweep:
    """Read "batch=1,2,4,8" (turn a knob), or "bytes" or "parameters" (the variants named differ in it).

    Raises:
        UsageError: no key, fewer than two values, or one that is not a number above zero.

    >>> parse_sweep("batch=8,1,2")
    Sweep(key='batch', values=(1, 2, 8))
    """
    key, equals, rest = (part.strip() for part in text.partition("="))
    if not key:
        raise UsageError(f"--sweep {text!r} names nothing to turn", "Write it as --sweep batch=1,2,4,8")
    if not equals:
        return Sweep(key)
    values = {_number(text, part.strip()) for part in rest.split(",")}
    if len(values) < 2:
        raise UsageError(f"--sweep {text!r} has fewer than two values", "Write it as --sweep batch=1,2,4,8")
    return Sweep(key, tuple(sorted(values)))


def _number(text: str, part: str) -> int | float:
    try:
        value: int | float = int(part) if part.isascii() and part.isdigit() else float(part)
    except ValueError as err:
        raise UsageError(f"--sweep {text!r}: {part!r} is not a number", "Write it as --sweep batch=1,2,4,8") from err
    if not 0 < value < float("inf"):
        raise UsageError(f"--sweep {text!r}: {part} is not above zero", "An exponent needs values above zero")
    return value


def swept(project: Project, names: Sequence[str], sweep: Sweep) -> tuple[Project, list[str]]:
    """The project with one variant more for each value, and the names to measure.

    Raises:
        UsageError: not exactly one variant to turn the knob of, or fewer than two that differ in size.
    """
    if not sweep.values:
        if len(names) < 2:
            raise UsageError(
                f"a sweep over {sweep.key} needs two variants or more",
                "Name the variants of a family, or give values: --sweep batch=1,2,4,8",
            )
        return project, list(names)
    if len(names) != 1:
        raise UsageError(
            f"--sweep {sweep.key} turns one variant", "Name one: outweigh compare base --sweep batch=1,2,4"
        )
    (name,) = names
    new = tuple(
        VariantSpec(f"{name}@{sweep.key}={value:g}", parent=name, options=Variant.freeze_options({sweep.key: value}))
        for value in sweep.values
    )
    return replace(project, variants=(*project.variants, *new)), [spec.name for spec in new]


def with_elasticity(done: Compared, sat: Sat, sweep: Sweep) -> Compared:
    """The comparison with the exponent of its energy per unit over the knob.

    Raises:
        UsageError: a variant does not say how large it is, or two are equally large.
        UnusableMeasurement: fewer than two variants are left.
    """
    at = {name: _value(one.variant, sweep) for name, one in sat.comparison.evidence.items()}
    names = sorted(at, key=lambda name: at[name])
    if len(set(at.values())) < len(at):
        raise UsageError(f"two of these variants have the same {sweep.key}", "Name variants that differ in it")
    found = elasticity(
        [at[name] for name in names],
        [sat.comparison.evidence[name].energy_j_per_unit for name in names],
        sat.comparison.ratio_confidence(sat.project.gate.confidence),
    )
    steps: list[Estimate | None] = [None, *found.steps]
    by_name = {row["variant"]: row for row in done.rows}
    points = [
        {
            "variant": name,
            sweep.key: at[name],
            "energy_j_per_unit": by_name[name]["energy_j_per_unit"],
            "quality": by_name[name]["quality"],
            **_keys("step_exponent", step),
        }
        for name, step in zip(names, steps, strict=True)
    ]
    body: dict[str, Any] = {
        "sweep": sweep.key,
        **_keys("exponent", found.exponent),
        "off": found.off,
        "bends": found.bends(),
        "rounds": found.rounds,
        "points": points,
    }
    rows = tuple(
        (
            name,
            significant(at[name]),
            plus_minus(
                by_name[name]["energy_j_per_unit"],
                by_name[name]["energy_j_per_unit_scatter_low"],
                by_name[name]["energy_j_per_unit_scatter_high"],
            ),
            "-" if step is None else plus_minus(step.value, step.bounds.low, step.bounds.high),
        )
        for name, step in zip(names, steps, strict=True)
    )
    return replace(done, notes=[*_said(body, sat, sweep), *done.notes], sweep=body, sweep_rows=rows)


def _said(body: Mapping[str, Any], sat: Sat, sweep: Sweep) -> list[str]:
    exponent = plus_minus(body["exponent"], body["exponent_low"], body["exponent_high"])
    doubled = 2.0 ** body["exponent"]
    notes = [
        f"energy per {sat.project.unit} goes as {sweep.key} to the power {exponent}: x {doubled:.3g} each doubling"
    ]
    if body["bends"]:
        notes.append(f"one exponent is too few: the points lie up to {body['off']:.0%} off the line; go by the steps")
    if sweep.key == "threads":
        notes.append(
            f"the hum charged is that of the {sat.project.serving.threads} thread(s) a replica reserves "
            "([serving] threads), however many the variant uses"
        )
    return notes


def _value(variant: Variant, sweep: Sweep) -> float:
    if sweep.key == BYTES and not sweep.values:
        path = Path(variant.model)
        if not (variant.model and path.is_file()):
            raise UsageError(f"{variant.name} has no model file to take the size of", "Declare its parameters instead")
        return float(path.stat().st_size)
    value: Option = variant.option(sweep.key, "")
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(
            f"{variant.name} does not say its {sweep.key}",
            f"Give each variant a number above zero: [variants.{variant.name}.options] {sweep.key} = ...",
        )
    return float(value)


def _keys(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.bounds.low, f"{name}_high": estimate.bounds.high}
