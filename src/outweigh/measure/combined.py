"""Several meters in one session: processor and boards together, each joule counted once.

    with MeterSession(CombinedMeter([RaplMeter(), NvmlMeter()])) as session: ...

Where a channel of one meter lies inside a scope that another counts (a package inside the node at its plug), the
outer one is counted and the inner one shown. Two meters that count the same kind of thing (two that read the node) are
refused: nobody can tell their joules apart. A meter that stops answering leaves a gap in its own channels only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from outweigh.core.errors import MeterUnavailable, OutweighError, OverlappingScopes, UsageError
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, Meter, Sample

#: Boards of two makers are never the same boards.
_TWO_MAKERS = {"nvml", "amdsmi"}


class CombinedMeter:
    """Meters read one after the other as one. The grade is the worst of those that count anything.

    Args:
        meters: at least one, not yet open. Channels are named "meter: channel", with a number
            where two meters have one name.
    """

    name: ClassVar[str] = "combined"

    def __init__(self, meters: Sequence[Meter]) -> None:
        if not meters:
            raise UsageError("there is no meter to combine", "Give at least one")
        self._meters = tuple(meters)
        self._channels: tuple[Channel, ...] = ()
        self._sizes: tuple[int, ...] = ()
        self.grade = Grade.worst(meter.grade for meter in meters)
        self.method = _method([meter.method for meter in meters])
        self.source = " + ".join(meter.source for meter in meters)
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.owners: tuple[frozenset[str], ...] = ()
        self.shortest_s, self.seen_share = 0.0, 1.0

    @classmethod
    def probe(cls) -> Availability:
        return Availability(cls.name, usable=True, sees="the meters it is made of")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    @property
    def parts(self) -> tuple[Meter, ...]:
        """The meters it is made of."""
        return self._meters

    def open(self) -> None:
        """Open all of them. None is left open when it fails.

        Raises:
            OverlappingScopes: two of them count the same kind of thing.
            OutweighError: what the first that cannot be opened raises.
        """
        opened: list[Meter] = []
        try:
            for meter in self._meters:
                meter.open()
                opened.append(meter)
            _check_apart(self._meters)
        except OutweighError:
            for meter in opened:
                meter.close()
            raise
        names = [meter.name for meter in self._meters]
        called = [name if names.count(name) == 1 else f"{name} {i + 1}" for i, name in enumerate(names)]
        named = [
            [replace(c, id=f"{name}: {c.id}") for c in meter.channels]
            for name, meter in zip(called, self._meters, strict=True)
        ]
        self._sizes = tuple(len(channels) for channels in named)
        every = [channel for channels in named for channel in channels]
        notes = []
        for index, channel in enumerate(every):
            outer = next((c for c in every if c.counted and c is not channel and _holds(c, channel)), None)
            if channel.counted and outer is not None:
                every[index] = replace(channel, counted=False)
                notes.append(f"{channel.id} is shown, not added: {outer.id} contains it")
        self._channels = tuple(every)
        counted_by = [
            meter
            for meter, channels in zip(self._meters, named, strict=True)
            if {c.id for c in channels} & {c.id for c in every if c.counted}
        ]
        self.grade = Grade.worst(meter.grade for meter in counted_by)
        self.method = _method([meter.method for meter in counted_by])
        self.source = " + ".join(meter.source for meter in self._meters)
        self.factors = tuple(factor for meter in self._meters for factor in meter.factors)
        self.notes = (*(n for meter in self._meters for n in getattr(meter, "notes", ())), *notes)
        self.shortest_s = max(getattr(meter, "shortest_s", 0.0) for meter in counted_by)
        self.seen_share = min(getattr(meter, "seen_share", 1.0) for meter in counted_by)
        self.owners = tuple(
            frozenset(c.id for c in channels)
            for meter, channels in zip(self._meters, named, strict=True)
            for _ in meter.components()
        )

    def read(self) -> Sample:
        """All of them; the time is the first one's. Raises MeterUnavailable when none answers."""
        t_s: float | None = None
        values: list[float | None] = []
        failed: MeterUnavailable | None = None
        for meter, size in zip(self._meters, self._sizes, strict=True):
            try:
                sample = meter.read()
            except MeterUnavailable as err:
                failed = err
                values += [None] * size
            else:
                t_s = sample.t_s if t_s is None else t_s
                values += sample.values
        if t_s is None:
            raise failed or MeterUnavailable(self.name, "it is not open", "Call open() first")
        return Sample(t_s, tuple(values))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return tuple(component for meter in self._meters for component in meter.components())

    def close(self) -> None:
        for meter in self._meters:
            meter.close()


def _check_apart(several: Sequence[Meter]) -> None:
    """Device names differ from meter to meter, so that one board would pass for two."""
    seen: dict[Scope, Meter] = {}
    for meter in several:
        scopes = {channel.scope for channel in meter.channels if channel.counted}
        for scope in scopes & set(seen):
            if scope is Scope.GPU and {meter.name, seen[scope].name} == _TWO_MAKERS:
                continue
            raise OverlappingScopes(
                f"the {scope} that {seen[scope].name} counts",
                f"the {scope} that {meter.name} counts",
                "Give one of the two, or measure them in runs of their own",
            )
        seen |= dict.fromkeys(scopes, meter)


def _holds(outer: Channel, inner: Channel) -> bool:
    return outer.scope is not inner.scope and outer.scope.contains(inner.scope)


def _method(methods: Sequence[Method]) -> Method:
    """One method for several: a model among them makes the sum a model."""
    if len(set(methods)) == 1:
        return methods[0]
    return Method.INTEGRATED if all(method.is_measured for method in methods) else Method.MODELLED
