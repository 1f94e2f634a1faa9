"""Energy and compute of a general-purpose model, as Annex XI of the AI Act and the Model Documentation Form ask for it.

Source: Regulation (EU) 2024/1689, Annex XI, section 1, point 2 (d) and (e); European Commission, General-Purpose AI
Code of Practice, Transparency chapter, Model Documentation Form (10 July 2025), its items on computational resources
and energy: training time, amount of computation used for training, energy used for training in MWh to two significant
figures or more, how it was measured, and for inference an amount of computation and not of energy.

The form draws no boundary for the energy: it is said here, because megawatt-hours of two boundaries do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from outweigh.core.budget import Phase
from outweigh.core.constants import J_PER_MWH, S_PER_DAY
from outweigh.core.rounding import significant
from outweigh.report.declared import Given
from outweigh.report.sheet import Asked, Row, Section, Sheet
from outweigh.report.standards import asking
from outweigh.report.totals import Addressed, Total, energy_text, total

SOURCES = (
    "Regulation (EU) 2024/1689, Annex XI, section 1, point 2 (d) and (e)",
    "General-Purpose AI Code of Practice, Transparency chapter, Model Documentation Form, 10 July 2025",
)
#: The form's ranges of training time: upper end [d] and its words.
_RANGES = ((30.4, "less than 1 month"), (91.3, "1 to 3 months"), (182.6, "3 to 6 months"))


def annex_xi(receipts: Iterable[Addressed], given: Given) -> Sheet:
    """The form's items on energy and compute; an item nobody declared is asked for, and stays empty.

    Raises:
        UsageError: there is no usable receipt of training or development.
    """
    kept = list(receipts)
    training = [one for one in kept if one[1].phase is Phase.TRAINING]
    development = [one for one in kept if one[1].phase is Phase.DEVELOPMENT]
    of = total(training, "receipts of training")
    pue = None if given.pue is None else given.pue[0]
    energy_j = of.at(pue)
    mwh = energy_j[0] / J_PER_MWH
    model = given.model
    days = of.busy_s / S_PER_DAY
    missing = _missing(given, of)
    rows = [
        _row(
            "Training time", f"{training_range(days)}; {significant(days)} wall-clock days", training_wall_clock_d=days
        ),
        _row(
            "Hardware-days",
            "not declared" if model.hardware_count is None else f"{significant(days * model.hardware_count)} of "
            f"{model.hardware or 'accelerators'}",
            hardware_days=None if model.hardware_count is None else days * model.hardware_count,
        ),
        _row("Computation used for training", _flop(model.training_flop), training_flop=model.training_flop),
        _row(
            "Energy used for training", f"{mwh_text(mwh)} MWh ({energy_text(*energy_j)})",
            training_energy_mwh=mwh, training_energy_low_mwh=energy_j[1] / J_PER_MWH,
            training_energy_high_mwh=energy_j[2] / J_PER_MWH,
        ),
        _row("How it was measured", methodology(of, given)),
        _row("Computation used for inference", _flop(model.inference_flop), inference_flop=model.inference_flop),
        _row(
            "How that was measured",
            f"{model.inference_task} on {model.inference_hardware or 'hardware not declared'}"
            if model.inference_task else "not declared",
        ),
    ]  # fmt: skip
    beside = []
    for name, phase, some in (
        ("Development", "development", development),
        ("Inference, measured here", "inference", [one for one in kept if one[1].phase is Phase.INFERENCE]),
    ):
        if some:
            found = total(some)
            value = found.at(pue)
            beside.append(
                Row((name, energy_text(*value), str(found.grade)), {"phase": phase, "energy_j": value[0]}),
            )
    return Sheet(
        report="annex-xi",
        title="Energy and compute of a general-purpose AI model",
        lead=f"{model.name or 'The model'} was trained with {mwh_text(mwh)} MWh, {of.boundary(pue)}, grade {of.grade}.",
        key=(("energy", f"{mwh_text(mwh)} MWh"), ("grade", str(of.grade)), ("receipts", str(of.receipts))),
        sections=(
            Section("form", "Items of the Model Documentation Form", ("item", "value"), rows, text=frozenset({1}),
                    lead="For the AI Office and national authorities; the form sends none of it to downstream users."),
            Section("beside", "Energy the form does not ask for", ("phase", "energy", "grade"), beside,
                    text=frozenset({2}), empty="No receipt of development or inference in this selection."),
        ),
        figures={**of.about(), **{key: value for row in rows for key, value in row.figures.items() if key != "item"},
                 "pue": pue, "boundary": of.boundary(pue)},
        missing=tuple(missing),
        notes=(*of.sentences(), "development is energy of its own and not in the form's figure"),
        sources=SOURCES,
    )  # fmt: skip


def training_range(days: float) -> str:
    """The form's range of a training time.

    >>> training_range(45.0), training_range(400.0)
    ('1 to 3 months', 'more than 6 months')
    """
    return next((words for end, words in _RANGES if days < end), "more than 6 months")


def mwh_text(mwh: float) -> str:
    """Megawatt-hours to three significant figures, more than the form asks for.

    >>> mwh_text(1234.5), mwh_text(0.000123456)
    ('1,230', '0.000123')
    """
    from decimal import Decimal

    rounded = Decimal(f"{mwh:.2e}")
    return f"{rounded:,f}"


def methodology(of: Total, given: Given) -> str:
    """How the energy was measured, in the hundred words the form gives."""
    how = f"{', '.join(of.methods)} by {', '.join(of.meters)}, scope {', '.join(of.scopes)}, {of.receipts} receipts"
    building = of.boundary(None if given.pue is None else given.pue[0])
    hum = "idle draw included" if of.hum_j is not None else "idle draw not told apart"
    return f"{how}; {building}; {hum}; grade {of.grade}, interval of about 95 %"


def _flop(value: float | None) -> str:
    return "not declared" if value is None else f"{value:.2e} FLOP".replace("e+", " x 10^")


def _row(item: str, shown: str, **figures: Any) -> Row:
    return Row((item, shown), {"item": item, **figures})


def _missing(given: Given, of: Total) -> list[Asked]:
    model = given.model
    asks = [
        (model.training_flop is None, asking.model("training_flop", "3.0e24", "the form asks for it in FLOP")),
        (model.hardware_count is None, asking.model("hardware_count", "512", "hardware-days need it")),
        (model.inference_flop is None, asking.model("inference_flop", "5.1e17", "the form asks for FLOP here")),
        (
            not model.inference_task,
            asking.model("inference_task", '"generating 100000 tokens"', "what the FLOP are of"),
        ),
        (given.pue is None and bool(of.it_j), asking.PUE),
    ]
    return [ask for lacks, ask in asks if lacks]
