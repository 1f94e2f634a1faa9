"""Jobs that differ in nothing but their names: planned as one row that stands for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outweigh.plan.problem import Floats, Ints, Jobs
from outweigh.plan.shared.classes import groups
from outweigh.plan.shared.schedule import Runs


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """R rows that stand for J jobs.

    Attributes:
        jobs: one row for all that are alike, named after the first, with their number; R rows.
        row: of each job, shape (J,).
        count: of each job, shape (J,).
    """

    jobs: Jobs
    row: Ints
    count: Ints

    @classmethod
    def of(cls, jobs: Jobs) -> Alike:
        columns = [getattr(jobs, name) for name in jobs.__dataclass_fields__ if name not in ("names", "count")]
        key: Floats = np.column_stack([np.asarray(each, dtype=np.float64) for each in columns])
        first, row = groups(key + 0.0)  # -0.0 is 0.0
        if len(first) == len(jobs):
            return cls(jobs, np.arange(len(jobs)), jobs.count)
        count = np.bincount(row, jobs.count, len(first)).astype(np.int64)
        return cls(replace(jobs.take(first), count=count), row, jobs.count)

    def members(self, rows: list[int]) -> list[int]:
        """Jobs of these rows, each row as often as it has such jobs and each job at most as often as it is there."""
        found: list[int] = []
        for row, many in zip(*np.unique(rows, return_counts=True), strict=True):
            each = np.flatnonzero(self.row == row)
            found += np.repeat(each, self.count[each])[: int(many)].tolist()
        return found

    def shared_out(self, runs: Runs) -> Runs:
        """The runs of the rows as runs of the jobs: those that begin first are of the job that comes first."""
        if len(self.jobs) == len(self.row):
            return runs
        job = np.argsort(self.row, kind="stable")
        run = np.lexsort((runs.start, runs.job))
        # Both lists go through the same jobs in the same order: cut them where either goes on to its next.
        of_run, of_job = np.cumsum(runs.count[run]), np.cumsum(self.count[job])
        until = np.union1d(of_run, of_job)
        since = np.concatenate([[0], until[:-1]])
        run = run[np.searchsorted(of_run, since, side="right")]
        job = job[np.searchsorted(of_job, since, side="right")]
        order = np.lexsort((runs.start[run], job))
        run, job, count = run[order], job[order], (until - since)[order]
        sizes = np.diff(runs.offset)[run]
        offset = np.concatenate([[0], np.cumsum(sizes)])
        entry = np.arange(offset[-1]) + np.repeat(runs.offset[run] - offset[:-1], sizes)
        return Runs(
            job, runs.site[run], count, runs.start[run], runs.end[run], offset, runs.step[entry], runs.work[entry],
            runs.energy_kwh[entry],
        )  # fmt: skip
