"""vLLM's serving benchmark: the JSON of `vllm bench serve --save-result`, where it holds GPU energy.

`gpu_energy_j` over `gpu_energy_duration_s` is the sum of NVML's total-energy counters of the chosen GPUs; whole boards,
also where others used them. `date` is the client's local time, `%Y%m%d-%H%M%S`, written when the run was over. A result
without energy (older versions, `--save-result` alone) is refused: time alone is not a receipt.

Source: vllm-project/vllm, vllm/benchmarks/lib/energy.py (fields, units) and vllm/benchmarks/serve.py (date, duration).
"""

from __future__ import annotations

from datetime import datetime

from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.imports._foreign import (
    NVML,
    About,
    Foreign,
    document,
    energy,
    mapping,
    moment,
    number,
    receipt,
    refuse,
    span,
)


def read(text: str, about: About) -> Foreign:
    """The receipt of one benchmark. Raises UsageError for a result without energy or time."""
    result = mapping(about, document(about, text), "the result")
    if result.get("gpu_energy_j") is None:
        refuse(about, 0, "it holds no gpu_energy_j", "Measure it: outweigh measure -- vllm bench serve ...")
    joules = number(about, 0, "gpu_energy_j", result["gpu_energy_j"], least=0.0)
    said = "gpu_energy_duration_s" if "gpu_energy_duration_s" in result else "duration"
    seconds = number(about, 0, said, result.get(said), least=0.0)
    if seconds == 0:
        return Foreign((), ("it lasted no time",))
    notes = [f"{len(gpus)} GPU(s), whole boards" if isinstance(gpus := result.get("energy_gpu_ids"), list) else "GPUs"]
    if about.ended is not None:
        end = about.ended
    else:
        end = _date(about, result.get("date"))
        notes.append(f"its date names no time zone; read as {about.zone}")
    total = energy(
        joules, span(about, 0, seconds, end=end),
        scope=Scope.GPU, grade=Grade.B, method=Method.COUNTER, source="vllm bench (NVML)", doubt=NVML,
    )  # fmt: skip
    requests = result.get("completed")
    found = receipt(
        about, "vllm", {"result": result}, total,
        units=number(about, 0, "completed", requests, least=0.0) if requests is not None else None,
        unit="request" if requests is not None else "", variant=str(result.get("model_id", "")), notes=notes,
    )  # fmt: skip
    return Foreign((found,))


def _date(about: About, given: object) -> datetime:
    try:
        return moment(about, 0, "date", datetime.strptime(str(given), "%Y%m%d-%H%M%S").isoformat())  # noqa: DTZ007
    except ValueError:
        refuse(about, 0, f"date is {given!r}, which is no time", "Give when it ended")
