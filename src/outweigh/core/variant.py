"""Variants: different ways to do the same task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Option = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the task.

    Attributes:
        name: what the team calls it.
        model: resolved path of the model file.
        levers: names of the levers that made it from its parent, in order ("quantize:int8-dynamic").
        parent: name of the variant it was made from, or "".
        options: adapter options (output, pooling, threads), as sorted pairs so that the type stays hashable.
        content_hash: SHA-256 of what decides its behaviour (model bytes and options); "" until it is loaded.
            Two variants with one content hash are the same thing under two names.
    """

    name: str
    model: str
    levers: tuple[str, ...] = ()
    parent: str = ""
    options: tuple[tuple[str, Option], ...] = field(default=())
    content_hash: str = ""

    def option(self, name: str, default: Option) -> Option:
        return dict(self.options).get(name, default)

    @staticmethod
    def freeze_options(options: Mapping[str, Option]) -> tuple[tuple[str, Option], ...]:
        return tuple(sorted(options.items()))
