"""The one shape of every benchmark: rows with a value, a reference from the same run, and a goal.

`python benchmarks/NAME.py` prints a table; `--json` prints one object. Exit code 0 only when every row
that has a goal holds. A row that could not run says why in `note` and has `holds: null`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `reference` is the peer or limit of the same run, or a printed figure with its source."""

    case: str
    value: float | None
    unit: str
    reference: float | str | None = None
    goal: str | None = None
    holds: bool | None = None
    note: str = ""


def machine() -> dict[str, object]:
    """What the figures were measured on; no host name."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def finish(name: str, rows: list[Row]) -> int:
    """Print the rows as asked and return the exit code."""
    if "--json" in sys.argv[1:]:
        print(json.dumps({"name": name, "machine": machine(), "rows": [asdict(row) for row in rows]}, allow_nan=False))
    else:
        about = machine()
        print(f"{name} on {about['cpu']} ({about['cores']} cores, Python {about['python']})")
        width = max(len(row.case) for row in rows)
        for row in rows:
            value = "could not run" if row.value is None else f"{row.value:.4g} {row.unit}"
            reference = f"{row.reference:.4g}" if isinstance(row.reference, float) else str(row.reference or "")
            verdict = {True: "holds", False: "MISSED", None: ""}[row.holds]
            print(
                f"{row.case:<{width}}  {value:>26}  ref {reference:<12} goal {row.goal or '-':<8} {verdict} {row.note}"
            )
    return 1 if any(row.goal is not None and row.holds is False for row in rows) else 0
