"""One stack of transformer blocks on an NVIDIA board: bf16, fp8 and int8 in J per token, and what the batch does.

Interleaved rounds of the product's own protocol, read by the `nvml` meter (grade B); weights are made up, arithmetic is
real. fp8 and int8 are torchao's dynamic ways, weights and activations. Quality is how close each output lies to the
bf16 stack's (cosine, 1 is the same). The batch sweep fits the exponent of J per token (-1: halved by doubling).

Without a board it says so and ends with 0: there is nothing simulated in here. `--rounds N`; `--seconds S` for the
least length of a round.

    python benchmarks/gpu_blocks.py [--json]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outweigh.compare.elasticity import elasticity
from outweigh.compare.energy import log_ratio
from outweigh.compare.evidence import Evidence
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Sitting, run_protocol
from outweigh.core.errors import MeterUnavailable
from outweigh.core.intervals import Estimate
from outweigh.core.project import Protocol, Serving
from outweigh.core.variant import Variant
from outweigh.measure import MeterSession
from outweigh.ports import ItemResults, Meter
from outweigh.report.figures import energy_interval
from shape import Row, finish

WAYS = ("bf16", "fp8", "int8")
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the stack and of its input."""

    blocks: int = 4
    width: int = 4096
    heads: int = 32
    tokens: int = 512  # of a sequence
    batch: int = 8
    sequences: int = 64  # evaluation items


class Missing(Exception):
    """A way that cannot be run here, and why."""


def stack(sizes: Sizes, way: str, device: str) -> Any:
    """The blocks, made from one seed, in one precision. Raises Missing."""
    import torch

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(
        sizes.width, sizes.heads, 4 * sizes.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    blocks = torch.nn.TransformerEncoder(layer, sizes.blocks, enable_nested_tensor=False)
    blocks = blocks.to(device=device, dtype=torch.bfloat16).eval()
    if way == "bf16":
        return blocks
    try:
        from torchao import quantization
    except ImportError as err:
        raise Missing(f"torchao is not installed ({err.name})") from err
    config = {
        "fp8": quantization.Float8DynamicActivationFloat8WeightConfig,
        "int8": quantization.Int8DynamicActivationInt8WeightConfig,
    }[way]()
    try:
        # The feed-forward products, two thirds of the arithmetic: attention's projections are fused in torch's layer.
        quantization.quantize_(
            blocks, config, filter_fn=lambda module, name: isinstance(module, torch.nn.Linear) and "linear" in name
        )
    except (AssertionError, NotImplementedError, RuntimeError) as err:
        raise Missing(f"torchao refuses {way} on this board: {err}") from err
    return blocks


class Blocks:
    """A runner over sequences; one item is one sequence."""

    def __init__(self, name: str, blocks: Any, inputs: Any, reference: Any, batch: int) -> None:
        self.variant = Variant(name, "blocks", content_hash=f"{name}: seed 0")
        self._blocks, self._inputs, self._reference, self._batch = blocks, inputs, reference, batch

    def fit(self) -> None:
        """Nothing is trained."""

    def run(self, items: Sequence[int]) -> ItemResults:
        import torch

        scores: list[float] = []
        times_ms: list[float] = []
        for first in range(0, len(items), self._batch):
            chosen = list(items[first : first + self._batch])
            begun_s = time.monotonic()
            with torch.inference_mode():
                out = self._blocks(self._inputs[chosen]).float().flatten(1)
                near = torch.nn.functional.cosine_similarity(out, self._reference[chosen].float().flatten(1))
            scores += near.tolist()  # waits for the board
            times_ms += [1e3 * (time.monotonic() - begun_s) / len(chosen)] * len(chosen)
        tokens = float(self._inputs.shape[1])
        return ItemResults(
            tuple(items), {"cosine": tuple(scores)}, tuple(times_ms), {"tokens_in": (tokens,) * len(items)}
        )

    def close(self) -> None:
        """Nothing is held open."""


def compared(
    meter: Meter, device: str, sizes: Sizes, rounds: int, window_s: float, ways: Sequence[str] = WAYS,
    batches: Sequence[int] = BATCHES,
) -> list[Row]:  # fmt: skip
    """Both sittings: the ways against bf16, and the batch sweep of bf16."""
    import torch

    torch.manual_seed(1)
    inputs = torch.randn(sizes.sequences, sizes.tokens, sizes.width, dtype=torch.bfloat16, device=device)
    plain = stack(sizes, "bf16", device)
    with torch.inference_mode():
        reference = torch.cat([plain(inputs[i : i + sizes.batch]) for i in range(0, sizes.sequences, sizes.batch)])
    rows: list[Row] = []
    runners = [Blocks("bf16", plain, inputs, reference, sizes.batch)]
    for way in ways:
        if way == "bf16":
            continue
        try:
            runners.append(Blocks(way, stack(sizes, way, device), inputs, reference, sizes.batch))
        except Missing as err:
            rows.append(Row(f"{way} over bf16", None, "x energy", note=str(err)))
    with MeterSession(meter) as session:
        evidence = _sat(session, runners, sizes, rounds, window_s)
        sweep = _sat(
            session, [Blocks(f"batch {b}", plain, inputs, reference, b) for b in batches], sizes, rounds, window_s
        )
    rows += [_per_token(one, sizes) for one in evidence.values()]
    rows += [_over(evidence[name], evidence["bf16"]) for name in evidence if name != "bf16"]
    rows += [_per_token(one, sizes) for one in sweep.values()]
    found = elasticity(batches, [one.energy_j_per_unit for one in sweep.values()])
    rows.append(
        Row(
            "exponent of J per token over batch", found.exponent.value, "", goal="-1 to 0",
            holds=-1.05 <= found.exponent.value <= 0.05,
            note=f"{_ends(found.exponent)}; steps {', '.join(f'{one.value:+.2f}' for one in found.steps)}; at most "
            f"{found.off:.0%} off the line",
        )
    )  # fmt: skip
    return rows


def _sat(
    session: MeterSession, runners: Sequence[Blocks], sizes: Sizes, rounds: int, window_s: float
) -> dict[str, Evidence]:
    done = run_protocol(
        session,
        runners,
        n_items=sizes.sequences,
        protocol=Protocol(rounds=rounds, window_s=window_s),
        sitting=Sitting("gpu-blocks", "sequence", "benchmark"),
        facility=Facility(1.0, Serving(), 1e9, 12, threads_total=1),
        on_receipt=lambda receipt: receipt.run_id,
    )
    return dict(done.evidence)


def _per_token(one: Evidence, sizes: Sizes) -> Row:
    gross = (one.work_j + one.hum_j) / (one.units * sizes.tokens)
    found = energy_interval(gross, 0.95, None)
    quality = one.metric("cosine")
    note = f"95 % of rounds {found['low']:.3g} to {found['high']:.3g}; cosine {quality:.5f}; grade {one.grade.value}"
    return Row(f"{one.variant.name}, J per token, hum included", found["value"], "J", note=note)


def _over(one: Evidence, plain: Evidence) -> Row:
    ratio = log_ratio(one.energy_j_per_unit, plain.energy_j_per_unit).ratio()
    return Row(f"{one.variant.name} over bf16", ratio.value, "x energy", note=_ends(ratio))


def _ends(one: Estimate) -> str:
    return f"95 % {one.bounds.low:.3f} to {one.bounds.high:.3f}"


def board() -> Meter:
    """The first visible board's meter. Raises Missing."""
    try:
        import torch
    except ImportError as err:
        raise Missing("torch is not installed") from err
    if not torch.cuda.is_available():
        raise Missing("there is no NVIDIA board here that torch can use")
    from outweigh.backends.meters.nvml import NvmlMeter

    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return NvmlMeter(visible=uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


def option(name: str, default: float) -> float:
    return float(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def main() -> int:
    try:
        meter = board()
        rows = compared(meter, "cuda", Sizes(), int(option("--rounds", 12)), option("--seconds", 2.0))
    except (Missing, MeterUnavailable) as err:
        rows = [Row("bf16, fp8 and int8 on a board", None, "J per token", note=f"not run: {err}")]
    return finish("gpu_blocks", rows)


if __name__ == "__main__":
    sys.exit(main())
