"""Years of cash flow of doing nothing and of options beside it: present value, payback, what it hangs on."""

from __future__ import annotations

from outweigh.whatif.finance.case import Case, Flows, Option, Ranged
from outweigh.whatif.finance.cash import annuity, irr, npv, payback
from outweigh.whatif.finance.doubt import Bar, Scenarios, draw, tornado

__all__ = [
    "Bar", "Case", "Flows", "Option", "Ranged", "Scenarios", "annuity", "draw", "irr", "npv", "payback", "tornado",
]  # fmt: skip
