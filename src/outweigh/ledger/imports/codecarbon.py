"""CodeCarbon's `emissions.csv`: one row a run, energies in kWh.

The stamp is the writer's local time at the end of the run, without a zone. Most rows mix a counter (GPU), a counter or
a constant (CPU) and a model (memory), and do not say which, so they are modelled: grade C, and D when more than half of
the joules come from constants. A CPU at one power all along is a constant: energy = power x duration to 0.1 %.

Source: mlco2/codecarbon, codecarbon/output_methods/emissions_data.py (fields) and published emissions.csv files of
versions 2.2 to 3.x (units kWh and s). Carbon is not taken over: `ledger recompute` makes it, with a known factor.
"""

from __future__ import annotations

from outweigh.core.constants import J_PER_KWH
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.imports._foreign import About, Foreign, energy, moment, number, receipt, span, table

REQUIRED = ("timestamp", "duration", "energy_consumed")
_SAME = 1e-3
_MOST = 0.5


def read(text: str, about: About) -> Foreign:
    """Receipts of an emissions.csv. Raises UsageError with the line of what cannot be read."""
    found, left_out = [], []
    for line, row in table(about, text, REQUIRED):
        duration_s = number(about, line, "duration", row["duration"], least=0.0)
        joules = number(about, line, "energy_consumed", row["energy_consumed"], least=0.0) * J_PER_KWH
        end = moment(about, line, "timestamp", row["timestamp"])
        if duration_s == 0:
            left_out.append(f"line {line}: it lasted no time")
            continue
        parts = {name: _part(about, line, row, name) for name in ("cpu", "gpu", "ram")}
        constant, notes = _constants(about, line, row, parts, duration_s, joules)
        if (pue := _optional(about, line, row, "pue")) not in (None, 1.0):
            notes.append(f"its PUE of {pue:g} may be in the figure: the file does not say")
        if end.tzinfo is not None and "+" not in row["timestamp"][10:] and not row["timestamp"].endswith("Z"):
            notes.append(f"its stamp names no time zone; read as {about.zone}")
        version = row.get("codecarbon_version", "")
        total = energy(
            joules,
            span(about, line, duration_s, end=end),
            scope=Scope.NODE,
            grade=Grade.D if constant > _MOST else Grade.C,
            method=Method.MODELLED,
            source=f"codecarbon {version}".strip(),
        )
        notes.append("its scope is CPU, GPU and memory, not the whole machine")
        if row.get("tracking_mode") == "process":
            notes.append("tracking mode process: the machine's figures, shared out by CPU time")
        identity = {name: row.get(name, "") for name in ("run_id", "experiment_id", "task_name", *REQUIRED)}
        found.append(
            receipt(
                about,
                "codecarbon",
                identity,
                total,
                project=row.get("project_name", ""),
                versions=(("codecarbon", version),) if version else (),
                notes=notes,
            )
        )
    return Foreign(tuple(found), tuple(left_out))


def _constants(
    about: About, line: int, row: dict[str, str], parts: dict[str, float | None], duration_s: float, joules: float
) -> tuple[float, list[str]]:
    """The share of the energy that is a constant times time, and what to say of it."""
    if joules == 0 or parts["ram"] is None:
        return 1.0, ["it does not say which part is measured"]
    constant_j, of = parts["ram"], ["memory by its size"]
    power_w, cpu_j = _optional(about, line, row, "cpu_power"), parts["cpu"]
    if power_w and cpu_j and abs(cpu_j - power_w * duration_s) <= _SAME * cpu_j:
        constant_j, of = constant_j + cpu_j, [*of, f"CPU at {power_w:g} W all along"]
    share = constant_j / joules
    return share, [f"{share:.0%} of its joules are constants times time ({', '.join(of)})"]


def _part(about: About, line: int, row: dict[str, str], name: str) -> float | None:
    kwh = _optional(about, line, row, f"{name}_energy")
    return None if kwh is None else kwh * J_PER_KWH


def _optional(about: About, line: int, row: dict[str, str], name: str) -> float | None:
    given = row.get(name, "")
    return number(about, line, name, given, least=0.0) if given else None
