"""Single weights set to zero, which no dense kernel is quicker for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from outweigh.backends.levers._making import (
    is_torch,
    keep,
    levered,
    need,
    needs_onnx,
    read_onnx,
    reweighted,
    share,
    spelled,
    write_onnx,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import Reshaping
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "prune:unstructured"
_VERSION = 1
_SHARE = 0.8


@levers.register(_NAME)
class PruneUnstructured:
    """Set the smallest share of the weights of each layer to zero ("prune:unstructured:0.8", the default).

    It is here to be measured: papers count the zeros, and a matrix product multiplies by a zero as by any number. No
    runtime that outweigh drives leaves them out, so expect a ratio of energy about 1 and a loss of quality. (A file of
    zeros packs better; GPUs with 2:4 sparse kernels want a pattern that this is not.) Nothing is trained again; a torch
    model can be, with the lever `distil` behind this one.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, zeros: str = "") -> None:
        self._zeros = zeros

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX and torch models with weights of two and more axes")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Write the sparse model into `workdir`.

        Raises:
            LeverError: it cannot be read, has no such weights, or `workdir` cannot be written.
            MissingExtra: onnx, onnxruntime or (for a torch model) torch is not installed.
        """
        zeros = share(self._zeros, _NAME, variant, _SHARE)
        label = f"zeros-{zeros:g}-v{_VERSION}"
        if is_torch(variant):
            made = _torch(variant, workdir, label, zeros)
            return reweighted(variant, spelled(_NAME, self._zeros), made)
        made = keep(_NAME, variant, workdir, label, ".onnx", lambda scratch: _onnx(variant, scratch, zeros))
        return levered(variant, spelled(_NAME, self._zeros), model=made)


def sparse(values: Any, zeros: float) -> Any:
    """The values with their smallest share set to zero.

    >>> sparse(np.array([[3.0, -1.0], [0.5, -4.0]]), 0.5).tolist()
    [[3.0, 0.0], [0.0, -4.0]]
    """
    count = int(zeros * values.size)
    kept = values.copy()
    if count:
        kept.reshape(-1)[np.argpartition(np.abs(values).reshape(-1), count - 1)[:count]] = 0.0
    return kept


def _onnx(variant: Variant, scratch: Path, zeros: float) -> Path:
    model = read_onnx(Path(variant.model), _NAME, variant)
    onnx = need("onnx", _NAME)
    found = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) >= 2]
    if not found:
        problem = "it has no constant float weights of two and more axes"
        raise LeverError(_NAME, variant.name, problem, "Apply it to the float model")
    for tensor in found:
        values = sparse(onnx.numpy_helper.to_array(tensor), zeros)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return write_onnx(model, scratch / "made.onnx", _NAME, variant)


def _torch(variant: Variant, workdir: Path, label: str, zeros: float) -> Path:
    # torch is heavy, and most models are ONNX.
    from outweigh.backends.levers._torch_made import remade

    torch = need("torch", _NAME, "Run: pip install 'outweigh[torch]'")

    def thin(network: Any, how: Reshaping) -> tuple[Any, Reshaping]:
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim >= 2:
                    parameter.copy_(torch.from_numpy(sparse(parameter.numpy(), zeros)))
        return network, how

    return remade(variant, _NAME, workdir, label, thin)
