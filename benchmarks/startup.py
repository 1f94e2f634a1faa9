"""What a person waits for before anything happens, as ratios to bare Python in the same run.

Goals: `import outweigh` at most 60 ms over bare Python, the measuring core at most 25 ms over it,
`outweigh --help` under 250 ms. Times are medians of whole processes; the ratio column is what to compare
between machines.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from shape import Row, finish

RUNS = 15


def median_s(command: list[str]) -> float:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # warm caches and bytecode
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def imported_ms(module: str) -> float:
    """Cumulative import time of a module as `-X importtime` prints it."""
    runs = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", f"import {module}"], check=True, capture_output=True, text=True
        )
        lines = [line.split("|") for line in done.stderr.splitlines() if line.count("|") == 2]
        runs.append(next(int(cumulative) for _self, cumulative, name in lines if name.strip() == module) / 1e3)
    return statistics.median(runs)


def main() -> int:
    bare_s = median_s([sys.executable, "-c", "pass"])
    outweigh = str(Path(sys.executable).with_name("outweigh"))
    rows = []
    for case, command, limit_ms, over_bare in [
        ("import outweigh", [sys.executable, "-c", "import outweigh"], 60.0, True),
        ("import outweigh.measure", [sys.executable, "-c", "import outweigh.measure"], 25.0, True),
        (
            "from outweigh.measure import MeterSession",
            [sys.executable, "-c", "from outweigh.measure import MeterSession; MeterSession"],
            25.0,
            True,
        ),
        ("outweigh --help", [outweigh, "--help"], 250.0, False),
    ]:
        seconds = median_s(command)
        value_ms = (seconds - (bare_s if over_bare else 0.0)) * 1e3
        unit = "ms over bare Python" if over_bare else "ms"
        goal = f"<= {limit_ms:g}"
        rows.append(Row(case, value_ms, unit, reference=bare_s * 1e3, goal=goal, holds=value_ms <= limit_ms))
        rows.append(Row(f"{case}, ratio to python -c pass", seconds / bare_s, "x", reference=1.0))
    window = (
        "from outweigh.measure import MeterSession; from outweigh.backends.meters.cpu_model import CpuModelMeter\n"
        "with MeterSession(CpuModelMeter()) as session, session.window(): pass"
    )
    window_ms = (median_s([sys.executable, "-c", window]) - bare_s) * 1e3
    rows.append(
        Row("a session on cpu-model, one window", window_ms, "ms over bare Python", note="first use, all loaded")
    )
    inside_ms = imported_ms("outweigh")
    rows.append(Row("-X importtime outweigh", inside_ms, "ms", goal="<= 60", holds=inside_ms <= 60))
    return finish("startup", rows)


if __name__ == "__main__":
    sys.exit(main())
