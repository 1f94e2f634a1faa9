"""Which combinations of levers there are to search: at most one lever of each family, in a fixed order.

Two levers of one family (two precisions, two widths) are two answers to one question, so a combination has one of
them or none. Families are applied in the order in which they can: what changes the network first, then what runs
it, then its numbers, then how it is run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from outweigh.core.errors import UsageError
from outweigh.ports import Availability
from outweigh.registry import levers as registry

Combination = tuple[str, ...]

NOTHING = "-"  # a family left alone

_ORDER = ("layers", "prune", "distil", "runtime", "cast", "quantize", "graph", "threads", "batch")
#: Not searched unless named: they change a setting of the machine, or need a file that only a person can name.
_ONLY_WHEN_NAMED = frozenset({"artefact", "clock", "power-cap"})
_MOST_LISTED = 20_000


@dataclass(frozen=True, slots=True)
class Space:
    """The search space.

    Attributes:
        families: (family, its levers), in the order they are applied.
        left_out: what was not taken, and why.
    """

    families: tuple[tuple[str, tuple[str, ...]], ...]
    left_out: tuple[Availability, ...] = ()

    @property
    def levers(self) -> tuple[str, ...]:
        return tuple(lever for _, members in self.families for lever in members)

    @property
    def size(self) -> int:
        """Number of combinations, that of no lever not counted.

        >>> Space((("quantize", ("quantize:int8", "quantize:int4")), ("graph", ("graph:all",)))).size
        5
        """
        return int(np.prod([len(members) + 1 for _, members in self.families], dtype=object)) - 1

    def singles(self) -> tuple[Combination, ...]:
        return tuple((lever,) for lever in self.levers)

    def combinations(self) -> Iterator[Combination]:
        """All of them, those with the fewest levers first. Only for a space of at most a few thousand."""
        choices = [(NOTHING, *members) for _, members in self.families]
        found = [tuple(lever for lever in one if lever != NOTHING) for one in itertools.product(*choices)]
        yield from sorted((one for one in found if one), key=len)

    def is_listable(self) -> bool:
        return self.size <= _MOST_LISTED

    def drawn(self, rng: np.random.Generator) -> Combination:
        """One combination at random, not empty."""
        while True:
            picks = [(NOTHING, *members)[int(rng.integers(len(members) + 1))] for _, members in self.families]
            found = tuple(lever for lever in picks if lever != NOTHING)
            if found:
                return found

    def as_choices(self, combination: Combination) -> dict[str, str]:
        """Family -> the lever of it, or `NOTHING`."""
        return {
            family: next((lever for lever in combination if lever in members), NOTHING)
            for family, members in self.families
        }

    def from_choices(self, choices: Mapping[str, str]) -> Combination:
        return tuple(choices[family] for family, _ in self.families if choices[family] != NOTHING)


def space_of(names: Sequence[str] = ()) -> Space:
    """The space that these levers span; without names, every lever that is usable here.

    Raises:
        UnknownBackend: no lever has that name.
        UsageError: none is usable, or a named one is not.
    """
    chosen, left_out = (_named(names), ()) if names else _usable()
    if not chosen:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in left_out)
        raise UsageError(
            f"no lever can be searched here{f' ({reasons})' if reasons else ''}",
            "Install one (`outweigh doctor` says how), or name some: --levers quantize:int8-dynamic,threads:2",
        )
    families: dict[str, list[str]] = {}
    for lever in chosen:
        families.setdefault(lever.partition(":")[0], []).append(lever)
    ordered = sorted(families, key=lambda family: (_place(family), family))
    return Space(tuple((family, tuple(families[family])) for family in ordered), left_out)


def name_of(base: str, combination: Combination) -> str:
    """What a combination is called: the variant it is made from, and its levers.

    >>> name_of("l3", ("quantize:int8-dynamic", "threads:2"))
    'l3+quantize:int8-dynamic+threads:2'
    """
    return "+".join((base, *combination))


def _place(family: str) -> int:
    return _ORDER.index(family) if family in _ORDER else len(_ORDER)


def _named(names: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        lever, _ = registry.named(name)
        found = lever.probe()
        if hasattr(lever, "held"):
            raise UsageError(f"the lever {name} changes the device, which a search does not", "Leave it out")
        if not found.usable:
            raise UsageError(f"the lever {name} is not usable here: {found.reason}", found.remedy or "Leave it out")
    return wanted


def _usable() -> tuple[list[str], tuple[Availability, ...]]:
    taken: list[str] = []
    left_out: list[Availability] = []
    for name in registry.names():
        lever = registry.get(name)
        found = lever.probe()
        if name.partition(":")[0] in _ONLY_WHEN_NAMED or hasattr(lever, "held"):
            reason = "it changes the device" if hasattr(lever, "held") else "searched only when it is named"
            left_out.append(Availability(name, False, reason=reason))
        elif not found.usable:
            left_out.append(found)
        else:
            arguments = _arguments(name, lever)
            taken += [f"{name}:{argument}" for argument in arguments] or [name]
    return taken, tuple(left_out)


def _arguments(name: str, lever: type[object]) -> tuple[str, ...]:
    """What a lever with an argument is tried with: its own word, or what is commonly worth a look."""
    own = getattr(lever, "suggested", None)
    if own is not None:
        return tuple(str(argument) for argument in own)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "threads": tuple(str(2**power) for power in range(1, cores.bit_length()) if 2**power <= cores),
        "batch": ("8", "32"),
        "prune:structured": ("0.25", "0.5"),
    }.get(name, ())
