"""The composition root: wires energy.toml to back-ends to verbs. Everything here is also the Python API."""

from outweigh.app.blocks import measured, measuring
from outweigh.app.files import ledger_rows, opened, rewrite_report, start_project
from outweigh.app.record import hum_rows, import_records, recompute_views, recover_runs, sample_rows, samples_of
from outweigh.app.running import exit_code_of, measure, measure_idle, measure_pid, receipt_line

__all__ = [
    "exit_code_of",
    "hum_rows",
    "import_records",
    "ledger_rows",
    "measure",
    "measure_idle",
    "measure_pid",
    "measured",
    "measuring",
    "opened",
    "receipt_line",
    "recompute_views",
    "recover_runs",
    "rewrite_report",
    "sample_rows",
    "samples_of",
    "start_project",
]
