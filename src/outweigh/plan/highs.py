"""HiGHS, without a word on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outweigh.plan.problem import Floats

if TYPE_CHECKING:
    import highspy
    from scipy.sparse import csr_array


def quiet_highs() -> highspy.Highs:
    """A new solver on one thread that prints nothing.

    highspy 1.16 prints a banner to standard output while the first solver of a process is made, before it can be told
    not to (`enableCallbacks`, called by its constructor); a `--json` line must not follow one. The override can go
    once `highspy.Highs()` prints nothing.
    """
    # A sixth of a second to import, and only a plan needs it.
    import highspy

    class Quiet(highspy.Highs):
        def enableCallbacks(self) -> None:  # noqa: N802
            self.silent()
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    highs: highspy.Highs = Quiet()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    return highs


class Whole(NamedTuple):
    """The best choice found in whole numbers, and what no choice can be below; `x` is None where there is none."""

    x: Floats | None
    bound: float


def whole_numbers(
    cost: Floats,
    rows: csr_array,
    low: Floats,
    high: Floats,
    *,
    most: float | Floats = np.inf,
    gap: float = 0.0,
    seconds: float = np.inf,
) -> Whole:
    """Whole x in [0, most] of least cost · x with low <= rows x <= high.

    HiGHS itself and not scipy's `milp`: the HiGHS inside scipy 1.17 prints a line of its debugging to standard output
    whenever it makes a solution of a part into one of the whole, and takes no option against it.

    Args:
        cost: shape (n,).
        rows: shape (m, n).
        low, high: shape (m,), infinite where there is no limit.
        most: one, or shape (n,).
        gap: relative gap at which it may stop.
        seconds: wall time it may take.
    """
    import highspy

    highs = quiet_highs()
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("time_limit", seconds)
    n, m = len(cost), rows.shape[0]
    programme = highspy.HighsLp()
    programme.num_col_, programme.num_row_ = n, m
    programme.col_cost_ = np.asarray(cost, dtype=np.float64)
    programme.col_lower_, programme.col_upper_ = np.zeros(n), np.full(n, most)
    programme.row_lower_, programme.row_upper_ = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    programme.integrality_ = [highspy.HighsVarType.kInteger] * n
    programme.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    programme.a_matrix_.num_col_, programme.a_matrix_.num_row_ = n, m
    programme.a_matrix_.start_ = rows.indptr.astype(np.int32)
    programme.a_matrix_.index_ = rows.indices.astype(np.int32)
    programme.a_matrix_.value_ = rows.data.astype(np.float64)
    highs.passModel(programme)
    highs.run()
    told = highs.getInfo()
    there = told.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    return Whole(np.asarray(highs.getSolution().col_value) if there else None, float(told.mip_dual_bound))
