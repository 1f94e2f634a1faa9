"""The composition root: wires energy.toml to back-ends to verbs. Everything here is also the Python API.

A verb is imported when it is first asked for (PEP 562): `outweigh grid show` has no use for what measures a run, and
making ready all of it takes longer than the answer.
"""

# Not from typing, whose import alone costs; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from outweigh.app.blocks import measured, measuring
    from outweigh.app.files import ledger_rows, opened, rewrite_report, start_project
    from outweigh.app.record import hum_rows, import_records, recompute_views, recover_runs, sample_rows, samples_of
    from outweigh.app.running import exit_code_of, measure, measure_idle, measure_pid, receipt_line

_HOMES = {
    "blocks": ("measured", "measuring"),
    "files": ("ledger_rows", "opened", "rewrite_report", "start_project"),
    "record": ("hum_rows", "import_records", "recompute_views", "recover_runs", "sample_rows", "samples_of"),
    "running": ("exit_code_of", "measure", "measure_idle", "measure_pid", "receipt_line"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, verbs in _HOMES.items():
        if name in verbs:
            verb: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = verb
            return verb
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
