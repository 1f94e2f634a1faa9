"""Two contenders side by side: x, g and T of the rule."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from outweigh.compare.energy import LogRatio, log_ratio
from outweigh.compare.evidence import Evidence, Floats
from outweigh.compare.quality import PairedQuality, paired_error_draws, paired_quality
from outweigh.gate.inputs import Terms, same_thing
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails


@dataclass(frozen=True, eq=False)
class Pair:
    """`candidate` held against `base` on the same items and in the same rounds.

    Random streams depend on the seed and the two names only: who else takes part, and in which order the
    parts are judged, does not change a draw.
    """

    base: Evidence
    candidate: Evidence
    terms: Terms
    seed: int = 0
    n_draws: int = 10_000

    def rng(self, purpose: str) -> np.random.Generator:
        key = f"{self.base.variant.name}\n{self.candidate.variant.name}\n{purpose}"
        return np.random.default_rng([self.seed, zlib.crc32(key.encode())])

    @cached_property
    def x(self) -> LogRatio:
        """ln(E_candidate / E_base), with the instruction-mix error unless both are one content."""
        mix = 0.0 if same_thing(self.base, self.candidate) else self.terms.mix_standard
        return log_ratio(
            self.candidate.energy_j_per_unit,
            self.base.energy_j_per_unit,
            confidence=self.terms.two_sided,
            mix_standard=mix,
        )

    @cached_property
    def primary(self) -> PairedQuality:
        return self.quality(self.terms.primary.metric)

    def quality(self, metric: str) -> PairedQuality:
        return paired_quality(self.base.scores[metric], self.candidate.scores[metric])

    @cached_property
    def errors(self) -> tuple[float, float]:
        """Distance of the primary metric to its ceiling, base and candidate; not positive at or over the ceiling."""
        ceiling = self.terms.primary.ceiling
        return ceiling - float(np.mean(self.primary.base)), ceiling - float(np.mean(self.primary.candidate))

    @property
    def above_ceiling(self) -> str:
        """Name of a variant whose measured quality leaves no error to compare, or ""."""
        for error, evidence in zip(self.errors, (self.base, self.candidate), strict=True):
            # Rounding in a mean of scores must not pass for an error of 1e-17.
            if error <= 1e-12 * max(1.0, abs(self.terms.primary.ceiling)):
                return evidence.variant.name
        return ""

    @property
    def g(self) -> float:
        """ln(err_base / err_candidate). Only where `above_ceiling` is empty."""
        return math.log(self.errors[0] / self.errors[1])

    @cached_property
    def g_draws(self) -> Floats:
        return paired_error_draws(
            self.base.scores[self.terms.primary.metric],
            self.candidate.scores[self.terms.primary.metric],
            self.terms.primary.ceiling,
            self.n_draws,
            self.rng("g"),
        )

    @cached_property
    def gain(self) -> Tails:
        """g against 0."""
        return Tails.of_draws(self.g, self.g_draws, 0.0, self.terms.alpha)

    @cached_property
    def proportion(self) -> Tails:
        """T = g - eta x against 0; g and x are independent, one from items, the other from rounds."""
        eta = self.terms.spec.eta
        draws = self.g_draws - eta * self.x.draws(self.rng("x"), self.n_draws)
        return Tails.of_draws(self.g - eta * self.x.estimate, draws, 0.0, self.terms.alpha)

    @property
    def proportion_spread(self) -> Spread:
        eta = self.terms.spec.eta
        return Spread(
            items=float(np.var(self.g_draws)),
            rounds=(eta * self.x.standard_error) ** 2,
            fixed=(eta * self.x.mix_standard) ** 2,
        )

    @property
    def n_items(self) -> int:
        return self.primary.n

    @property
    def n_rounds(self) -> int:
        return int(self.base.energy_j_per_unit.size)
