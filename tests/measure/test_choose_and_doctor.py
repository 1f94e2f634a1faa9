"""Which meter is taken, and a doctor that outlives its patients."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest

from outweigh import registry
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import MeterUnavailable, OverlappingScopes, UnknownBackend
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.measure import choose_meter, probe_all
from outweigh.ports import Availability, Channel, ChannelKind


class _Made:
    name: ClassVar[str]
    grade = Grade.A
    method = Method.COUNTER
    source = "made"
    factors = ()
    found = Availability("made", usable=True, sees="everything", grade=Grade.A)

    @classmethod
    def probe(cls):
        return cls.found


@pytest.fixture
def extra_meter(monkeypatch):
    for name in registry.meters.names():
        registry.meters.get(name)  # what registers itself now must not do so in the copy, and be forgotten with it

    def add(name, **attributes):
        monkeypatch.setattr(registry.meters, "_classes", dict(registry.meters._classes))
        return registry.meters.register(name)(type("Made", (_Made,), attributes))

    return add


def test_the_best_grade_wins_and_the_others_say_why_they_were_passed_over(extra_meter):
    made = extra_meter("wall")
    meter, passed = choose_meter()
    assert type(meter) is made
    assert {"cpu-model", "nvml", "rapl"} <= {found.name for found in passed}
    assert all(found.usable or found.reason for found in passed)


def test_test_data_is_never_chosen_unless_it_is_named():
    meter, passed = choose_meter()
    assert meter.name != "replay"
    assert "replay" not in {found.name for found in passed}
    assert isinstance(choose_meter("replay")[0], ReplayMeter)


def test_a_trace_is_named_after_a_colon(tmp_path):
    (tmp_path / "trace.csv").write_text("t_s,power_w\n0,5\n")
    meter, _ = choose_meter(f"replay:{tmp_path / 'trace.csv'}")
    meter.open()
    assert meter.energy_j(2.0) == 10.0


def test_a_named_meter_that_cannot_be_read_is_not_replaced_in_silence(extra_meter):
    extra_meter("broken", found=Availability("broken", usable=False, reason="unplugged", remedy="Plug it in"))
    with pytest.raises(MeterUnavailable) as caught:
        choose_meter("broken")
    assert caught.value.reason == "unplugged"
    assert caught.value.remedy == "Plug it in"


def test_an_unknown_meter_is_told_the_nearest_name():
    with pytest.raises(UnknownBackend, match="rapl"):
        choose_meter("rapi")


def reading(scope, grade=Grade.B, method=Method.COUNTER):
    """Attributes of a made meter that counts one thing, as a meter on hardware does."""
    channel = Channel("made", "made", scope, ChannelKind.ENERGY)
    return {
        "grade": grade,
        "method": method,
        "found": Availability("made", usable=True, sees=str(scope), grade=grade),
        "channels": (channel,),
        "open": lambda self: None,
        "close": lambda self: None,
        "components": lambda self: (),
    }


def only(monkeypatch, extra_meter, **made):
    """Nothing but these meters works here."""
    for name, attributes in made.items():
        extra_meter(name, **attributes)
    monkeypatch.setattr(registry.Registry, "names", lambda self: tuple(made))


def test_the_processors_counter_and_the_boards_are_read_together(monkeypatch, extra_meter):
    only(monkeypatch, extra_meter, rapl=reading(Scope.PACKAGE), nvml=reading(Scope.GPU), hwmon=reading(Scope.PSYS))
    meter, passed = choose_meter()
    assert [part.name for part in meter.parts] == ["rapl", "nvml"]
    assert [found.name for found in passed] == ["made"]
    meter.open()
    assert {channel.scope for channel in meter.channels if channel.counted} == {Scope.PACKAGE, Scope.GPU}


@pytest.mark.parametrize(
    "beside", [reading(Scope.NODE), reading(Scope.GPU), reading(Scope.CPU_THREADS, Grade.C, Method.MODELLED)]
)
def test_what_sees_the_boards_already_or_is_a_model_is_not_joined_to_them_unasked(monkeypatch, extra_meter, beside):
    only(monkeypatch, extra_meter, nvml=reading(Scope.GPU), wall=beside)
    meter, passed = choose_meter()
    assert meter.name in ("nvml", "wall")
    assert all("not added" in found.reason for found in passed)


def test_several_meters_are_named_with_commas_and_a_comma_in_an_argument_parts_nothing(tmp_path):
    (tmp_path / "a,b.csv").write_text("t_s,power_w\n0,5\n")
    meter, _ = choose_meter(f"replay:{tmp_path / 'a,b.csv'},cpu-model")
    assert [part.name for part in meter.parts] == ["replay", "cpu-model"]
    with pytest.raises(UnknownBackend, match="nvml"):
        choose_meter("cpu-model,nvlm")


def test_two_meters_of_one_thing_are_refused_since_nobody_can_tell_their_joules_apart(tmp_path):
    (tmp_path / "a.csv").write_text("t_s,power_w\n0,5\n")
    meter, _ = choose_meter(f"replay:{tmp_path / 'a.csv'},replay:{tmp_path / 'a.csv'}")
    with pytest.raises(OverlappingScopes, match="package"):
        meter.open()


def test_a_grade_that_nothing_here_reaches_is_refused():
    with pytest.raises(MeterUnavailable, match="is the least that was asked for"):
        choose_meter("cpu-model", minimum=Grade.A)
    assert choose_meter("cpu-model", minimum=Grade.D)[0].name == "cpu-model"


@pytest.mark.parametrize("failure", [RuntimeError("boom"), ImportError("no", name="vendor_sdk"), ValueError("bad")])
def test_a_back_end_that_breaks_while_probed_is_a_finding(extra_meter, failure):
    def probe():
        raise failure

    extra_meter("fragile", probe=staticmethod(probe))
    found = next(f for kind, f in probe_all() if (kind, f.name) == ("meters", "fragile"))
    assert not found.usable
    assert found.reason
    assert found.remedy


def test_a_probe_that_says_nothing_is_a_finding_too(extra_meter):
    extra_meter("mute", probe=staticmethod(lambda: SimpleNamespace()))
    assert not next(f for _, f in probe_all() if f.name == "mute").usable


def test_the_doctor_sees_every_kind_and_explains_what_is_not_usable():
    found = probe_all()
    assert {"rapl", "nvml", "cpu-model", "replay"} <= {f.name for kind, f in found if kind == "meters"}
    assert all(f.usable or (f.reason and f.remedy) for _, f in found)


def test_measuring_imports_the_standard_library_only():
    code = (
        "import sys; import outweigh.measure; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert loaded <= {"outweigh", "sitecustomize", "distutils-precedence"}
