"""Which meter to use: the best that works here, and why the others were passed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from outweigh.core.errors import MeterUnavailable, OutweighError
from outweigh.core.measurement import Grade, Scope
from outweigh.measure.doctor import probe_one
from outweigh.ports import Availability, Meter

#: Used when named, never chosen: test data, and meters that refresh so seldom (a second and more) or see so much more
#: than this machine's work that a window of a comparison would be mostly somebody else's. `doctor` shows them.
_NEVER_CHOSEN = frozenset({"replay", "battery", "dcgm", "ipmi", "prometheus", "redfish", "slurm"})

#: Which of one grade is taken: the counters that cost least to read first, then by name.
_FIRST = ("rapl", "nvml", "amdsmi", "hwmon")

#: Meters of accelerator boards alone: what is read of the processor beside them is no part of them.
_BOARDS = ("nvml", "amdsmi")


def choose_meter(name: str | None = None, minimum: Grade | None = None) -> tuple[Meter, tuple[Availability, ...]]:
    """A meter, not yet open, and the ones passed over.

    Args:
        name: the meter to use, by the name `outweigh doctor` shows, with an argument after a colon where it
            takes one ("replay:trace.csv"); several with commas between them ("rapl,nvml") are read as one, a part
            inside another counted once. None for the best by grade (A before B before C before D), and of one grade
            the cheapest to read; where the best reads a processor and boards can be read too, or the other way
            round, both. A model joins no counter unasked: the sum would be a model.
        minimum: the lowest grade that will do.

    Returns:
        (meter, every other meter with the reason it was not taken).

    Raises:
        MeterUnavailable: a named meter cannot be used, or none reaches the minimum.
        UnknownBackend: no meter has that name.
    """
    # Imported here: reading entry points costs more than the rest of the room, and a session needs none of it.
    from outweigh.registry import meters

    if name is not None:
        names = _names(name)
        named = [_named(each) for each in names]
        meter = named[0] if len(named) == 1 else _combined(named)
        _reach(meter.grade, minimum, name)
        return meter, ()
    probed = {each: probe_one("meters", each) for each in meters.names() if each not in _NEVER_CHOSEN}
    usable = sorted(
        (found.grade or Grade.D, _FIRST.index(each) if each in _FIRST else len(_FIRST), each)
        for each, found in probed.items()
        if found.usable
    )
    if not usable:
        reasons = "; ".join(f"{each}: {found.reason}" for each, found in probed.items())
        raise MeterUnavailable("no meter", reasons, "`outweigh doctor` says how to mend each")
    grade, _, best = usable[0]
    _reach(grade, minimum, best)
    chosen = [meters.get(best)()]
    taken = {best}
    for _, _, other in usable[1:]:
        if (other in _BOARDS) == (best in _BOARDS) or len(taken) > 1:
            continue
        beside = meters.get(other)()
        why_not = _why_apart(chosen[0], beside)
        if not why_not:
            chosen.append(beside)
            taken.add(other)
        else:
            probed[other] = replace(probed[other], reason=why_not)
    meter = chosen[0] if len(chosen) == 1 else _combined(chosen)
    return meter, tuple(found for each, found in probed.items() if each not in taken)


def _names(text: str) -> list[str]:
    """The meters of "rapl,nvml"; a comma inside an argument ("hwmon:one,two") parts nothing.

    >>> _names("hwmon:chip/one,chip/two,nvml")
    ['hwmon:chip/one,chip/two', 'nvml']
    """
    from outweigh.registry import meters

    first, *rest = text.split(",")
    found = [first]
    known = set(meters.names()) if rest else set()
    for part in rest:
        # What follows an argument may be more of it; without one it has to be a meter, and is refused if it is none.
        if part.partition(":")[0] in known or ":" not in found[-1]:
            found.append(part)
        else:
            found[-1] += f",{part}"
    return found


def _named(text: str) -> Meter:
    from outweigh.registry import meters

    plain, _, argument = text.partition(":")
    # The port does not say how a meter is made: ours take no argument, or one string.
    make: Callable[..., Meter] = meters.get(plain)
    if not argument:
        found = probe_one("meters", plain)
        if not found.usable:
            raise MeterUnavailable(plain, found.reason, found.remedy)
    return make(argument) if argument else make()


def _combined(several: Sequence[Meter]) -> Meter:
    from outweigh.measure.combined import CombinedMeter

    return CombinedMeter(several)


def _why_apart(one: Meter, other: Meter) -> str:
    """Why two meters are not read as one unasked; "" when they are."""
    if not (one.method.is_measured and other.method.is_measured):
        return f"it is not added to {one.name}: a model and a counter make a model (name both to have it so)"
    try:
        seen = [_counted(meter) for meter in (one, other)]
    except OutweighError as err:
        return f"it was not added to {one.name}: {err}"
    for scope in seen[0]:
        for beside in seen[1]:
            if scope.contains(beside) or beside.contains(scope):
                return f"it is not added to {one.name}, which counts {scope} already"
    return ""


def _counted(meter: Meter) -> set[Scope]:
    """What a meter counts, which it knows once it is open."""
    meter.open()
    try:
        return {channel.scope for channel in meter.channels if channel.counted}
    finally:
        meter.close()


def _reach(grade: Grade, minimum: Grade | None, name: str) -> None:
    if minimum is not None and not grade.at_least(minimum):
        raise MeterUnavailable(
            name,
            f"it reads at grade {grade}, and grade {minimum} is the least that was asked for",
            "Use a machine with a better meter (`outweigh doctor` lists them), or ask for less",
        )
