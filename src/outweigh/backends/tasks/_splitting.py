"""One split for every labelled set: what is trained on, and what is judged.

The split depends on the items, their labels and the seed alone: not on file names, row order, Python's random
generator or the platform. That is what lets a verdict be pinned to a hash of it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from outweigh.core.errors import TaskError


class Item(Protocol):
    """One example with its class. `digest` is a SHA-256 of its content in hexadecimal, which no other item has."""

    @property
    def label(self) -> str: ...

    @property
    def digest(self) -> str: ...


T = TypeVar("T", bound=Item)


@dataclass(frozen=True, slots=True)
class Split(Generic[T]):
    """What is fitted on and what is tested on; no item is in both."""

    train: tuple[T, ...]
    evaluation: tuple[T, ...]


def distinct(items: Iterable[T]) -> list[T]:
    """Each content once, under the label it has first: a copy in both halves would test memory, not skill."""
    kept: dict[str, T] = {}
    for item in items:
        kept.setdefault(item.digest, item)
    return list(kept.values())


def shuffle_labels(items: Sequence[T], seed: int) -> list[T]:
    """The same items and the same labels, matched at random: nothing is left to learn, so a task that still shows
    skill on them has a leak. Class sizes stay as they are.
    """
    ordered: list[Any] = sorted(items, key=lambda item: item.digest)
    donors = sorted(ordered, key=lambda item: key(seed, "label", item))
    return [replace(item, label=donor.label) for item, donor in zip(ordered, donors, strict=True)]


def split_labelled(items: Sequence[T], train: int, seed: int, task: str, things: str = "texts") -> Split[T]:
    """Draw `train` items, each class by its share and at least one of each; the rest is for evaluation.

    Both halves come in random order, so a prefix of either is a random sample of it. `things` is what the items are
    called in errors.

    Raises:
        TaskError: one class only, too few items, or an evaluation half with one class.
    """
    sizes = Counter(item.label for item in items)
    if len(sizes) < 2:
        raise TaskError(
            task,
            f"quality set with one class ({next(iter(sizes))!r}): every answer would be right",
            f"Add {things} of at least one other class",
        )
    if len(items) < train + 2:
        raise TaskError(
            task,
            f"{len(items)} distinct {things} are too few to fit on {train} and keep at least 2 for evaluation",
            f"Lower the task option `train` to {max(len(items) // 3, len(sizes))} or less, or add {things}",
        )
    if train < len(sizes):
        raise TaskError(
            task,
            f"{train} training {things} cannot cover {len(sizes)} classes",
            f"Raise the task option `train` to {len(sizes)} or more",
        )
    shares = _shares(sizes, train)
    taken: Counter[str] = Counter()
    fitted_on: list[T] = []
    held_out: list[T] = []
    for item in sorted(items, key=lambda item: key(seed, "split", item)):
        half = fitted_on if taken[item.label] < shares[item.label] else held_out
        taken[item.label] += 1
        half.append(item)
    if len({item.label for item in held_out}) < 2:
        raise TaskError(
            task,
            f"quality set with one class ({held_out[0].label!r}): the {train} training {things} use up all others",
            f"Lower the task option `train`, or add {things} of the other classes",
        )
    return Split(tuple(fitted_on), tuple(held_out))


def split_plain(items: Sequence[T], train: int, seed: int, task: str, things: str) -> Split[T]:
    """Draw `train` items at random, whatever their label: for targets that are numbers. Raises TaskError."""
    if len(items) < train + 2:
        raise TaskError(
            task,
            f"{len(items)} distinct {things} are too few to fit on {train} and keep at least 2 for evaluation",
            f"Lower the task option `train` to {len(items) // 3} or less, or add {things}",
        )
    ordered = sorted(items, key=lambda item: key(seed, "split", item))
    return Split(tuple(ordered[:train]), tuple(ordered[train:]))


def listed(items: Iterable[Item]) -> list[tuple[str, str]]:
    """Digest and label of each item, in order: what a task's content hash is taken over."""
    return [(item.digest, item.label) for item in items]


def natural(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels, sorted; as numbers where all are whole numbers, so that "10" comes after "9".

    >>> natural(["10", "9", "9"]), natural(["b", "10", "a"])
    (('9', '10'), ('10', 'a', 'b'))
    """
    found = set(labels)
    whole = all(label.lstrip("-").isdecimal() for label in found)
    return tuple(sorted(found, key=lambda label: (int(label) if whole else 0, label)))


def key(seed: int, purpose: str, item: Item) -> bytes:
    """Sorts items into a random order that depends on seed, purpose and content alone."""
    return hashlib.sha256(f"{seed}:{purpose}:{item.digest}".encode()).digest()


def _shares(sizes: Counter[str], train: int) -> dict[str, int]:
    """Items of each class to train on: proportional by largest remainder, at least one, `train` in all."""
    total = sizes.total()
    exact = {label: train * size / total for label, size in sizes.items()}
    shares = {label: max(1, math.floor(share)) for label, share in exact.items()}
    labels = sorted(sizes)  # ties fall to the first name
    while sum(shares.values()) < train:
        room = [label for label in labels if shares[label] < sizes[label]]
        shares[max(room, key=lambda label: exact[label] - shares[label])] += 1
    while sum(shares.values()) > train:
        spare = [label for label in labels if shares[label] > 1]
        shares[max(spare, key=lambda label: shares[label] - exact[label])] -= 1
    return shares
