"""Scores that several tasks give, and items a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def accuracy_and_recalls(
    answers: Sequence[str], labels: Sequence[str], classes: Sequence[str]
) -> dict[str, tuple[float | None, ...]]:
    """1 for a right answer and 0 for a wrong one, and the same by class; None for an item of another class.

    >>> accuracy_and_recalls(["a", "a"], ["a", "b"], ["a", "b"])
    {'accuracy': (1.0, 0.0), 'recall_a': (1.0, None), 'recall_b': (None, 0.0)}
    """
    right = [float(answer == label) for answer, label in zip(answers, labels, strict=True)]
    scores: dict[str, tuple[float | None, ...]] = {"accuracy": tuple(right)}
    for wanted in classes:
        scores[f"recall_{wanted}"] = tuple(
            hit if label == wanted else None for hit, label in zip(right, labels, strict=True)
        )
    return scores


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, `size` at a time; the last few may be fewer.

    >>> list(batches("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]
