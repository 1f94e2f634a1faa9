"""Evidence made to measure: exact cells of right and wrong, exact energies with a given scatter."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from outweigh.compare.evidence import Evidence
from outweigh.core.measurement import Grade, Method
from outweigh.core.project import GateSpec, PrimaryMetric
from outweigh.core.variant import Variant
from outweigh.gate import Terms

ROUNDS = 6


def cells(both_right: int, gained: int, lost: int, both_wrong: int):
    """Scores of base and candidate with exactly these counts."""
    base = np.repeat([1.0, 0.0, 1.0, 0.0], [both_right, gained, lost, both_wrong])
    candidate = np.repeat([1.0, 1.0, 0.0, 0.0], [both_right, gained, lost, both_wrong])
    return base, candidate


class Bench:
    """Makes evidence and terms; keyword arguments override fields."""

    cells = staticmethod(cells)

    def evidence(self, name, right, energy_j=10.0, *, scatter=0.01, noise=None, content=None, scores=None, **fields):
        """Rounds scatter by exactly `scatter` (standard deviation of the log), in a pattern that is the name's own."""
        right = np.asarray(right, dtype=float)
        if noise is None:
            noise = np.random.default_rng([ord(c) for c in name]).standard_normal(ROUNDS)
            noise = scatter * (noise - noise.mean()) / noise.std(ddof=1)
        energy = energy_j * np.exp(noise)
        rounds = np.ones(energy.size)
        evidence = Evidence(
            variant=Variant(name, f"{name}.onnx", content_hash=f"hash of {name}" if content is None else content),
            items=np.arange(right.size),
            scores={"accuracy": right, **(scores or {})},
            latency_ms=np.linspace(1.0, 3.0, right.size),
            units=100 * rounds,
            work_j=80 * energy,
            hum_j=20 * energy,
            service_s=energy_j * rounds,
            energy_j_per_unit=energy,
            work_j_per_unit=0.8 * energy_j,
            hum_j_per_unit=0.2 * energy_j,
            amortised_j_per_unit=0.1 * energy_j,
            grade=Grade.B,
            method=Method.COUNTER,
        )
        return replace(evidence, **fields)

    def terms(self, *, primary=None, unit="ticket", volume_per_month=1e6, guards=(), budgets=(), **fields):
        known = {"hum_w", "mix_standard", "absolute_standard", "prices"}
        inputs = {name: fields.pop(name) for name in known & set(fields)}
        fields.setdefault("alternatives", 0)
        spec = GateSpec("base", "bigger", **fields)
        primary = primary or PrimaryMetric("accuracy")
        return Terms(spec, primary, unit, volume_per_month, tuple(guards), tuple(budgets), **inputs)

    def part(self, verdict, name, subject=None):
        """The one part of that name."""
        (part,) = [p for p in verdict.parts if p.part == name and subject in (None, p.subject)]
        return part

    def simulate(self, rng, n, base_error, candidate_error, energy_ratio, *, correlation=0.7, rounds=5, sigma=0.03):
        """A pair of variants: latent normal ability with `correlation`, lognormal energy with `sigma` a run."""
        common = rng.standard_normal(n)
        found = []
        for name, error, energy in (("base", base_error, 1.0), ("bigger", candidate_error, energy_ratio)):
            own = rng.standard_normal(n)
            ability = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
            noise = sigma * rng.standard_normal(rounds)
            found.append(self.evidence(name, ability > norm.ppf(error), energy, noise=noise))
        return found


@pytest.fixture(scope="session")
def bench():
    return Bench()


@pytest.fixture(scope="session")
def shared_data():
    """The team's reference data, from OUTWEIGH_SHARED_DATA or beside the repository; skips where absent."""
    root = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no reference data at {root}: set OUTWEIGH_SHARED_DATA")
    return root
