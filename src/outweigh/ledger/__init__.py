"""The record of every run: open it, list it, add it up, carry it elsewhere."""

from outweigh.ledger.burning import (
    Burn,
    BurnRate,
    Exhaustion,
    State,
    burn_down,
    burnt_so_far,
    charged,
    check_nesting,
    drawn_j,
)
from outweigh.ledger.carry import export_jsonl, import_jsonl
from outweigh.ledger.drawn import Drawdown, add_up, drawdown, drawn
from outweigh.ledger.humming import HumPower, hum_power
from outweigh.ledger.journal import RunJournal, running_folder
from outweigh.ledger.listing import PhaseSummary, list_rows, show, summary, verify
from outweigh.ledger.opening import default_path, open_ledger
from outweigh.ledger.recomputing import carbon_of, money_of, recompute, views
from outweigh.ledger.recovering import InFlight, in_flight, recover, seen_so_far

__all__ = [
    "Burn",
    "BurnRate",
    "Drawdown",
    "Exhaustion",
    "HumPower",
    "InFlight",
    "PhaseSummary",
    "RunJournal",
    "State",
    "add_up",
    "burn_down",
    "burnt_so_far",
    "carbon_of",
    "charged",
    "check_nesting",
    "default_path",
    "drawdown",
    "drawn",
    "drawn_j",
    "export_jsonl",
    "hum_power",
    "import_jsonl",
    "in_flight",
    "list_rows",
    "money_of",
    "open_ledger",
    "recompute",
    "recover",
    "running_folder",
    "seen_so_far",
    "show",
    "summary",
    "verify",
    "views",
]
