"""The business case against the clock, and its present values and rates of return against numpy-financial.

    python benchmarks/finance.py [--json] [--peer PYTHON]

numpy-financial lives in an environment of its own: the one of `--peer PYTHON`, or one made in a temporary folder for
this run. The closed form of the annuity needs none.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from outweigh.config.finance import load_case
from outweigh.whatif.finance import annuity, draw, irr, npv, tornado
from shape import Row, finish

EXAMPLE = Path(__file__).parents[1] / "examples" / "finance" / "case.toml"
SCENARIOS = 1000
GOAL_S = 10.0
GOAL = 1e-9
ROWS = 200
PEER = """
import json, sys
import numpy_financial as nf
asked = json.load(sys.stdin)
print(json.dumps({"npv": [float(nf.npv(r, f)) for f, r in asked], "irr": [float(nf.irr(f)) for f, _ in asked]}))
"""


def clock() -> list[Row]:
    case = load_case(EXAMPLE)
    option = case.options[0].name
    took = []
    for _ in range(5):
        began = time.perf_counter()
        bars = tornado(case, option)
        drawn = draw(case, SCENARIOS, 0)
        took.append(time.perf_counter() - began)
    seconds = statistics.median(took)
    note = f"{len(bars)} bars and {len(drawn.nothing):,} draws of {len(case.options)} options over {case.years} years"
    return [Row("a tornado and 1,000 scenarios, median of 5", seconds, "s", GOAL_S, "<10", seconds < GOAL_S, note)]


def closed_form() -> list[Row]:
    gaps = [
        abs(float(npv([0.0, *[1.0] * years], rate)) * annuity(rate, years) - 1)
        for rate in (0.01, 0.05, 0.08, 0.2)
        for years in (1, 5, 20, 40)
    ]
    case = "present value of a level payment against the annuity's closed form, largest relative difference"
    return [Row(case, max(gaps), "", GOAL, f"<{GOAL:g}", max(gaps) < GOAL, "16 rates and terms")]


def flows() -> list[tuple[list[float], float]]:
    chance = np.random.default_rng(2026)
    return [
        ([-float(chance.uniform(50, 150)), *chance.uniform(5, 60, int(chance.integers(3, 12))).tolist()],
         float(chance.uniform(0, 0.3)))
        for _ in range(ROWS)
    ]  # fmt: skip


def peer_python(folder: Path) -> Path:
    if "--peer" in sys.argv:
        return Path(sys.argv[sys.argv.index("--peer") + 1])
    venv.create(folder / "peer", with_pip=True)
    python = folder / "peer" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "numpy-financial"]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    return python


def against_numpy_financial() -> list[Row]:
    asked = flows()
    case = f"{ROWS} random cash flows against numpy-financial, largest difference"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [peer_python(Path(folder)), "-c", PEER],
                input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=600,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as err:
            said = (getattr(err, "stderr", "") or str(err)).strip().splitlines()
            return [Row(case, None, "", note=f"the peer could not run: {said[-1] if said else err}")]
    theirs = json.loads(done.stdout)
    values = max(abs(float(npv(paid, rate)) - other) for (paid, rate), other in zip(asked, theirs["npv"], strict=True))
    found = [irr(paid) for paid, _ in asked]
    missing = sum(one is None for one in found)
    returns = max(
        abs(one - other) for one, other in zip(found, theirs["irr"], strict=True) if one is not None
    )  # fmt: skip
    return [
        Row(f"{case}: present value", values, "", GOAL, f"<{GOAL:g}", values < GOAL),
        Row(f"{case}: rate of return", returns, "", GOAL, f"<{GOAL:g}", returns < GOAL and not missing),
    ]


if __name__ == "__main__":
    sys.exit(finish("finance", [*clock(), *closed_form(), *against_numpy_financial()]))
