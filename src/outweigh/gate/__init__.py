"""Weigh a proposal against budget, alternatives and benefit: pass, fail or inconclusive."""

from outweigh.gate.eta import EtaFit, Tried, calibrate_eta
from outweigh.gate.guards import check_metric_names
from outweigh.gate.inputs import BudgetLine, Contenders, Terms, ValueTerms
from outweigh.gate.power import items_for_gain, smallest_gain
from outweigh.gate.ranking import Ranked, ranking
from outweigh.gate.rule import combine, weigh
from outweigh.gate.sensitivity import Sensitivity, Setting, sensitivity
from outweigh.gate.waiving import Waived, part_name, under_waivers, verdict_id, waiver_to_paste

__all__ = [
    "BudgetLine",
    "Contenders",
    "EtaFit",
    "Ranked",
    "Sensitivity",
    "Setting",
    "Terms",
    "Tried",
    "ValueTerms",
    "Waived",
    "calibrate_eta",
    "check_metric_names",
    "combine",
    "items_for_gain",
    "part_name",
    "ranking",
    "sensitivity",
    "smallest_gain",
    "under_waivers",
    "verdict_id",
    "waiver_to_paste",
    "weigh",
]
