"""`outweigh whatif world`: the article's figure beside published ones, a country, tonnes, and one's own share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outweigh.core.errors import UsageError
from outweigh.core.quantities import CarbonIntensity, Energy
from outweigh.core.rates import parse_intensity
from outweigh.core.rounding import si, significant
from outweigh.core.units import parse_energy
from outweigh.data.places import country_years
from outweigh.data.world import WorldFigure, world_figures
from outweigh.whatif.world import (
    Beside,
    Measure,
    National,
    TonnesRange,
    beside,
    between,
    centre_of,
    compare,
    known_countries,
    latest_estimate,
    tonnes_range,
)
from outweigh.whatif.world.beside import J_PER_TWH

SCHEMA = "outweigh.world/1"
ARTICLE = "article"
_INTERPOLATED = ("iea-kq-2025", "iea-kq-2030")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written."""

    scenario: str = ARTICLE
    country: str = ""
    against: str = ""
    country_twh: float | None = None
    country_year: int | None = None
    intensities: tuple[str, ...] = ()
    intensity_year: int | None = None
    energy: str = ""
    ledger: Path | None = None


@dataclass(frozen=True, slots=True)
class Worlds:
    """The answer as JSON, as a table, and its notes."""

    document: Mapping[str, Any]
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]
    notes: list[str]


def world(asked: Asked) -> Worlds:
    """The world's figures beside the one that was asked for.

    Raises:
        UsageError: an unknown scenario, or options that do not go together.
        SeriesMismatch, FactorMissing: a comparison that would mix years or measures, or has no figure.
    """
    figures = world_figures()
    if asked.scenario not in figures:
        raise UsageError(f"no scenario is called {asked.scenario!r}", f"There are {', '.join(figures)}")
    claim = figures[asked.scenario]
    today = latest_estimate(tuple(figures.values()))
    others = [one for key, one in figures.items() if key not in (claim.key, today.key)]
    first, last = (figures[key] for key in _INTERPOLATED)
    if first.year < claim.year < last.year:
        others.insert(0, between(first, last, claim.year))
    own, own_source = _own(asked)
    # If nobody does anything, the world goes on drawing what it draws: the first row.
    rows = beside(claim, (today, claim, *others) if claim is not today else (claim, *others), own)
    tonnes = _tonnes(asked, claim)
    national = _national(asked, claim)
    lines = _lines(claim, tonnes, national)
    notes = ["a scenario is no measurement: every figure is of grade D and says what it counts"]
    if own.joules > 0:
        notes.append(f"one's own share is of {si(own.to_wh(), 'Wh')} ({own_source}), set against each row's own year")
    return Worlds(
        document=_document(claim, rows, own, own_source, tonnes, national),
        headings=("figure", "year", "TWh", "kind", "what it counts", "claim is", "own share", "how checked"),
        rows=[_cells(row, own) for row in rows],
        lines=lines,
        notes=notes,
    )


def _own(asked: Asked) -> tuple[Energy, str]:
    if asked.energy and asked.ledger is not None:
        raise UsageError("one's own energy comes from --energy or from --ledger", "Give one of them")
    if asked.ledger is None:
        return (parse_energy(asked.energy), "declared") if asked.energy else (Energy(0.0), "none given")
    from outweigh.app.files import opened
    from outweigh.ledger import add_up
    from outweigh.ports import ReceiptFilter

    with opened(asked.ledger) as store:
        found = add_up(receipt for _, receipt in store.receipts(ReceiptFilter()))
    return found.energy, f"{found.receipts} receipts of the ledger, whatever their dates"


def _tonnes(asked: Asked, claim: WorldFigure) -> TonnesRange:
    years = sorted({year for rows in country_years().values() for year in rows})
    # A year counts once most countries are in; the newest has half of them so far.
    full = [
        year for year in years if sum(year in rows for rows in country_years().values()) > 0.9 * len(country_years())
    ]
    year = asked.intensity_year or (claim.year if claim.year in full else full[-1])
    declared = None
    if asked.intensities:
        if len(asked.intensities) > 2:
            raise UsageError("--intensity is given once or twice", "Give the lower and the higher one")
        low, high = (CarbonIntensity(parse_intensity(asked.intensities[at])) for at in (0, -1))
        declared = (low, high)
    return tonnes_range(Energy(centre_of(claim) * J_PER_TWH), country_years(), year, declared=declared)


def _national(asked: Asked, claim: WorldFigure) -> tuple[National, float] | None:
    if not asked.country:
        if asked.country_twh is not None:
            raise UsageError("--country-twh belongs to a country", "Add --country JP")
        return None
    if asked.country_twh is not None:
        if not asked.against or asked.country_year is None:
            raise UsageError(
                "a declared figure of a country needs its year and what it counts",
                "Add --country-year 2024 --against consumption",
            )
        country = National(asked.country, asked.country, asked.country_year, asked.country_twh, Measure(asked.against),
                           "declared")  # fmt: skip
    else:
        country = known_countries(country_years(), asked.country, asked.country_year or claim.year)
    # What data centres draw is consumption. Against generation it is compared only where somebody asks for that.
    measure = Measure.GENERATION if asked.against == Measure.GENERATION else Measure(claim.measure)
    return country, compare(centre_of(claim), claim.year, measure, country)


def _lines(claim: WorldFigure, tonnes: TonnesRange, national: tuple[National, float] | None) -> list[str]:
    lines = [
        f"{centre_of(claim):,.0f} TWh would be {significant(tonnes.low.to_tonnes() / 1e6)} to "
        f"{significant(tonnes.high.to_tonnes() / 1e6)} Mt CO2e: all of it in {tonnes.low_at}, or all of it in "
        f"{tonnes.high_at}"
        + ("" if tonnes.source == "declared" else f" (lifecycle, location-based, at the intensities of {tonnes.year})")
    ]
    if national is not None:
        country, times = national
        lines.append(
            f"{claim.name} is {significant(times)} times the {country.measure} of {country.name} in {country.year} "
            f"({significant(country.twh, 4)} TWh, {country.source})"
        )
    return lines


def _cells(row: Beside, own: Energy) -> tuple[str, ...]:
    figure = row.figure
    ends = (figure.low_twh, figure.high_twh)
    span = "" if ends == (None, None) else f" ({' to '.join(f'{end:,.0f}' if end else '-' for end in ends)})"
    middle = "" if figure.central_twh is None else f"{figure.central_twh:,.0f}"
    ratio = "-" if row.claim_over is None else f"{row.claim_over:.2f} times this"
    if row.within is not None and ends != (None, None):
        ratio += ", within" if row.within else ", outside the range"
    share = f"{100 * row.own_share:.2g} %" if own.joules > 0 else "-"
    return (
        figure.name,
        str(figure.year),
        f"{middle}{span}".strip(),
        figure.kind,
        figure.scope,
        ratio,
        share,
        figure.checked,
    )


def _document(
    claim: WorldFigure,
    rows: tuple[Beside, ...],
    own: Energy,
    own_source: str,
    tonnes: TonnesRange,
    national: tuple[National, float] | None,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "claim": claim.key,
        "figures": [
            {
                "scenario": row.figure.key, "name": row.figure.name, "year": row.figure.year,
                "low_twh": row.figure.low_twh, "central_twh": row.figure.central_twh, "high_twh": row.figure.high_twh,
                "kind": row.figure.kind, "measure": row.figure.measure, "scope": row.figure.scope,
                "published": row.figure.published, "source": row.figure.provenance.source,
                "licence": row.figure.provenance.licence, "grade": row.figure.provenance.grade.value,
                "checked": row.figure.checked, "claim_over": row.claim_over, "claim_within": row.within,
                "own_share": row.own_share if own.joules > 0 else None, "note": row.note,
            }
            for row in rows
        ],
        "own_energy_j": own.joules,
        "own_source": own_source,
        "carbon_low_g": tonnes.low.grams,
        "carbon_high_g": tonnes.high.grams,
        "carbon_low_at": tonnes.low_at,
        "carbon_high_at": tonnes.high_at,
        "carbon_basis": "location",
        "carbon_scope": "lifecycle",
        "carbon_year": tonnes.year,
        "carbon_source": tonnes.source,
        "country": None if national is None else {
            "country": national[0].country, "name": national[0].name, "year": national[0].year,
            "electricity_twh": national[0].twh, "measure": str(national[0].measure), "source": national[0].source,
            "claim_over": national[1],
        },
    }  # fmt: skip
