"""A transformer with its last blocks left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.levers._blocks import drop_last_blocks
from outweigh.backends.levers._making import (
    is_torch,
    keep,
    levered,
    needs_onnx,
    onnx_file,
    read_onnx,
    reweighted,
    spelled,
    whole,
    write_onnx,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import Reshaping
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "layers:drop"
_VERSION = 1
_REMEDY = "Give a model whose blocks are numbered in its names (encoder.layer.0, encoder.layer.1 ...)"


@levers.register(_NAME)
class LayersDrop:
    """Leave out the last N blocks of a transformer ("layers:drop:2"; one without a number).

    The last ones, because they are the most bound to what the model was trained for, and so cost least on another task
    (Sajjad, Dalvi, Durrani, Nakov, "On the effect of dropping layers of pre-trained transformer models", Computer
    Speech & Language 77, 2023, arXiv:2004.03844). Energy falls by about the share of blocks that go; quality falls by
    what the task says, and nothing is trained again here: a torch model can be, with the lever `distil` behind this
    one, and a task that fits a head fits it to the shorter model.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, count: str = "") -> None:
        self._count = count

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models whose names tell the blocks apart; torch models with a list of blocks")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Write the shorter model into `workdir`.

        Raises:
            LeverError: no blocks can be told apart, fewer than N + 1 are there, the model cannot be read, or `workdir`
                not be written.
            MissingExtra: onnx, onnxruntime or (for a torch model) torch is not installed.
        """
        count = whole(self._count, _NAME, variant, 1, otherwise=1)
        label = f"less-{count}-v{_VERSION}"
        if is_torch(variant):
            return _torch(variant, spelled(_NAME, self._count), count, label, workdir)
        source = onnx_file(variant, _NAME)

        def make(scratch: Path) -> Path:
            model = read_onnx(source, _NAME, variant)
            _, why_not = drop_last_blocks(model, count)
            if why_not:
                raise LeverError(_NAME, variant.name, why_not, _REMEDY)
            return write_onnx(model, scratch / "made.onnx", _NAME, variant)

        made = keep(_NAME, variant, workdir, label, ".onnx", make)
        return levered(variant, spelled(_NAME, self._count), model=made)


def _torch(variant: Variant, spelling: str, count: int, label: str, workdir: Path) -> Variant:
    # torch is heavy, and most models are ONNX.
    from outweigh.backends.levers._torch_made import remade

    def shorten(network: Any, how: Reshaping) -> tuple[Any, Reshaping]:
        name, blocks = _row(network)
        if count >= len(blocks):
            problem = f"it has {len(blocks)} blocks that can be told apart, and one must stay"
            raise LeverError(_NAME, variant.name, problem, "Give a network with a ModuleList of equal blocks")
        gone = tuple(f"{name}.{place}".lstrip(".") for place in range(len(blocks) - 1, len(blocks) - 1 - count, -1))
        del blocks[len(blocks) - count :]
        return network, replace(how, dropped=(*how.dropped, *gone))

    return reweighted(variant, spelling, remade(variant, _NAME, workdir, label, shorten))


def _row(network: Any) -> tuple[str, Any]:
    """The longest list of blocks of one class that hold weights: its name and the list itself."""
    rows = [
        (name, module)
        for name, module in network.named_modules()
        if type(module).__name__ in ("ModuleList", "Sequential")
        and len({type(block) for block in module}) == 1
        and all(any(True for _ in block.parameters()) for block in module)
    ]
    return max(rows, key=lambda row: len(row[1]), default=("", ()))
