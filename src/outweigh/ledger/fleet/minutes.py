"""Minute samples on their way into a fleet: columns, and how their power is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Grade, Method, Scope

MINUTE_S = 60
DAY_S = 86_400
# What a meter may be off by where its source states nothing: a share of the reading, the half-width of limits.
ASSUMED_DOUBT = {Grade.A: 0.05, Grade.B: 0.10, Grade.C: 0.50, Grade.D: 1.00}
_LATEST_S = 7_258_118_400  # 2200-01-01
_LONGEST_NAME = 512


@dataclass(frozen=True, slots=True)
class HowKnown:
    """How the power of some samples is known.

    Attributes:
        scope: what the meters see. A fleet has one scope: the power of GPUs and of whole nodes is never added up.
        grade: as everywhere (`core.measurement.Grade`).
        method: INTEGRATED for sampled power, COUNTER for differences of an energy counter, REPLAYED for made-up data.
        source: which meter, through what, for people.
        doubt: half-width of the limits of the reading as a share of it. It is taken to be common to all nodes and
            minutes (a gain), so sums have it whole and nothing averages out.
        synthetic: made up by a program. Said wherever the samples are read.
    """

    scope: Scope
    grade: Grade
    method: Method
    source: str
    doubt: float
    synthetic: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.doubt) and self.doubt >= 0):
            raise InvalidQuantity("doubt", repr(self.doubt), "give a share of the reading, such as 0.05")

    def to_texts(self) -> dict[str, str]:
        """As it stands in a segment's metadata; `from_texts` reads it back."""
        return {
            "scope": str(self.scope), "grade": str(self.grade), "method": str(self.method), "source": self.source,
            "doubt": repr(self.doubt), "synthetic": "yes" if self.synthetic else "no",
        }  # fmt: skip

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self:
        """Raises KeyError or ValueError where they are no such texts."""
        return cls(
            Scope(texts["scope"]), Grade(texts["grade"]), Method(texts["method"]), texts["source"],
            float(texts["doubt"]), texts["synthetic"] == "yes",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A column of names: `names[codes[i]]` is the name in row i. `codes` has shape (n,)."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, column: Sequence[str]) -> Self:
        """From one name a row.

        >>> Labels.of(["b", "a", "b"]).codes.tolist()
        [1, 0, 1]
        """
        names = sorted(set(column))
        place = {name: number for number, name in enumerate(names)}
        return cls(np.fromiter((place[name] for name in column), np.int32, len(column)), tuple(names))

    @classmethod
    def same(cls, name: str, n: int) -> Self:
        """One name in all `n` rows."""
        return cls(np.zeros(n, np.int32), (name,))

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class Minutes:
    """Samples of one minute of one node each; all columns have shape (n,).

    Attributes:
        t_s: start of the minute [s, Unix epoch, UTC]; a multiple of 60.
        node: which machine.
        owner: who holds it in that minute; "" when nobody does.
        site: where it stands.
        power_w: its mean power over [t_s, t_s + 60) [W]; drawn is positive, and a node gives nothing back.
        gpus: accelerators in it.
        busy: share of the minute in which its accelerators worked, 0 to 1; NaN where nobody knows.

    A minute that was not read has no row.

    Raises:
        InvalidQuantity: columns of different lengths, a time within a minute, a power, share or number that is none.
    """

    t_s: NDArray[np.int64]
    node: Labels
    owner: Labels
    site: Labels
    power_w: NDArray[np.float32]
    gpus: NDArray[np.int32]
    busy: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, kind in (("t_s", np.int64), ("power_w", np.float32), ("gpus", np.int32), ("busy", np.float32)):
            object.__setattr__(self, name, _column(name, getattr(self, name), kind))
        n = len(self.t_s)
        for name in ("node", "owner", "site", "power_w", "gpus", "busy"):
            if len(getattr(self, name)) != n:
                raise InvalidQuantity(
                    name, f"a column of {len(getattr(self, name))} rows", f"t_s has {n}: give as many"
                )
        _refuse(self.t_s, (self.t_s % MINUTE_S != 0) | (self.t_s < 0) | (self.t_s >= _LATEST_S), "start of a minute",
                "give seconds since 1970 in UTC, a multiple of 60")  # fmt: skip
        _refuse(self.power_w, ~np.isfinite(self.power_w), "power", "leave out what was not read")
        _refuse(self.power_w, self.power_w < 0, "power", "drawn is positive, and a node gives nothing back")
        _refuse(self.gpus, self.gpus < 0, "number of GPUs", "give 0 for a node without")
        _refuse(self.busy, (self.busy < 0) | (self.busy > 1), "busy share", "give 0 to 1, or NaN where nobody knows")
        for name in ("node", "owner", "site"):
            _check_names(name, getattr(self, name))

    def __len__(self) -> int:
        return len(self.t_s)


def _column(name: str, given: ArrayLike, kind: Any) -> NDArray[Any]:
    try:
        column = np.ascontiguousarray(given)
        if kind in (np.int64, np.int32) and column.dtype.kind == "f" and not np.all(column == np.floor(column)):
            raise ValueError(name)
        column = column.astype(kind, copy=False)
    except (TypeError, ValueError, OverflowError) as err:
        raise InvalidQuantity(name, "a column with something else in it", f"give {np.dtype(kind)}") from err
    if column.ndim != 1:
        raise InvalidQuantity(name, f"an array of {column.ndim} dimensions", "give one")
    return column


def _refuse(column: NDArray[Any], wrong: NDArray[np.bool_], what: str, remedy: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidQuantity(what, f"{column[row].item()!r} in row {row}", remedy)


def _check_names(name: str, labels: Labels) -> None:
    if len(labels) and not (labels.codes.min() >= 0 and labels.codes.max() < len(labels.names)):
        raise InvalidQuantity(name, "a code without a name", "give a name for every code")
    if len(set(labels.names)) < len(labels.names):
        raise InvalidQuantity(name, "a name with two codes", "give every name one code")
    for text in labels.names:
        # PostgreSQL, JSON and Parquet agree on what is text; a NUL or half a surrogate pair is not.
        if len(text) > _LONGEST_NAME or "\0" in text or not _is_text(text) or (name == "node" and not text):
            raise InvalidQuantity(name, repr(text[:40]), f"give a text of up to {_LONGEST_NAME} characters")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
