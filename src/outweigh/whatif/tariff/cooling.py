"""What a hall draws beside its computers, as its load rises: in stages, of which each switches one more machine on.

A run adds its own IT power and what cooling it takes. Where it lifts the hall into the next stage, that is a step: the
next chiller's fixed draw comes on for the first kilowatt beyond the stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stage:
    """How the hall is cooled up to an IT load [kW]; None is without end. It draws `fixed_kw` + `share` x IT load."""

    up_to_kw: float | None
    fixed_kw: float
    share: float


@dataclass(frozen=True, slots=True)
class Cooling:
    """Stages in the order of their loads. What is drawn beside IT never falls as IT load rises.

    Raises:
        InvalidQuantity: no stage, stages out of order, a last one that ends, or a draw that is negative or falls.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        what = "stages of cooling"
        if not self.stages or self.stages[-1].up_to_kw is not None:
            raise InvalidQuantity(what, "a last stage that ends", "leave up_to_kw of the last stage empty")
        below, before = 0.0, 0.0
        for stage in self.stages:
            top = math.inf if stage.up_to_kw is None else stage.up_to_kw
            if top <= below or math.isnan(top):
                raise InvalidQuantity(what, f"an end at {top:g} kW", f"each stage ends above {below:g} kW")
            if not (0 <= stage.fixed_kw < math.inf and 0 <= stage.share < math.inf):
                given = f"{stage.fixed_kw:g} kW and {stage.share:g} of IT"
                raise InvalidQuantity(what, given, "what is drawn beside IT is finite and 0 or more")
            starts = stage.fixed_kw + stage.share * below
            if starts < before:
                given = f"{before:g} kW before {below:g} kW of IT and {starts:g} kW behind it"
                raise InvalidQuantity(what, given, "more load does not take less cooling; correct the stages")
            below = top
            before = stage.fixed_kw + stage.share * top if math.isfinite(top) else 0.0

    @classmethod
    def flat(cls, pue: float) -> Cooling:
        """The same PUE at any load.

        >>> Cooling.flat(1.5).facility_kw([10.0]).tolist()
        [15.0]
        """
        if not 1 <= pue < math.inf:
            raise InvalidQuantity("PUE", str(pue), "a facility draws at least what its machines draw: 1 or more")
        return cls((Stage(None, 0.0, pue - 1),))

    @property
    def free(self) -> bool:
        """Whether nothing is drawn beside IT."""
        return not any(stage.fixed_kw or stage.share for stage in self.stages)

    def facility_kw(self, it_kw: object) -> Floats:
        """Power at the meter, shape as given [kW]."""
        it = np.asarray(it_kw, dtype=np.float64)
        fixed, share, _ = self._arrays()
        at = self._stage(it)
        return it + fixed[at] + share[at] * it

    def it_kw(self, facility_kw: object) -> Floats:
        """IT load behind a power at the meter: the highest that draws no more than it, and 0 where even idle does.

        A power between the end of a stage and the start of the next is read as the end of the lower one.
        """
        drawn = np.asarray(facility_kw, dtype=np.float64)
        fixed, share, tops = self._arrays()
        starts = np.concatenate(([0.0], tops[:-1]))
        # The highest stage whose first kilowatt the power covers.
        at = np.clip(np.searchsorted(starts * (1 + share) + fixed, drawn, side="left") - 1, 0, len(fixed) - 1)
        found: Floats = np.clip((drawn - fixed[at]) / (1 + share[at]), 0.0, tops[at])
        return found

    def added_kw(self, facility_kw: object, it_kw: object) -> Floats:
        """What is drawn beside IT, on top, where so much IT comes on top of what the meter shows [kW]."""
        drawn, more = np.asarray(facility_kw, dtype=np.float64), np.asarray(it_kw, dtype=np.float64)
        before = self.it_kw(drawn)
        added = self.facility_kw(before + more) - self.facility_kw(before) - more
        found: Floats = np.where(more > 0, np.maximum(added, 0.0), 0.0)
        return found

    def _stage(self, it_kw: Floats) -> NDArray[np.intp]:
        _, _, tops = self._arrays()
        # An hour's float dust above a stage's end is not the next chiller.
        return np.minimum(np.searchsorted(tops * (1 + 1e-12), it_kw, side="left"), len(self.stages) - 1)

    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        fixed = np.array([stage.fixed_kw for stage in self.stages])
        share = np.array([stage.share for stage in self.stages])
        tops = np.array([math.inf if stage.up_to_kw is None else stage.up_to_kw for stage in self.stages])
        return fixed, share, tops
