"""What a fleet answers: plain arrays, with how they are known beside them. Energy in J, power in W, times in UTC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.intervals import Bounds, Interval
from outweigh.core.measurement import Grade, Method, Scope

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what should have been read was read, in minutes of nodes.

    A node is expected from the first to the last minute it was ever seen in. What is missing is missing: no figure
    holds anything in its place.
    """

    read: int
    expected: int

    @property
    def share(self) -> float | None:
        """0 to 1; None where nothing was to be expected."""
        return self.read / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class Known:
    """How the figures of an answer are known.

    Attributes:
        window: the time they are of; asked times are taken to whole minutes, hours or days as each answer says.
        coverage: see there.
        scope: what the meters see.
        grade: the worst of the days' samples.
        methods: how they came about.
        sources: what they were read with.
        doubt: half-width of the readings' limits, as a share; common to all, so a sum has it whole.
        synthetic: some or all of it was made up by a program; say so wherever it is shown.
    """

    window: Interval
    coverage: Coverage
    scope: Scope
    grade: Grade
    methods: tuple[Method, ...]
    sources: tuple[str, ...]
    doubt: float
    synthetic: bool

    def bounds(self, value: float) -> Bounds:
        """The interval of a power or energy that was read, by the meters' doubt."""
        return Bounds(value * max(0.0, 1 - self.doubt), value * (1 + self.doubt))

    def bounds_of_hum(self, low: float, high: float) -> Bounds:
        """The interval of a hum between its low and high reading (`rollups`), with the meters' doubt on top."""
        return Bounds(low * max(0.0, 1 - self.doubt), high * (1 + self.doubt))


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Energy in its three parts [J], and the hum's interval by the choice of quantile; shape of all: that of energy.

    `energy_j = hum_j + work_j + unsplit_j`; `unsplit_j` is of nodes that have not idled by then, so that nobody knows
    their hum.
    """

    energy_j: Floats
    hum_j: Floats
    hum_low_j: Floats
    hum_high_j: Floats
    unsplit_j: Floats

    @property
    def work_j(self) -> Floats:
        return np.maximum(self.energy_j - self.hum_j - self.unsplit_j, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class FleetState:
    """What there is. `known.window` reaches from the first to past the last minute."""

    known: Known
    nodes: int
    gpus: int
    owners: tuple[str, ...]
    sites: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class HumByOwner:
    """Energy by owner in a window, the largest hum first; "" is nobody. `node_minutes` is what each held or left.

    Its window is the asked one in whole minutes: a minute counts where its start lies in it.
    """

    known: Known
    owners: tuple[str, ...]
    split: Split
    node_minutes: NDArray[np.int64]
    idle_node_minutes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PowerOverTime:
    """Power in steps of equal length; arrays of shape (n,), NaN where nothing was read.

    Attributes:
        t_s: start of each step [s, Unix epoch].
        step_s: its length [s].
        min_w, mean_w, max_w: of the sum over nodes, minute by minute; a short peak stays in `max_w`.
        hum_w: mean hum.
        unsplit_w: mean power of nodes that have not idled by then: neither hum nor work.
        nodes: nodes read, on the mean.
        expected_nodes: nodes expected, on the mean; where `nodes` is less, the sum lacks theirs. NaN for an owner:
            nobody knows who would have held what was not read.
    """

    known: Known
    t_s: NDArray[np.int64]
    step_s: int
    min_w: Floats
    mean_w: Floats
    max_w: Floats
    hum_w: Floats
    unsplit_w: Floats
    nodes: Floats
    expected_nodes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class TopNodes:
    """Nodes, the largest first. Its window is the asked one, widened to whole hours.

    `owners` names who drew most of its energy; `idle_w` is the latest hum figure by then [W], NaN without one.
    """

    known: Known
    nodes: tuple[str, ...]
    sites: tuple[str, ...]
    owners: tuple[str, ...]
    gpus: NDArray[np.int64]
    split: Split
    minutes: NDArray[np.int64]
    idle_minutes: NDArray[np.int64]
    max_w: Floats
    idle_w: Floats
    total_nodes: int


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One node minute by minute; shape (n,), NaN and None where it was not read."""

    known: Known
    node: str
    t_s: NDArray[np.int64]
    power_w: Floats
    hum_w: Floats
    busy: Floats
    owners: tuple[str | None, ...]
    sites: tuple[str | None, ...]
    gpus: int


@dataclass(frozen=True, slots=True, eq=False)
class UsedOverTime:
    """Energy by period and owner; arrays of shape (periods, owners), 0 where an owner held nothing.

    Its window is the asked one, widened to whole days. A period of which the window holds a part has that part only;
    `coverages` says of each how much of it was read.
    """

    known: Known
    periods: tuple[str, ...]
    owners: tuple[str, ...]
    split: Split
    coverages: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Latest:
    """The last minute that was read of any node, by owner."""

    known: Known
    owners: tuple[str, ...]
    power_w: Floats
    hum_w: Floats
    unsplit_w: Floats
    nodes: NDArray[np.int64]
    idle_nodes: NDArray[np.int64]
