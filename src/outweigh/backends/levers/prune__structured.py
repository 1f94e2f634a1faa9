"""Narrower layers: whole channels taken out, and what is left taught by the network it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from outweigh.backends.levers._making import (
    PRUNE_REMEDY,
    is_torch,
    needs,
    reweighted,
    share,
    spelled,
    taught_by,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import Reshaping
from outweigh.ports import Availability, TeachesLevers
from outweigh.registry import levers

_NAME = "prune:structured"
_VERSION = 1
_RATIO = 0.5
_ROUND_TO = 16
_EPOCHS = 5


@levers.register(_NAME)
class PruneStructured:
    """Take a share of the channels out of every layer of a torch network ("prune:structured:0.5", the default).

    Channels that belong together (through additions and normalisation) go together, those of least magnitude first,
    by torch-pruning (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900). Widths are
    rounded to multiples of 16, what vector units compute in one go: odd widths save little. The layer that gives the
    answer keeps its width. Then the network is fine-tuned for 5 epochs of the task's training items with the unpruned
    one as its teacher (see `_distilling`); without that, what is left knows little. A further lever `distil` teaches
    longer.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, ratio: str = "") -> None:
        self._ratio = ratio

    @classmethod
    def probe(cls) -> Availability:
        sees = "torch models, with a task that gives training items"
        return needs(_NAME, ("torch", "torch_pruning"), sees, PRUNE_REMEDY)

    def apply_taught(self, variant: Variant, workdir: Path, task: TeachesLevers) -> Variant:
        """Prune and teach; the weights go into `workdir`.

        Raises:
            LeverError: it is no torch model, nothing can be taken out in steps of 16, the network fails on the training
                items, or `workdir` cannot be written.
            MissingExtra: torch or torch-pruning is not installed.
        """
        if not is_torch(variant):
            remedy = "Give the torch model it was exported from, as FILE.py:FACTORY"
            raise LeverError(_NAME, variant.name, "it is no torch model", remedy)
        ratio = share(self._ratio, _NAME, variant, _RATIO)
        # torch is heavy, and most models are ONNX.
        from outweigh.backends.levers._distilling import distil
        from outweigh.backends.levers._torch_made import float_network, remade

        def narrow(network: Any, how: Reshaping) -> tuple[Any, Reshaping]:
            teacher, _ = float_network(variant, _NAME)
            _narrow(network, ratio, variant, task)
            distil(network, teacher, task, _EPOCHS, _NAME, variant)
            return network, how

        label = f"narrower-{ratio:g}-v{_VERSION}"
        made = remade(variant, _NAME, workdir, label, narrow, f"{ratio:g}", taught_by(task))
        return reweighted(variant, spelled(_NAME, self._ratio), made)


def _narrow(network: Any, ratio: float, variant: Variant, task: TeachesLevers) -> None:
    from outweigh.backends.levers._torch_made import prune_torch, telling_torch, training_items

    pruning = prune_torch(_NAME)
    inputs, targets = task.examples()
    example, _ = training_items((np.asarray(inputs)[:2], np.asarray(targets)[:2]), _NAME, variant)
    before = sum(parameter.numel() for parameter in network.parameters())
    with telling_torch(_NAME, variant, "its channels cannot be told apart", "Leave this lever out for this model"):
        pruner = pruning.pruner.MagnitudePruner(
            network,
            example,
            importance=pruning.importance.MagnitudeImportance(p=2),
            pruning_ratio=ratio,
            round_to=_ROUND_TO,
            ignored_layers=_answering(network, example),
        )
        pruner.step()
        network(example)
    if sum(parameter.numel() for parameter in network.parameters()) >= before:
        problem = f"no layer is wide enough to lose {ratio:g} of its channels in steps of {_ROUND_TO}"
        raise LeverError(_NAME, variant.name, problem, "Give a wider network, or a larger ratio")


def _answering(network: Any, example: Any) -> list[Any]:
    """The layers whose own output is the network's answer, or as wide as it and the last to be run."""
    ran: list[tuple[Any, Any]] = []
    hooks = [
        module.register_forward_hook(lambda module, _given, answer: ran.append((module, answer)))
        for module in network.modules()
        if hasattr(module, "out_features") or hasattr(module, "out_channels")
    ]
    try:
        answer = network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return [module for module, given in ran[-1:]] + [
        module for module, given in ran[:-1] if given is answer or given.shape[1:] == answer.shape[1:]
    ]
