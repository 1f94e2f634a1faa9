"""The composition root: wires energy.toml to back-ends to verbs. Everything here is also the Python API."""

from outweigh.app.blocks import measured, measuring
from outweigh.app.files import ledger_rows, opened, rewrite_report, start_project
from outweigh.app.running import measure, measure_pid, receipt_line

__all__ = [
    "ledger_rows",
    "measure",
    "measure_pid",
    "measured",
    "measuring",
    "opened",
    "receipt_line",
    "rewrite_report",
    "start_project",
]
