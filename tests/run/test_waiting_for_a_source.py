"""A command that waits keeps what it was told while its source is silent: a yearly figure says nothing of when."""

from datetime import UTC, datetime, timedelta

import pytest

from outweigh.app import commanding
from outweigh.core.errors import GridUnavailable
from outweigh.registry import grid_sources

BEGAN = datetime(2026, 11, 28, 2, tzinfo=UTC)
TYPICAL = grid_sources.get("typical").make("")


class FallsSilent:
    """The typical day of a zone as a live source, until it is silent about zones of a name."""

    name = "falls-silent"
    limits = TYPICAL.limits
    zones = TYPICAL.zones
    prices = TYPICAL.prices

    def __init__(self):
        self.silent = ""

    def carbon(self, zone, *args, **kwargs):
        if self.silent and self.silent in str(zone):
            raise GridUnavailable(self.name, "503", "Wait")
        return TYPICAL.carbon(zone, *args, **kwargs)


def waited(monkeypatch, zones, silent, looks=(1, 10_000)):
    """What was chosen, when the wait was over, and what was said, with the source silent between two looks."""
    source, clock, said, number = FallsSilent(), [BEGAN], [], [0]
    monkeypatch.setattr(commanding, "open_source", lambda text: source)

    def sleep(seconds):
        clock[0] += timedelta(seconds=seconds)
        number[0] += 1
        source.silent = silent if looks[0] <= number[0] < looks[1] else ""

    ask = commanding.Ask(("true",), "clean", 20 * 3600.0, 3600.0, None, zones, ("falls-silent",))
    chosen = commanding.wait(ask, told=said.append, sleep=sleep, now=lambda: clock[0])
    return chosen.start.at, clock[0], said


@pytest.mark.parametrize(
    ("zones", "silent"), [(("US-CAL-CISO",), "CAL"), (("ca=US-CAL-CISO", "tx=US-TEX-ERCO"), "TEX")]
)
def test_a_source_that_falls_silent_leaves_the_last_choice(zones, silent, monkeypatch):
    start, ended, said = waited(monkeypatch, zones, silent)

    assert said[0].startswith(f"waits 19 h, until {start:%Y-%m-%d %H:%M} UTC")
    assert said[1:] == [f"a source fell silent: the last choice stays, {start:%Y-%m-%d %H:%M} UTC"]
    assert ended == start


def test_a_source_that_answers_again_is_heard_again(monkeypatch):
    undisturbed, _, _ = waited(monkeypatch, ("US-CAL-CISO",), "")

    start, _, said = waited(monkeypatch, ("US-CAL-CISO",), "CAL", looks=(2, 4))

    assert start == undisturbed
    assert sum("fell silent" in text for text in said) == 1
