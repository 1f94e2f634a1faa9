"""Which plans a bound is over, and what the bound over all others would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from outweigh.core.rounding import significant
from outweigh.plan.problem import Bools, Floats, Jobs
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.pricing import Field, LocalPricer

ONE_LEVEL: Final = "keeps one level through a run"
WHOLE_STEPS: Final = "pauses at whole steps"


def among(rows: Jobs) -> str:
    """What the plans have in common that the bound is over, as words that follow "no plan"; empty is nothing.

    A job whose stops cost, or that may not stop, keeps its level: to change it is to stop and start again. And pauses
    that cost are at whole steps.
    """
    tied, paid = _tied(rows), _paid(rows)
    said = [words for words, some in ((ONE_LEVEL, tied), (WHOLE_STEPS, paid)) if some.any()]
    return f"that {' and '.join(said)}" if said else ""


def untied(shapes: Shapes, field: Field, prices: CapacityPrices) -> float:
    """The bound at these prices if every job could change level, and those with pauses could take them anywhere for
    nothing [currency]: over more plans than there are."""
    jobs = shapes.jobs
    loose = _tied(jobs) | _paid(jobs)
    nothing = np.zeros(len(jobs))
    free = replace(
        jobs, preemptible=jobs.preemptible | loose, resume_steps=np.where(loose, nothing, jobs.resume_steps),
        resume_kwh=np.where(loose, nothing, jobs.resume_kwh),
    )  # fmt: skip
    best: Floats = LocalPricer(replace(shapes, jobs=free), field).price(prices).best
    return float(shapes.weight_kw @ best) - field.worth(prices)


def note(words: str, bound: float, loose: float, currency: str) -> str:
    """The sentence about it."""
    of = f" {currency}" if currency else ""
    here, there = significant(bound, 4), significant(min(loose, bound), 4)
    lower = "no lower" if here == there else f"{there}{of}, not {here}{of}"
    return (
        f"The bound is for a plan {words}, where stopping costs or is not allowed. "
        f"If such jobs could change speed and pause as they please, for nothing, it would be {lower}."
    )


def _tied(rows: Jobs) -> Bools:
    free = rows.preemptible & (rows.resume_steps == 0) & (rows.resume_kwh == 0)
    levels = (rows.speed[:, 1:] > rows.speed[:, :-1]).any(axis=1)
    return np.asarray(levels & ~free)


def _paid(rows: Jobs) -> Bools:
    return np.asarray(rows.preemptible & ((rows.resume_steps > 0) | (rows.resume_kwh > 0)))
