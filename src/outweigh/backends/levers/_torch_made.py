"""torch variants made from torch variants: loaded once, changed, kept as a state and a structure."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from outweigh.backends.levers._making import PRUNE_REMEDY, brief, keep, need
from outweigh.core.errors import LeverError, ModelError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import WEIGHTS, Reshaping, keep_torch, load_torch_parts

TORCH_REMEDY = "Run: pip install 'outweigh[torch]'"

#: What a network's own code and torch raise when something does not fit.
TORCH_FAILS = (ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError,
               TypeError, ValueError)  # fmt: skip


def remade(
    variant: Variant,
    lever: str,
    workdir: Path,
    label: str,
    change: Callable[[Any, Reshaping], tuple[Any, Reshaping]],
    *by: str,
) -> Path:
    """The weights file of a changed network, with its teacher's name beside it; see `_making.keep`.

    Args:
        change: takes the network with float weights, and how it was reshaped; gives both anew, or raises LeverError.
    """

    def make(scratch: Path) -> Path:
        network, reshaping = float_network(variant, lever)
        changed, anew = change(network, reshaping)
        made = scratch / "made.pt"
        keep_torch(changed, variant, made, anew)
        return made

    weights = keep(lever, variant, workdir, label, ".pt", make, *by)
    try:
        _remember_teacher(weights, variant)
    except OSError as err:
        problem = f"{workdir} cannot be written ({err.strerror or err})"
        raise LeverError(lever, variant.name, problem, "Free some space, or choose another folder") from err
    return weights


def float_network(variant: Variant, lever: str) -> tuple[Any, Reshaping]:
    """Raises LeverError when it cannot be loaded, or has a low precision already."""
    need("torch", lever, TORCH_REMEDY)
    try:
        network, reshaping = load_torch_parts(variant)
    except ModelError as err:
        raise LeverError(lever, variant.name, err.problem, err.remedy) from err
    if reshaping.precision:
        problem = f"its weights are made for {reshaping.precision} already"
        raise LeverError(lever, variant.name, problem, "Apply levers of precision last, and one of them")
    return network, reshaping


def in_precision(variant: Variant, lever: str, workdir: Path, precision: str) -> Path:
    """Weights that are turned into `precision` whenever they are loaded."""
    return remade(
        variant, lever, workdir, f"{precision}-v1", lambda network, how: (network, replace(how, precision=precision))
    )


def has_torchao(lever: str) -> bool:
    """Whether torchao's kernels can be used: it is installed and there is a GPU."""
    import importlib.util

    return importlib.util.find_spec("torchao") is not None and bool(
        need("torch", lever, TORCH_REMEDY).cuda.is_available()
    )


def prune_torch(lever: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need("torch_pruning", lever, PRUNE_REMEDY)


def training_items(given: tuple[Any, Any], lever: str, variant: Variant) -> tuple[Any, Any]:
    """A task's examples as tensors: float32 inputs, shape (N, ...), and targets (N,), whole numbers or float32.

    Raises LeverError when there are none.
    """
    torch = need("torch", lever, TORCH_REMEDY)
    inputs, targets = (np.asarray(each) for each in given)
    if len(inputs) == 0 or len(inputs) != len(targets):
        problem = f"the task gives {len(inputs)} training items and {len(targets)} targets"
        raise LeverError(lever, variant.name, problem, "Give the task a training split")
    kind = np.int64 if np.issubdtype(targets.dtype, np.integer) else np.float32
    as_input = inputs if np.issubdtype(inputs.dtype, np.integer) else inputs.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(as_input)), torch.from_numpy(targets.astype(kind))


@contextmanager
def telling_torch(lever: str, variant: Variant, what: str, remedy: str) -> Iterator[None]:
    """Turn what torch and the network raise into a LeverError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TORCH_FAILS as err:
        raise LeverError(lever, variant.name, f"{what} ({brief(err)})", remedy) from err


# --- who teaches ------------------------------------------------------------------------------------


def _remember_teacher(weights: Path, variant: Variant) -> None:
    """Write beside a changed network's weights which one it was made from. Raises OSError."""
    teacher = teacher_of(variant) or variant
    named = {"model": teacher.model, WEIGHTS: str(teacher.option(WEIGHTS, ""))}
    _beside(weights).write_text(json.dumps(named), encoding="utf-8")


def teacher_of(variant: Variant) -> Variant | None:
    """The network that a variant was first changed from; None where it was not, or nobody wrote it down."""
    weights = str(variant.option(WEIGHTS, ""))
    if not weights:
        return None
    try:
        named = json.loads(_beside(Path(weights)).read_text(encoding="utf-8"))
        options = Variant.freeze_options({WEIGHTS: str(named[WEIGHTS])} if named[WEIGHTS] else {})
        return replace(variant, name=f"teacher of {variant.name}", model=str(named["model"]), options=options)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _beside(weights: Path) -> Path:
    return weights.with_suffix(".teacher.json")
