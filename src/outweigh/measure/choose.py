"""Which meter to use: the best that works here, and why the others were passed over."""

from __future__ import annotations

from collections.abc import Callable

from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade
from outweigh.measure.doctor import probe_one
from outweigh.ports import Availability, Meter

#: Used when named, never chosen: test data, and meters that refresh so seldom (a second and more) or see so much more
#: than this machine's work that a window of a comparison would be mostly somebody else's. `doctor` shows them.
_NEVER_CHOSEN = frozenset({"replay", "battery", "dcgm", "ipmi", "prometheus", "redfish", "slurm"})

#: Which of one grade is taken: the counters that cost least to read first, then by name.
_FIRST = ("rapl", "nvml", "amdsmi", "hwmon")


def choose_meter(name: str | None = None, minimum: Grade | None = None) -> tuple[Meter, tuple[Availability, ...]]:
    """A meter, not yet open, and the ones passed over.

    Args:
        name: the meter to use, by the name `outweigh doctor` shows, with an argument after a colon where it
            takes one ("replay:trace.csv"); None for the best by grade (A before B before C before D), and of one
            grade the cheapest to read.
        minimum: the lowest grade that will do.

    Returns:
        (meter, every other meter with the reason it was not taken).

    Raises:
        MeterUnavailable: the named meter cannot be used, or none reaches the minimum.
        UnknownBackend: no meter has that name.
    """
    # Imported here: reading entry points costs more than the rest of the room, and a session needs none of it.
    from outweigh.registry import meters

    if name is not None:
        plain, _, argument = name.partition(":")
        # The port does not say how a meter is made: ours take no argument, or one string.
        make: Callable[..., Meter] = meters.get(plain)
        meter = make(argument) if argument else make()
        if not argument:
            found = probe_one("meters", plain)
            if not found.usable:
                raise MeterUnavailable(plain, found.reason, found.remedy)
        _reach(meter.grade, minimum, plain)
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
    return meters.get(best)(), tuple(found for each, found in probed.items() if each != best)


def _reach(grade: Grade, minimum: Grade | None, name: str) -> None:
    if minimum is not None and not grade.at_least(minimum):
        raise MeterUnavailable(
            name,
            f"it reads at grade {grade}, and grade {minimum} is the least that was asked for",
            "Use a machine with a better meter (`outweigh doctor` lists them), or ask for less",
        )
