"""The record of every run: open it, list it, add it up, carry it elsewhere."""

from outweigh.ledger.burning import Burn, BurnRate, Exhaustion, State, burn_down, check_nesting
from outweigh.ledger.carry import export_jsonl, import_jsonl
from outweigh.ledger.drawn import Drawdown, drawdown, drawn
from outweigh.ledger.journal import RunJournal, running_folder
from outweigh.ledger.listing import PhaseSummary, list_rows, show, summary, verify
from outweigh.ledger.opening import default_path, open_ledger
from outweigh.ledger.recomputing import carbon_of, money_of, recompute, views
from outweigh.ledger.recovering import InFlight, in_flight, recover

__all__ = [
    "Burn",
    "BurnRate",
    "Drawdown",
    "Exhaustion",
    "InFlight",
    "PhaseSummary",
    "RunJournal",
    "State",
    "burn_down",
    "carbon_of",
    "check_nesting",
    "default_path",
    "drawdown",
    "drawn",
    "export_jsonl",
    "import_jsonl",
    "in_flight",
    "list_rows",
    "money_of",
    "open_ledger",
    "recompute",
    "recover",
    "running_folder",
    "show",
    "summary",
    "verify",
    "views",
]
