"""Jobs grouped by what they can do: what is alike up to its size is priced once.

The cost of a run is linear in the power of the job, so jobs that differ only in power have the same best run. A shape
is what is left when a job is scaled to 1 kW at its first level. In the linear programme a shape is one job as large as
all its members together; only whole plans see the members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.offers import W_PER_KW
from outweigh.plan.problem import ROUNDING_STEPS, Floats, Ints, Jobs
from outweigh.plan.shared.capacity import CapacityUnit


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """K shapes of J rows of jobs.

    Attributes:
        jobs: one row a shape, of 1 kW at the first level; named after the first member.
        units_per_kw: of capacity, held for each kW of IT power, shape (K,).
        weight_kw: of all members together, at the first level [kW], shape (K,).
        member: the shape of every row of jobs, shape (J,).
        kw: power of each row's one job at its first level, shape (J,).
    """

    jobs: Jobs
    units_per_kw: Floats
    weight_kw: Floats
    member: Ints
    kw: Floats

    def __len__(self) -> int:
        return len(self.jobs)

    def take(self, rows: Ints) -> Shapes:
        """These shapes, without their members: enough to price them."""
        nobody = np.empty(0, np.int64), np.empty(0)
        return Shapes(self.jobs.take(rows), self.units_per_kw[rows], self.weight_kw[rows], *nobody)

    @classmethod
    def of(cls, jobs: Jobs, unit: CapacityUnit) -> Shapes:
        """Group the rows of `jobs`.

        Raises:
            InvalidQuantity: capacity in devices, and a job that holds none.
        """
        kw = jobs.power_w[:, 0] / W_PER_KW
        units = np.ones(len(jobs))
        if unit is CapacityUnit.DEVICES:
            units = jobs.devices / (jobs.power_w[:, -1] / W_PER_KW)
            for row in np.flatnonzero(units == 0)[:1]:
                raise InvalidQuantity(
                    f"devices of job {jobs.names[row]!r}", "0", "capacity is in devices: say how many"
                )
        unit_jobs = replace(
            jobs,
            power_w=jobs.power_w / kw[:, np.newaxis],
            resume_kwh=jobs.resume_kwh / kw,
            entry_cost=jobs.entry_cost / kw[:, np.newaxis],
        )
        key = np.column_stack([
            unit_jobs.release, unit_jobs.deadline, unit_jobs.work, unit_jobs.speed, unit_jobs.power_w,
            unit_jobs.preemptible, unit_jobs.allowed, unit_jobs.resume_steps, unit_jobs.resume_kwh,
            unit_jobs.entry_cost, units,
        ]).astype(np.float64)  # fmt: skip
        first, member = groups(_rounded(key))
        weight = np.bincount(member, kw * jobs.count, minlength=len(first)).astype(np.float64)
        return cls(unit_jobs.take(first), units[first], weight, member, kw)


def lowest_kw(jobs: Jobs) -> Floats:
    """The least power at which each job can run [kW], shape (J,).

    Of the levels that are in time, or of all where it may change between them for nothing.
    """
    free = jobs.preemptible & (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
    window = (jobs.deadline - jobs.release)[:, np.newaxis]
    can = (jobs.work[:, np.newaxis] / jobs.speed <= window + ROUNDING_STEPS) | free[:, np.newaxis]
    return np.asarray(np.where(can, jobs.power_w, np.inf).min(axis=1) / W_PER_KW)


def _rounded(key: Floats) -> Floats:
    """To significant digits, so that what differs by a rounding is the same."""
    # frexp is exact; one step of the mantissa below 2^-40 is about 1e-12 of the value.
    mantissa, exponent = np.frexp(key)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**40), exponent - 40)) + 0.0  # -0.0 is 0.0


def groups(key: Floats) -> tuple[Ints, Ints]:
    """First row of every distinct one, in order of appearance, and which of them each row is."""
    if not len(key):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = np.ascontiguousarray(key).view(np.dtype((np.void, key.dtype.itemsize * key.shape[1]))).ravel()
    _, first, kind = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(first[order], dtype=np.int64), np.asarray(rank[kind.reshape(-1)], dtype=np.int64)
