"""Software Carbon Intensity for AI: one score of running a model, one of making it.

Source: Green Software Foundation, SCI for AI specification (SPEC.md of its repository, read 2026-11-27), an extension
of ISO/IEC 21031:2024. The consumer's boundary is runtime operations, here the phases inference and idle. The provider's
is data engineering, training, system integration and end of life, here the phases development and training.

Its worked examples slip three times between units; they are put right here, and held in tests:

- 6,500 kg over 50 x 10^9 tokens are 130 kg per 10^9, so 130 g per 10^6; it prints 0.13 g.
- 200,000 kg over 5 x 10^22 FLOP are 4 x 10^-18 kg, so 4 kg per 10^18; it prints 4 g.
- 75,000 kg over 2.5 x 10^9 parameters are 30,000 kg per 10^9; it prints 30 kg.

A score per parameter or per token falls when a model grows. They are exported because the standard asks for them, and
no gate of ours reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.report.declared import Given
from outweigh.report.sheet import Asked, Row, Section, Sheet
from outweigh.report.standards import asking
from outweigh.report.standards.sci import SOURCE as SCI_SOURCE
from outweigh.report.standards.sci import Carbon, embodied, grade_of, notes_of, operational
from outweigh.report.totals import Addressed, Total, energy_text, total

SOURCE = "Green Software Foundation, SCI for AI specification, read 2026-11-27"
CONSUMER = (Phase.INFERENCE, Phase.IDLE)
PROVIDER = (Phase.DEVELOPMENT, Phase.TRAINING)
STAGE, PREPARE = "stage", "prepare"

#: Section 8.1: kind of AI system -> its functional unit.
UNITS = {
    "llm": "token", "video": "second", "image": "image", "agent": "execution", "ocr": "page", "classical": "inference",
}  # fmt: skip
_MEGA, _GIGA, _EXA = 1e6, 1e9, 1e18


def per_million_tokens(carbon_g: float, tokens: float) -> float:
    """Consumer's score [gCO2e per 10^6 tokens].

    >>> per_million_tokens(6_500e3, 50e9)
    130.0
    """
    return carbon_g / tokens * _MEGA


def per_billion_parameters(carbon_g: float, parameters: float) -> float:
    """Provider's score [gCO2e per 10^9 parameters].

    >>> per_billion_parameters(75_000e3, 2.5e9) / 1e3
    30000.0
    """
    return carbon_g / parameters * _GIGA


def per_exaflop(carbon_g: float, flop: float) -> float:
    """Provider's score [gCO2e per 10^18 floating-point operations].

    >>> round(per_exaflop(200_000e3, 5e22), 6)
    4000.0
    """
    return carbon_g / flop * _EXA


def sci_ai(receipts: Iterable[Addressed], given: Given) -> Sheet:
    """Both scores over the receipts of a ledger; one is None where a term of it is missing.

    Raises:
        UsageError: no receipt belongs to either boundary, or the kind of system is none of the standard's.
    """
    if given.sci_kind and given.sci_kind not in UNITS:
        raise UsageError(f"{given.sci_kind!r} is no kind of AI system of the SCI for AI", f"Take {', '.join(UNITS)}")
    kept = list(receipts)
    prepared = [one for one in kept if dict(one[1].labels).get(STAGE) == PREPARE]
    running = [one for one in kept if one[1].phase in CONSUMER]
    making = [one for one in kept if one[1].phase in PROVIDER and one not in prepared]
    if not running and not making:
        total(kept)  # says that there is nothing
    missing: dict[Asked, None] = {}
    consumer = _consumer(total(running), given, missing) if running else None
    provider = _provider(total(making), given, missing) if making else None
    notes = [
        "scores per parameter, per token and per operation are exported because the standard asks for them; no gate "
        "reads them: they fall when a model grows",
        "the standard's worked examples slip by 1,000 between units; these figures follow its formula",
    ]
    if prepared:
        notes.append(f"{len(prepared)} receipts with the label {STAGE}={PREPARE} are left out: the standard's text of "
                     "2026 does not count that stage")  # fmt: skip
    for side in (running, making):
        if side:
            notes += [*total(side).sentences(), *notes_of(total(side), given)]
    sections = [one for one in (consumer, provider) if one is not None]
    leads = [text for _, _, text, _ in sections]
    return Sheet(
        report="sci-ai",
        title="Software Carbon Intensity for AI",
        lead=" ".join(leads),
        key=tuple((name, text) for section, _, _, _ in sections for name, text in _key(section)),
        sections=tuple(section for section, _, _, _ in sections),
        figures={
            "consumer": None if consumer is None else consumer[1],
            "provider": None if provider is None else provider[1],
            "used_in_a_gate": False,
        },
        missing=tuple(missing),
        notes=tuple(dict.fromkeys(notes)),
        sources=(SOURCE, SCI_SOURCE),
        complete=bool(sections) and all(scored for *_, scored in sections),
    )


_Side = tuple[Section, dict[str, Any], str, bool]


def _carbon(
    of: Total, given: Given, missing: dict[Asked, None], side: str
) -> tuple[Carbon | None, dict[str, Any], list[Row]]:
    pue = None if given.pue is None else given.pue[0]
    energy_j = of.at(pue)
    o = None if given.intensity is None else operational(energy_j, given.intensity[0])
    m = embodied([part for part in given.embodied if part.side in ("", side)], of.machine_s)
    for lacks, ask in ((o is None, asking.INTENSITY), (m is None, asking.EMBODIED), (pue is None, asking.PUE)):
        if lacks:
            missing[ask] = None
    c = None if o is None or m is None else o + m
    figures = {
        **of.about(),
        "energy_j": energy_j[0], "energy_low_j": energy_j[1], "energy_high_j": energy_j[2], "pue": pue,
        **({} if o is None else o.figures("operational")),
        **({} if m is None else m.figures("embodied")),
        **({} if c is None else c.figures("carbon")),
        "carbon_grade": str(grade_of(of, given)),
        "carbon_basis": None if given.intensity is None else str(given.intensity[0].basis),
        "carbon_scope": None if given.intensity is None else str(given.intensity[0].scope),
    }  # fmt: skip
    rows = [
        Row(("energy", energy_text(*energy_j), str(of.grade)), {"energy_j": energy_j[0]}),
        Row(("operational carbon", "missing" if o is None else o.text(), str(grade_of(of, given))),
            {} if o is None else o.figures("operational")),
        Row(("embodied carbon", "missing" if m is None else m.text(), "" if m is None else "D"),
            {} if m is None else m.figures("embodied")),
    ]  # fmt: skip
    return c, figures, rows


def _consumer(of: Total, given: Given, missing: dict[Asked, None]) -> _Side:
    carbon, figures, rows = _carbon(of, given, missing, "consumer")
    unit, count = _units(of, given, missing)
    rate = None if carbon is None or not count else carbon.per(count)
    token = unit == "token"
    factor, name = (_MEGA, "10^6 tokens") if token else (1.0, unit or "unit")
    shown = "missing" if rate is None else f"{Carbon(*(factor * x for x in (rate.g, rate.low_g, rate.high_g))).text()}"
    rows.append(
        Row(
            (f"score per {name}", shown, str(grade_of(of, given)) if rate else ""),
            {} if rate is None else rate.figures(f"per_{unit}"),
        )
    )
    figures |= {"unit": unit, "count": count, **({} if rate is None else rate.figures("score"))}
    lead = f"Running it: {shown} per {name}." if rate else "Running it: no score yet."
    section = Section(
        "consumer", "Consumer: runtime operations", ("what", "value", "grade"), rows,
        lead="Inference and idle, of the hardware reserved for it.", text=frozenset({2}),
    )  # fmt: skip
    return section, figures, lead, rate is not None


def _units(of: Total, given: Given, missing: dict[Asked, None]) -> tuple[str | None, float | None]:
    kind = given.sci_kind
    if not kind:
        missing[
            Asked("kind of AI system", "the standard's functional unit hangs on it (8.1)",
                  f'[sci_ai]\nkind = "classical"    # {", ".join(UNITS)}')
        ] = None  # fmt: skip
        return None, None
    unit = UNITS[kind]
    if given.sci_count is not None:
        return unit, given.sci_count
    if of.units and (of.unit == unit or given.sci_units is not None):
        return unit, of.units * (given.sci_units or 1.0)
    missing[
        Asked(f"number of {unit}s", f"receipts count {of.unit or 'nothing'}, the standard asks for {unit}s",
              f"[sci_ai]\nunits = 1.0    # {unit}s to one {of.unit or 'unit'}, or count = 5.0e10")
    ] = None  # fmt: skip
    return unit, None


def _provider(of: Total, given: Given, missing: dict[Asked, None]) -> _Side:
    carbon, figures, rows = _carbon(of, given, missing, "provider")
    model = given.model
    scores: list[tuple[str, str, float | None, float]] = [
        ("parameter", "10^9 parameters", model.parameters, _GIGA),
        ("training_token", "10^6 training tokens", model.training_tokens, _MEGA),
        ("flop", "10^18 FLOP", model.training_flop, _EXA),
    ]
    told = []
    for key, name, count, factor in scores:
        if not count or carbon is None:
            figures[f"per_{key}_g"] = None
            continue
        rate = carbon.per(count / factor)
        figures |= {f"per_{key}_g": carbon.g / count, f"{key}s": count}
        rows.append(
            Row((f"score per {name}", rate.text(), str(grade_of(of, given))), {f"per_{key}_g": carbon.g / count})
        )
        told.append(f"{rate.text()} per {name}")
    if not any(count for _, _, count, _ in scores):
        missing[
            Asked("size of the model or of its training", "the provider's score is per parameter, token or FLOP (8.2)",
                  "[model]\nparameters = 2.5e9    # or training_tokens, training_flop")
        ] = None  # fmt: skip
    section = Section(
        "provider", "Provider: making the model", ("what", "value", "grade"), rows,
        lead="Development and training.", text=frozenset({2}),
    )  # fmt: skip
    return section, figures, f"Making it: {told[0]}." if told else "Making it: no score yet.", bool(told)


def _key(section: Section) -> Sequence[tuple[str, str]]:
    return [
        (f"{section.name}, {row.cells[0].removeprefix('score ')}", row.cells[1])
        for row in section.rows
        if row.cells[0].startswith(("energy", "score")) and row.cells[1] != "missing"
    ]
