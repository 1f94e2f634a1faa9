"""`estimate` against published runs, each printed beside its reference, and how its inputs were checked.

    python benchmarks/estimate.py [--json]

The runs are in the team's data folder (OUTWEIGH_SHARED_DATA, or ../shared/data beside the repository) and do not ship;
without it every row says so and nothing is judged. A row holds when energy and carbon are within the tolerance of the
row. `CHECKED` says what was read where; a row's own word for it (read, recalled, partly) is printed too.

Rows without a goal show what the estimate says when it is only told parameters, tokens and the device. Those of
trainings lent the usual utilisation its range, so they are no test of it; that of serving was fitted to nothing.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

from outweigh.core.measurement import Grade, Missing
from outweigh.data.hardware import device
from outweigh.whatif.estimating import (
    DeviceHours,
    Estimate,
    Place,
    Ranged,
    Serving,
    Training,
    Work,
    estimate,
    power_of,
    utilisation_of,
)
from outweigh.whatif.estimating.ranges import Propagated
from outweigh.whatif.estimating.work import Rates
from shape import Row, finish

ROOT = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
NOWHERE = Place(*(Missing(name, "not asked for") for name in ("PUE", "carbon intensity", "price", "WUE")))

PATTERSON = "table 4 of arXiv 2104.10350, read: chips x days, watts, PUE, net gCO2e/kWh, MWh and net tonnes"
LLAMA_2 = "model card, read: hours, watts, tonnes; the intensity follows from them"
LLAMA_3 = "model card, read: hours, 700 W, location-based tonnes; the intensity follows from them"
CHECKED = {
    "GPT-3": f"{PATTERSON}. 10,000 x 14.8 d x 24 h = 3,552,000 h; the row's 3,546,000 h is 3.14e23 / 24.6e12 / 3600",
    "T5-11B": PATTERSON,
    "Meena": PATTERSON,
    "GShard-600B": f"{PATTERSON} (gross would be 201 g/kWh and 4.8 t)",
    "Switch": f"{PATTERSON} (gross would be 403 g/kWh and 72.2 t)",
    "BLOOM-176B": "arXiv 2211.02001, read at a page that quotes it: 1,082,990 h x 0.4 kW = 433,196 kWh, 24.7 t; idle "
    "256,646 kWh and 14.6 t apart",
    "Llama-2-7B": LLAMA_2,
    "Llama-2-13B": LLAMA_2,
    "Llama-2-34B": "not on the model card; its hours and tonnes follow from the card's totals (3,311,616 h, 539.00 t) "
    "within 0.02 t, its 350 W from the card's 350 to 400 W and these tonnes",
    "Llama-2-70B": LLAMA_2,
    "Llama-3.1-8B": LLAMA_3,
    "Llama-3.1-70B": LLAMA_3,
    "Llama-3.1-405B": LLAMA_3,
    "DeepSeek-V3": "abstract of arXiv 2412.19437, read: 2.788M H800 hours; watts and MWh are not printed there, so its "
    "MWh is hours x 700 W and reproduces only itself",
}

#: Name, parameters, tokens, device, device hours as printed on the model cards of Llama 2 and 3.1.
TRAININGS = (
    ("Llama 2 7B", 7e9, 2.0e12, "nvidia-a100-sxm-80gb", 184_320),
    ("Llama 2 13B", 13e9, 2.0e12, "nvidia-a100-sxm-80gb", 368_640),
    ("Llama 2 70B", 70e9, 2.0e12, "nvidia-a100-sxm-80gb", 1_720_320),
    ("Llama 3.1 8B", 8e9, 15e12, "nvidia-h100-sxm", 1_460_000),
    ("Llama 3.1 70B", 70e9, 15e12, "nvidia-h100-sxm", 7_000_000),
    ("Llama 3.1 405B", 405e9, 15e12, "nvidia-h100-sxm", 30_840_000),
)
ML_ENERGY = "ML.ENERGY, LLM inference energy, a longitudinal analysis, 2025: vLLM 0.11.1 and 0.5.4, board energy alone"


def exactly(name: str, value: float, unit: str) -> Ranged:
    return Ranged.exactly(name, value, unit, "published", Grade.D)


def published() -> list[Row]:
    path = ROOT / "estimate" / "published_runs.csv"
    if not path.is_file():
        return [Row("published runs", None, "MWh", note="the data folder is not here (OUTWEIGH_SHARED_DATA)")]
    rows = []
    for run in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        g = float(run["gco2_per_kwh"] or 0)
        place = Place(
            exactly("PUE", float(run["pue"]), "1"),
            exactly("carbon intensity", g, "gCO2e/kWh") if g else Missing("carbon intensity", "none printed"),
            NOWHERE.price,
            NOWHERE.wue,
        )
        work = DeviceHours(float(run["device_hours"]))
        found = estimate(work, run["device"], Rates(), exactly("power", float(run["watts"]), "W"), (), place)
        note = f"inputs_checked {run['inputs_checked']}; {CHECKED.get(run['model'], 'not checked by us')}"
        tolerance = float(run["tolerance_pct"])
        mwh, tonnes = found.facility_energy.known.value / 3.6e9, None
        rows.append(judged(f"{run['model']}, energy", mwh, "MWh", float(run["published_mwh"]), tolerance, note))
        if run["published_tco2e"]:
            tonnes = found.location_carbon.to_tonnes()
            reference = float(run["published_tco2e"])
            rows.append(judged(f"{run['model']}, carbon", tonnes, "tCO2e", reference, tolerance, ""))
    return rows


def judged(case: str, value: float, unit: str, reference: float, tolerance: float, note: str) -> Row:
    off = 100 * abs(value / reference - 1)
    told = f"off by {off:.2f} %" + (f"; {note}" if note else "")
    return Row(case, value, unit, reference, f"±{tolerance:g} %", off <= tolerance, told)


def told_little() -> list[Row]:
    rows = []
    for name, parameters, tokens, key, hours in TRAININGS:
        found = of(Training(parameters, tokens), key).device_s.known
        ends = span(found, 1 / 3600)
        inside = found.bounds.contains(hours * 3600)
        note = f"{ends}, {'holds' if inside else 'does NOT hold'} what was printed; told parameters, tokens and device"
        rows.append(Row(f"{name}, device hours from parameters", found.value / 3600, "h", float(hours), note=note))
    found = of(Serving(8e9, 1, 300, 700, 64, kv_bytes_per_token=131072), "nvidia-h100-sxm").it_energy.known
    note = f"{span(found, 1 / 700)}; 300 tokens read and 700 written are our assumption; {ML_ENERGY}"
    case = "Llama 3.1 8B on an H100, batch 64, energy of a token written"
    rows.append(Row(case, found.value / 700, "J", "0.12 to 0.20", note=note))
    return rows


def of(work: Work, key: str) -> Estimate:
    found = device(key)
    rates = Rates(found.flop_per_s, found.bytes_per_s)
    return estimate(work, key, rates, power_of(found), utilisation_of(work), NOWHERE)


def span(found: Propagated, factor: float) -> str:
    return f"{found.bounds.low * factor:.3g} to {found.bounds.high * factor:.3g}"


if __name__ == "__main__":
    sys.exit(finish("estimate", [*published(), *told_little()]))
