"""Where new prices and carbon come from while a plan is followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from outweigh.core.errors import OutweighError
from outweigh.run.rates import Rates

#: Looks up what is known at a moment of plan time, over the steps of the rates it is given. None: nothing newer. Raises
#: FactorMissing, GridUnavailable and what else a grid source may fail with.
Look = Callable[[datetime, Rates], Rates | None]


@dataclass(slots=True)
class Outlook:
    """The vintage in force, and how long nobody could say whether it still holds.

    Attributes:
        rates: in force.
        answered: plan time of the last answer, or of the plan itself.
        trouble: why the last question had no answer; empty when it had.
    """

    rates: Rates
    answered: datetime
    look: Look | None = None
    asked: datetime | None = None
    trouble: str = ""

    def due(self, now: datetime, every_s: float) -> bool:
        return self.look is not None and (self.asked is None or (now - self.asked).total_seconds() >= every_s)

    def ask(self, now: datetime) -> bool:
        """Look again; whether there is a new vintage. An answer that fails leaves the last one in force."""
        self.asked = now
        if self.look is None:
            return False
        try:
            found = self.look(now, self.rates)
        except OutweighError as err:
            self.trouble = str(err)
            return False
        self.trouble, self.answered = "", now
        if found is None:
            return False
        new = found.differs_after(self.rates, now)
        self.rates = found
        return new

    def silent_s(self, now: datetime) -> float:
        """How long nobody has answered [s]; 0 where nobody is asked."""
        return (now - self.answered).total_seconds() if self.look is not None and self.trouble else 0.0
