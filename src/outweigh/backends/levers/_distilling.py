"""Teaching a changed network what the one it was made from answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outweigh.backends.levers._making import need
from outweigh.backends.levers._torch_made import TORCH_REMEDY, telling_torch, training_items
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import TeachesLevers

TEMPERATURE = 4.0
TEACHERS_SHARE = 0.9
BATCH = 64
LEARNING_RATE = 1e-3
SEED = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned from. `steps` is optimiser steps, `loss` the mean of the last epoch."""

    items: int
    steps: int
    loss: float


def distil(
    student: Any, teacher: Any, task: TeachesLevers, epochs: int, lever: str, variant: Variant, *, masks: Any = None
) -> Lesson:
    """Fine-tune `student` in place on the task's training items; it ends in eval mode.

    The loss is 0.9 x T^2 x KL(teacher || student) of the answers softened by T = 4, plus 0.1 x the cross-entropy with
    the true classes (Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531,
    section 2, whose T^2 keeps the two parts in proportion). Where targets are no classes it is the mean squared
    difference to the teacher's answers. Adam, learning rate 1e-3 falling to 0 along a cosine, batches of 64 in an
    order fixed by a seed: the same machine and threads give the same weights.

    Args:
        masks: parameter name -> tensor of 0 and 1; what is 0 stays 0.

    Raises:
        LeverError: the network fails on the items, or the loss is not finite.
    """
    torch = need("torch", lever, TORCH_REMEDY)
    inputs, targets = training_items(task.examples(), lever, variant)
    failing = "the network fails on the training items"
    with telling_torch(lever, variant, failing, "Let it take what the task gives"), torch.random.fork_rng():
        torch.manual_seed(SEED)
        with torch.no_grad():
            taught = torch.cat([teacher(part) for part in inputs.split(256)])
        student.train()
        optimiser = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], lr=LEARNING_RATE)
        steps = epochs * -(-len(inputs) // BATCH)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
        last: list[float] = []
        for _ in range(epochs):
            last = []
            for chosen in torch.randperm(len(inputs)).split(BATCH):
                if len(chosen) < 2:
                    continue  # normalisation over a batch wants more than one item
                optimiser.zero_grad()
                loss = _loss(torch, student(inputs[chosen]), taught[chosen], targets[chosen])
                loss.backward()
                optimiser.step()
                falling.step()
                _hold(torch, student, masks)
                last.append(float(loss.detach()))
    student.eval()
    mean = sum(last) / len(last) if last else float("nan")
    if not all(bool(torch.isfinite(p).all()) for p in student.parameters()) or mean != mean:
        problem = f"fine-tuning on {len(inputs)} items ran away: weights or loss are not finite"
        raise LeverError(lever, variant.name, problem, "Prune less, or give the task more training items")
    return Lesson(len(inputs), steps, mean)


def _loss(torch: Any, answers: Any, taught: Any, targets: Any) -> Any:
    functional = torch.nn.functional
    if targets.is_floating_point() or answers.ndim != 2:
        return functional.mse_loss(answers, taught)
    soft = functional.kl_div(
        functional.log_softmax(answers / TEMPERATURE, 1),
        functional.log_softmax(taught / TEMPERATURE, 1),
        reduction="batchmean",
        log_target=True,
    )
    hard = functional.cross_entropy(answers, targets)
    return TEACHERS_SHARE * TEMPERATURE**2 * soft + (1 - TEACHERS_SHARE) * hard


def _hold(torch: Any, student: Any, masks: Any) -> None:
    if not masks:
        return
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
