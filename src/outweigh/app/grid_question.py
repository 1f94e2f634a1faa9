"""Which question a carbon intensity answers, as people type it."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from outweigh.core.errors import UsageError
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning

E = TypeVar("E", bound=StrEnum)
_EXAMPLE = (
    "Write [KIND-]SCOPE-ACCOUNTING: lifecycle-production, direct-consumption or marginal-direct-consumption, say "
    "(docs/grid.md has the words)"
)


def question_of(text: str, *, price: bool = False) -> CarbonMeaning | None:
    """The meaning that `--question` names; None where it is "". Average where no kind is said.

    Raises:
        UsageError: it is no question, or prices are asked for.

    >>> str(question_of("direct-consumption"))
    'average direct consumption-based carbon intensity'
    """
    if not text:
        return None
    if price:
        raise UsageError("--question is of carbon", "Leave it out, or leave out --price")
    words = text.strip().lower().split("-")
    kind = _taken(CarbonKind, words) or CarbonKind.AVERAGE
    scope, accounting = _taken(CarbonScope, words), _taken(Accounting, words)
    if scope is None or accounting is None or words:
        raise UsageError(f"--question {text!r} is no question", _EXAMPLE)
    return CarbonMeaning(kind, scope, accounting)


def _taken(among: type[E], words: list[str]) -> E | None:
    """The first word that is one of these, taken out."""
    found = next((one for one in among if one.value in words), None)
    if found is not None:
        words.remove(found.value)
    return found
