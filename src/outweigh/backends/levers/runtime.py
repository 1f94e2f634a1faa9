"""Another runtime for the same network."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from outweigh.backends.levers._making import (
    heard,
    is_torch,
    keep,
    levered,
    need,
    session,
    spelled,
    taught_by,
    without_weights,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import load_torch
from outweigh.ports import Availability, TeachesLevers
from outweigh.registry import levers

_NAME = "runtime"
_VERSION = 1
_PACKAGES = {"onnxruntime": "onnx", "openvino": "openvino", "torch": "torch"}  # runtime -> our extra that brings it
_OPSET = 18


@levers.register(_NAME)
class Runtime:
    """Run the variant on another runtime: "runtime:onnxruntime" (the default), "runtime:openvino", "runtime:torch".

    Between the first two nothing is made: both read the same ONNX file, and the variant's option `runtime` is set. A
    torch network is exported to ONNX first, with a batch axis of any length, and its answers on training items are
    compared with torch's. There is no way back: an ONNX file cannot be run by torch.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, runtime: str = "") -> None:
        self._runtime = runtime

    @classmethod
    def probe(cls) -> Availability:
        there = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
        return Availability(
            _NAME,
            usable=bool(there),
            sees=f"runtimes here: {', '.join(there)}",
            reason="" if there else "no runtime is installed",
            remedy="" if there else "Run: pip install 'outweigh[onnx]'",
        )

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """For a model that is ONNX already, or stays with torch.

        Raises:
            LeverError: there is no such runtime, or it cannot run this model.
            MissingExtra: the runtime is not installed.
        """
        runtime = self._checked(variant)
        if is_torch(variant) and runtime != "torch":
            problem = (
                f"a torch model is exported to {runtime} with a training item, and there is no task that gives one"
            )
            raise LeverError(_NAME, variant.name, problem, "Use a task that gives training items")
        if not is_torch(variant) and runtime == "torch":
            problem = "it is no torch model, and torch does not run ONNX"
            raise LeverError(_NAME, variant.name, problem, "Give the torch model it was exported from")
        return levered(variant, spelled(_NAME, self._runtime), options={"runtime": runtime})

    def apply_taught(self, variant: Variant, workdir: Path, task: TeachesLevers) -> Variant:
        """As `apply`; a torch model is exported, and its answers on training items compared.

        Raises:
            LeverError: as above, or the network cannot be exported, or answers otherwise when it is.
            MissingExtra: the runtime or what exports is not installed.
        """
        runtime = self._checked(variant)
        if not is_torch(variant) or runtime == "torch":
            return self.apply(variant, workdir)
        need("onnxscript", _NAME, "Run: pip install 'outweigh[prune]'")
        made = keep(
            _NAME, variant, workdir, f"exported-v{_VERSION}", ".onnx",
            lambda scratch: _export(variant, scratch, task), taught_by(task),
        )  # fmt: skip
        exported = without_weights(variant)
        return levered(exported, spelled(_NAME, self._runtime), model=made, options={"runtime": runtime})

    def _checked(self, variant: Variant) -> str:
        runtime = self._runtime or "onnxruntime"
        if runtime not in _PACKAGES:
            problem = f"there is no runtime {runtime!r}"
            raise LeverError(_NAME, variant.name, problem, f"Give one of {', '.join(_PACKAGES)}")
        need(runtime, _NAME, f"Run: pip install 'outweigh[{_PACKAGES[runtime]}]'")
        return runtime


def _export(variant: Variant, scratch: Path, task: TeachesLevers) -> Path:
    # torch is heavy, and most models are ONNX.
    from outweigh.backends.levers._torch_made import float_network, telling_torch

    torch, ort = need("torch", _NAME), need("onnxruntime", _NAME)
    float_network(variant, _NAME)  # refuses what is of a low precision already
    feeds = list(task.feeds(variant, 2))
    if not feeds:
        raise LeverError(_NAME, variant.name, "the task gives no training items", "Give the task a training split")
    names = list(feeds[0])
    example = tuple(torch.from_numpy(_two([np.asarray(feed[name]) for feed in feeds])) for name in names)
    open_axes = tuple(
        {0: torch.export.Dim.DYNAMIC} | ({} if given.is_floating_point() else {1: torch.export.Dim.AUTO})
        for given in example
    )
    made = scratch / "made.onnx"
    cannot = "it cannot be exported to ONNX"
    with telling_torch(_NAME, variant, cannot, "Export it by hand and name the ONNX file"), heard(), _quiet():
        network = load_torch(variant)
        torch.onnx.export(
            network, example, str(made), input_names=names, opset_version=_OPSET, dynamo=True, external_data=False,
            dynamic_shapes=open_axes, verbose=False,
        )  # fmt: skip
        with torch.no_grad():
            expected = network(*example)
        answers = session(ort, made).run(None, {name: each.numpy() for name, each in zip(names, example, strict=True)})
    _check_same(np.asarray(expected), answers[0], variant)
    return made


def _two(arrays: list[Any]) -> Any:
    """A batch of two: torch.export takes an axis of length one for a constant. Texts of unlike length do not stack."""
    return np.concatenate(arrays if len({each.shape for each in arrays}) == 1 < len(arrays) else [arrays[0]] * 2)


def _check_same(expected: Any, found: Any, variant: Variant) -> None:
    """Both compute in float32, in another order: apart by rounding only."""
    reach = float(np.abs(expected).max()) or 1.0
    if expected.shape != found.shape or not float(np.abs(expected - found).max()) <= 1e-3 * reach:
        problem = "its answers change when it is exported"
        raise LeverError(_NAME, variant.name, problem, "Export it by hand and name the ONNX file")


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns, on standard error, of packages that this network does not need."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
