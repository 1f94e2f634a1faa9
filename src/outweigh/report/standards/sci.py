"""Software Carbon Intensity: SCI = (O + M) per R, with O = E x I and M = TE x (TiR / EL) x (RR / ToR).

Source: ISO/IEC 21031:2024; the text is the Green Software Foundation's Software Carbon Intensity specification, 1.1.0.
It wants energy of all hardware reserved, idle or not (so the hum is in), location-based average or marginal intensity,
and no instrument of any market: what is declared by contract never comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity
from outweigh.core.rounding import significant
from outweigh.report.declared import Embodied, Given
from outweigh.report.sheet import Asked, Row, Section, Sheet
from outweigh.report.standards import asking
from outweigh.report.totals import Total, carbon_text, energy_text

SOURCE = "ISO/IEC 21031:2024; Green Software Foundation, Software Carbon Intensity specification 1.1.0"


@dataclass(frozen=True, slots=True)
class Carbon:
    """A mass with the ends of its interval [gCO2e]."""

    g: float
    low_g: float
    high_g: float

    def __add__(self, other: Carbon) -> Carbon:
        """Ends add in full: what is common to both parts is not known."""
        return Carbon(self.g + other.g, self.low_g + other.low_g, self.high_g + other.high_g)

    def per(self, units: float) -> Carbon:
        return Carbon(self.g / units, self.low_g / units, self.high_g / units)

    def figures(self, name: str) -> dict[str, float]:
        return {f"{name}_g": self.g, f"{name}_low_g": self.low_g, f"{name}_high_g": self.high_g}

    def text(self) -> str:
        return carbon_text(self.g, self.low_g, self.high_g)


def operational(energy_j: tuple[float, float, float], intensity: CarbonIntensity) -> Carbon:
    """O = E x I.

    Args:
        energy_j: (value, low, high) [J].

    Raises:
        UsageError: the intensity is by contract, which the standard excludes.
    """
    if intensity.basis is CarbonBasis.MARKET:
        raise UsageError(
            "the SCI excludes market-based intensities", "Give the location-based or the marginal one of the grid"
        )
    value, low, high = (joules / J_PER_KWH * intensity.g_per_kwh for joules in energy_j)
    return Carbon(value, min(low, high), max(low, high))


def embodied(parts: Sequence[Embodied], seconds: float) -> Carbon | None:
    """M of all hardware; the middle of its range where it has one. None where nothing was declared."""
    if not parts:
        return None
    ends = [part.grams(seconds) for part in parts]
    low, high = sum(one for one, _ in ends), sum(one for _, one in ends)
    return Carbon((low + high) / 2, low, high)


def score(carbon: Carbon, units: float) -> Carbon:
    """C per R [gCO2e per functional unit]; `units` above 0."""
    return carbon.per(units)


def sci(total: Total, given: Given) -> Sheet:
    """The score of a software system over the receipts of a ledger, with what has to be disclosed beside it.

    The score is None where a term of it is missing; the terms that are known stand all the same.
    """
    pue = None if given.pue is None else given.pue[0]
    energy_j = total.at(pue)
    o = None if given.intensity is None else operational(energy_j, given.intensity[0])
    m = embodied(given.embodied, total.machine_s)
    c = None if o is None or m is None else o + m
    rate = None if c is None or not total.units else score(c, total.units)
    missing = list(_missing(total, given))
    grade = grade_of(total, given)
    unit = total.unit or "unit"
    lead = (
        f"{significant(rate.g)} gCO2e per {unit}."
        if rate is not None
        else f"No score yet: {', '.join(one.what for one in missing if one is not asking.PUE)} is missing."
    )
    return Sheet(
        report="sci",
        title="Software Carbon Intensity",
        lead=lead,
        key=(
            ("energy", energy_text(*energy_j)),
            ("score", "not given" if rate is None else f"{rate.text()} per {unit}"),
            ("functional units", "not counted" if not total.units else f"{significant(total.units, 4)} {unit}"),
            ("grade", str(grade)),
        ),
        sections=(
            Section(
                "terms", "SCI = (E x I + M) per R", ("term", "what", "value", "grade", "method and source"),
                _terms(total, given, energy_j, o, m), text=frozenset({1, 3, 4}),
            ),
            Section(
                "boundary", "Software boundary", ("what", "value"),
                [
                    Row(("energy", total.boundary(pue))),
                    Row(("measured", ", ".join(total.scopes))),
                    Row(("hum in it", _hum(total))),
                    Row(("from", f"{total.start:%Y-%m-%d %H:%M} to {total.end:%Y-%m-%d %H:%M} UTC")),
                ],
                lead="Networks, storage elsewhere and the devices of users are outside unless a receipt measured them.",
                text=frozenset({1}),
            ),
        ),
        figures={
            **total.about(),
            "energy_j": energy_j[0], "energy_low_j": energy_j[1], "energy_high_j": energy_j[2], "pue": pue,
            **({} if o is None else o.figures("operational")),
            **({} if m is None else m.figures("embodied")),
            **({} if rate is None else rate.figures("score")),
            "units": total.units, "unit": total.unit or None, "score_grade": str(grade),
            "intensity_g_per_kwh": None if given.intensity is None else given.intensity[0].g_per_kwh,
            "intensity_basis": None if given.intensity is None else str(given.intensity[0].basis),
            "intensity_scope": None if given.intensity is None else str(given.intensity[0].scope),
        },
        missing=tuple(missing),
        notes=(*total.sentences(), *notes_of(total, given)),
        sources=(SOURCE,),
        complete=rate is not None,
    )  # fmt: skip


def grade_of(total: Total, given: Given) -> Grade:
    """The worst of energy and factors; embodied carbon is D as long as nobody here measured it."""
    factors = [pair[1].grade for pair in (given.intensity, given.pue) if pair is not None]
    return Grade.worst([total.grade, *factors, *([Grade.D] if given.embodied else [])])


def notes_of(total: Total, given: Given) -> list[str]:
    said = []
    if given.intensity is not None:
        said.append("few sources state how sure an intensity is, so the interval is that of energy and embodied carbon")
    if total.without_units and total.units:
        said.append(f"{total.without_units} receipts delivered no counted unit; what they drew is in the score")
    if given.embodied:
        said.append("where embodied carbon is a range, its middle is in the score and its ends in the interval")
    return said


def _terms(
    total: Total, given: Given, energy_j: tuple[float, float, float], o: Carbon | None, m: Carbon | None
) -> list[Row]:
    rows = [
        _row("E", "energy", energy_text(*energy_j), str(total.grade), f"{', '.join(total.methods)}; "
             f"{', '.join(total.meters)}", energy_j=energy_j[0]),
    ]  # fmt: skip
    if given.pue is not None:
        value, factor = given.pue
        rows.append(_row("PUE", "in E, of the building", f"{value:g}", str(factor.grade), factor.source, pue=value))
    if given.intensity is None:
        rows.append(_row("I", "carbon of the power", "missing", "", ""))
    else:
        rate, factor = given.intensity
        what = f"{rate.basis}, {rate.scope}"
        rows.append(
            _row("I", what, f"{rate.g_per_kwh:g} gCO2e/kWh", str(factor.grade),
                 f"{factor.source} {factor.issued}".strip(), intensity_g_per_kwh=rate.g_per_kwh)
        )  # fmt: skip
    rows.append(
        _row("O", "E x I", "missing" if o is None else o.text(), "", "", **({} if o is None else o.figures("o")))
    )
    for part in given.embodied:
        ends = part.grams(total.machine_s)
        mass = Carbon(sum(ends) / 2, *ends)
        rows.append(_row("M", part.name, mass.text(), "D", part.source, **mass.figures("m")))
    if m is None:
        rows.append(_row("M", "embodied carbon", "missing", "", ""))
    rows.append(_row("R", total.unit or "functional unit", f"{total.units:g}" if total.units else "missing", "", "",
                     units=total.units))  # fmt: skip
    return rows


def _row(term: str, what: str, value: str, grade: str, source: str, **figures: Any) -> Row:
    return Row((term, what, value, grade, source), {"term": term, "what": what, **figures, "source": source})


def _hum(total: Total) -> str:
    if total.hum_j is None:
        return "not measured"
    share = f"{total.without_hum} receipts do not know theirs" if total.without_hum else "of all receipts"
    return f"{energy_text(total.hum_j, total.hum_j, total.hum_j)}, {share}"


def _missing(total: Total, given: Given) -> list[Asked]:
    lacking = [
        (given.intensity is None, asking.INTENSITY), (not given.embodied, asking.EMBODIED),
        (not total.units, asking.UNITS), (given.pue is None and bool(total.it_j), asking.PUE),
    ]  # fmt: skip
    return [ask for lacks, ask in lacking if lacks]
