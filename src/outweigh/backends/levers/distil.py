"""A changed network taught further by the one it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.levers._making import is_torch, needs, reweighted, spelled, taught_by, whole
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import Reshaping
from outweigh.ports import Availability, TeachesLevers
from outweigh.registry import levers

_NAME = "distil"
_VERSION = 1
_EPOCHS = 5


@levers.register(_NAME)
class Distil:
    """Fine-tune what prune:structured, prune:unstructured or layers:drop left of a torch network ("distil:10" epochs).

    The teacher is the network before the first such lever; what is learned from are the task's training items, never
    those it is judged on. Weights that are zero stay zero where an unstructured share of them was taken out. The
    energy of teaching is charged to the variant, as that of any lever.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, epochs: str = "") -> None:
        self._epochs = epochs

    @classmethod
    def probe(cls) -> Availability:
        sees = "torch models that another lever changed, with a task that gives training items"
        return needs(_NAME, ("torch",), sees, "Run: pip install 'outweigh[torch]'")

    def apply_taught(self, variant: Variant, workdir: Path, task: TeachesLevers) -> Variant:
        """Teach; the weights go into `workdir`.

        Raises:
            LeverError: no lever changed this network, so nobody can teach it; it fails on the training items; or
                `workdir` cannot be written.
            MissingExtra: torch is not installed.
        """
        epochs = whole(self._epochs, _NAME, variant, 1, otherwise=_EPOCHS)
        # torch is heavy, and most models are ONNX.
        from outweigh.backends.levers._distilling import distil
        from outweigh.backends.levers._torch_made import float_network, remade, teacher_of

        teacher = teacher_of(variant) if is_torch(variant) else None
        if teacher is None:
            problem = "there is no network that it was made from"
            remedy = "Put a lever that changes a torch network before it: prune:structured, layers:drop"
            raise LeverError(_NAME, variant.name, problem, remedy)

        def teach(network: Any, how: Reshaping) -> tuple[Any, Reshaping]:
            masks = {name: weight != 0 for name, weight in network.named_parameters() if weight.ndim > 1}
            sparse = {name: mask for name, mask in masks.items() if not bool(mask.all())}
            distil(network, float_network(teacher, _NAME)[0], task, epochs, _NAME, variant, masks=sparse)
            return network, how

        made = remade(variant, _NAME, workdir, f"taught-{epochs}-v{_VERSION}", teach, str(epochs), taught_by(task))
        return reweighted(variant, spelled(_NAME, self._epochs), made)
