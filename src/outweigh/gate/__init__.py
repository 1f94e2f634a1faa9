"""Weigh a proposal against budget, alternatives and benefit: pass, fail or inconclusive."""

from outweigh.gate.guards import check_metric_names
from outweigh.gate.inputs import BudgetLine, Contenders, Terms, ValueTerms
from outweigh.gate.power import items_for_gain, smallest_gain
from outweigh.gate.rule import combine, weigh

__all__ = [
    "BudgetLine",
    "Contenders",
    "Terms",
    "ValueTerms",
    "check_metric_names",
    "combine",
    "items_for_gain",
    "smallest_gain",
    "weigh",
]
