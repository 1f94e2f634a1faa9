"""What a plan saves against starting now, in figures and a sentence; in one place, so that a check finds the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from outweigh.core.rounding import si, significant

_NOTHING: Final = 1e-9  # share of the baseline; below it a difference is rounding
Document = dict[str, Any]


def saving_body(plan: Mapping[str, Any], against: Mapping[str, Any], currency: str, error: float | None) -> Document:
    """The saving of one outcome (`planfile.outcome_body`) against another; is it more than the forecasts' own error?

    Where jobs of the other found no room in time, their energy is in none of its figures: nothing is compared, no
    saving is stated (None), and nobody is told to run now and miss a deadline.

    Args:
        error: standard uncertainty of the saving (k = 1), in the currency; None where it is not known.
    """
    if late := against["late_jobs"]:
        job, it, draws = ("job", "It", "draws") if late == 1 else ("jobs", "They", "draw")
        statement = (
            f"{_capital(against['policy'])}, leaves {late} {job} without room in time. {it} would miss the "
            f"deadline, and what {it.lower()} {draws} is not in its figures: no saving is stated."
        )
        return _body(None, None, error, None, statement)
    saved = against["objective"] - plan["objective"]
    share = saved / abs(against["objective"]) if against["objective"] else 0.0
    if saved <= _NOTHING * abs(against["objective"]):
        statement = f"No plan is cheaper than {against['policy']}: nothing is gained by waiting."
        return _body(saved, share, error, True, statement)
    carbon_kg = against["carbon_kg"] - plan["carbon_kg"]
    statement = (
        f"Against {against['policy']}: {significant(saved, 3)} {currency}"
        f"{f' ({share:.1%})' if against['objective'] else ''} less of cost and priced carbon, "
        f"{si(1e3 * abs(carbon_kg), 'g')} of CO2e {'less' if carbon_kg >= 0 else 'more'}."
    )
    noise = None if error is None else saved <= 2 * error
    if noise and error is not None:
        statement += f" The forecasts' own error is {significant(2 * error, 2)} {currency}: run it now."
    return _body(saved, share, error, noise, statement)


def _body(saved: float | None, share: float | None, error: float | None, noise: bool | None, said: str) -> Document:
    return {"objective": saved, "share": share, "error_objective": error, "noise": noise, "statement": said}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
