"""The tariff engine: what a load costs under a tariff, and what one more run costs on top."""

from __future__ import annotations

from outweigh.whatif.tariff.billing import Bill, Demand, History, Line, bill
from outweigh.whatif.tariff.load import Load, Run
from outweigh.whatif.tariff.terms import Kind, Tariff

__all__ = ["Bill", "Demand", "History", "Kind", "Line", "Load", "Run", "Tariff", "bill"]
