"""TensorRT-LLM's `trtllm-bench`: the JSON of `--report_json`, where it holds energy.

The report says how long it took (`performance.total_latency_ms`) and not when: `About.ended` must say it. Its energy is
NVML's total-energy counters, and on several nodes it is the first node's, scaled up to all GPUs: then it is modelled.
Energy came in with pull request 11397 (2026); a report without is refused, since time alone is not a receipt.

Source: NVIDIA/TensorRT-LLM, tensorrt_llm/bench/dataclasses/reporting.py (sections, total_latency_ms, world_size) and
tensorrt_llm/bench/benchmark/utils/energy_monitor.py (NVML total energy in joules, times world size over GPUs read; its
result is called `total_energy`), read in November 2026. **Not confirmed**: the key under which the report writes it.
The pull request names the figure "Total Energy (J)"; the key is looked for as `total_energy_j` and `total_energy`, in
any section, and a report that calls it otherwise is refused.
"""

from __future__ import annotations

from typing import Any

from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.imports._foreign import (
    NVML,
    About,
    Foreign,
    document,
    energy,
    mapping,
    number,
    receipt,
    refuse,
    span,
)

_KEYS = ("total_energy_j", "total_energy")
_GPUS_A_NODE = 8


def read(text: str, about: About) -> Foreign:
    """The receipt of one benchmark. Raises UsageError for a report without energy or time."""
    report = mapping(about, document(about, text), "the report")
    performance = mapping(about, report.get("performance"), "performance")
    joules = next((found for key in _KEYS if (found := _anywhere(report, key)) is not None), None)
    if joules is None:
        refuse(about, 0, "it holds no total_energy_j", "Measure it: outweigh measure -- trtllm-bench ...")
    if about.ended is None:
        refuse(about, 0, "it does not say when it ran", "Give when it ended: the file's own time will do")
    seconds = number(about, 0, "total_latency_ms", performance.get("total_latency_ms"), least=0.0) / 1e3
    if seconds == 0:
        return Foreign((), ("it lasted no time",))
    world = _anywhere(report, "world_size")
    gpus = int(number(about, 0, "world_size", world, least=1.0)) if world is not None else 1
    several = gpus > _GPUS_A_NODE
    notes = [f"{gpus} GPU(s), whole boards"]
    if several:
        notes.append("more GPUs than a node has: one node's counters, scaled up to all")
    total = energy(
        number(about, 0, "total_energy_j", joules, least=0.0),
        span(about, 0, seconds, end=about.ended),
        scope=Scope.GPU,
        grade=Grade.C if several else Grade.B,
        method=Method.MODELLED if several else Method.COUNTER,
        source="trtllm-bench (NVML)",
        doubt=None if several else NVML,
    )
    engine = mapping(about, report.get("engine", {}), "engine")
    requests = mapping(about, report.get("request_info", {}), "request_info").get("num_requests")
    found = receipt(
        about, "trtllm", {"report": report}, total,
        units=number(about, 0, "num_requests", requests, least=0.0) if requests is not None else None,
        unit="request" if requests is not None else "", variant=str(engine.get("model", "")),
        versions=(("tensorrt-llm", str(engine["version"])),) if engine.get("version") else (), notes=notes,
    )  # fmt: skip
    return Foreign((found,))


def _anywhere(report: dict[str, Any], key: str) -> Any:
    """A key of the report or of one of its sections."""
    for part in (report, *(section for section in report.values() if isinstance(section, dict))):
        if part.get(key) is not None:
            return part[key]
    return None
