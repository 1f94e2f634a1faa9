"""Settings of a board: never without permission, and always put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.data.device_journal import DeviceJournal, left_behind
from outweigh.registry import levers
from outweigh.shrink import MadeVariant, holding, put_back_settings, usable_levers

BOARDS = ("GPU-aaaaaaaa-0000", "GPU-bbbbbbbb-0000")

#: An NVML whose boards are a file, so that two processes see the same ones; `refuses` names a function that fails.
FILE_NVML = """
import json
import os
from pathlib import Path

FILE = Path(os.environ["FAKE_BOARDS"])
NVML_CLOCK_GRAPHICS = 0


class NVMLError(Exception):
    pass


def _boards():
    return json.loads(FILE.read_text())


def _set(uuid, key, value):
    boards = _boards()
    boards[uuid][key] = value
    FILE.write_text(json.dumps(boards))


def nvmlInit():
    pass


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    return len(_boards())


def nvmlDeviceGetHandleByIndex(place):
    return sorted(_boards())[place]


def nvmlDeviceGetUUID(handle):
    return handle.encode()


def nvmlDeviceGetPowerManagementLimit(handle):
    return _boards()[handle]["limit_mw"]


def nvmlDeviceGetPowerManagementLimitConstraints(handle):
    return [100_000, 700_000]


def nvmlDeviceSetPowerManagementLimit(handle, limit_mw):
    if _boards()[handle].get("refuses"):
        raise NVMLError("Insufficient Permissions")
    _set(handle, "limit_mw", limit_mw)


def nvmlDeviceGetMaxClockInfo(handle, kind):
    return 1980


def nvmlDeviceSetGpuLockedClocks(handle, least, most):
    _set(handle, "clock", [least, most])


def nvmlDeviceResetGpuLockedClocks(handle):
    _set(handle, "clock", None)
"""


@dataclass
class Boards:
    file: Path
    folder: Path
    before: dict = field(default_factory=dict)

    def now(self, key: str = "limit_mw") -> list:
        held = json.loads(self.file.read_text())
        return [held[uuid][key] for uuid in BOARDS]

    def set(self, uuid: str, key: str, value: object) -> None:
        held = json.loads(self.file.read_text())
        held[uuid][key] = value
        self.file.write_text(json.dumps(held))


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """Two boards at 700 W and 650 W, seen by whatever imports pynvml, here and in child processes."""
    (tmp_path / "pynvml.py").write_text(FILE_NVML)
    file = tmp_path / "boards.json"
    limits = dict(zip(BOARDS, (700_000, 650_000), strict=True))
    file.write_text(json.dumps({uuid: {"limit_mw": mw, "clock": None} for uuid, mw in limits.items()}))
    monkeypatch.setenv("FAKE_BOARDS", str(file))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    yield Boards(file, tmp_path)
    sys.modules.pop("pynvml", None)


def capped(watts: str = "300") -> Variant:
    return levers.get("power-cap")(watts).apply(Variant("low", "m.onnx"), Path())


def test_applying_the_lever_changes_nothing_yet(boards):
    assert capped().levers == ("power-cap:300",)
    assert boards.now() == [700_000, 650_000]


def test_a_value_beyond_the_limits_of_the_board_is_a_lever_error(boards):
    with pytest.raises(LeverError, match="limits from 100 to 700 W"):
        capped("5000")
    with pytest.raises(LeverError, match="up to 1980 MHz"):
        levers.get("clock")("4000").apply(Variant("base", "m.onnx"), Path())


def test_without_permission_nothing_runs_and_nothing_changes(boards):
    with pytest.raises(LeverError, match="not allowed") as caught:
        holding([MadeVariant(capped())], allowed=False)

    assert "--allow-device-settings" in caught.value.remedy
    assert boards.now() == [700_000, 650_000]


def test_the_setting_holds_during_the_run_of_its_variant_and_no_other(boards):
    plain, low = Variant("base", "m.onnx"), capped()
    around = holding([MadeVariant(plain), MadeVariant(low)], allowed=True)

    with around(plain):
        assert boards.now() == [700_000, 650_000]
    with around(low):
        assert boards.now() == [300_000, 300_000]
        assert left_behind() == ("power-cap",)

    assert boards.now() == [700_000, 650_000]
    assert left_behind() == ()


def test_variants_without_device_levers_need_no_permission():
    with holding([MadeVariant(Variant("base", "m.onnx"))], allowed=False)(Variant("base", "m.onnx")):
        pass


def test_it_is_put_back_when_the_run_fails(boards):
    low = capped()

    with pytest.raises(ZeroDivisionError), holding([MadeVariant(low)], allowed=True)(low):
        raise ZeroDivisionError

    assert boards.now() == [700_000, 650_000]


def test_only_visible_boards_are_changed(boards, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bbbb")

    with levers.get("power-cap")("300").held():
        assert boards.now() == [700_000, 300_000]


@pytest.mark.parametrize(("visible", "why"), [("MIG-1", "part of a board"), ("7", "no board here"), ("", "no board")])
def test_boards_that_are_not_there_or_shared_are_refused(boards, monkeypatch, visible, why):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    with pytest.raises(LeverError, match=why):
        capped()


@pytest.mark.parametrize("refusing", BOARDS)
def test_a_driver_that_refuses_leaves_all_boards_as_they_were_and_nothing_to_put_back(boards, refusing):
    boards.set(refusing, "refuses", True)

    with pytest.raises(LeverError, match="Insufficient Permissions") as caught, levers.get("power-cap")("300").held():
        pytest.fail("it does not run")

    assert boards.now() == [700_000, 650_000]
    assert "root" in caught.value.remedy
    assert left_behind() == ()


def test_a_clock_is_taken_off_again(boards):
    with levers.get("clock")("1200").held():
        assert boards.now("clock") == [[1200, 1200], [1200, 1200]]

    assert boards.now("clock") == [None, None]


def test_two_processes_do_not_change_one_setting_at_once(boards):
    with (
        DeviceJournal("power-cap"),
        pytest.raises(LeverError, match="another process"),
        levers.get("power-cap")("300").held(),
    ):
        pytest.fail("it does not run")


def test_nothing_is_changed_where_what_it_was_cannot_be_written_down(boards, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OUTWEIGH_STATE", str(tmp_path / "file"))

    with pytest.raises(LeverError, match="cannot be written down"), levers.get("power-cap")("300").held():
        pytest.fail("it does not run")

    assert boards.now() == [700_000, 650_000]


KILLED = """
import sys, time
from outweigh.registry import levers
with levers.get("power-cap")("300").held():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="settings are not changed there")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_put_right_at_the_next_start(boards, how):
    environment = {**os.environ, "PYTHONPATH": str(boards.folder)}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    )
    with child:
        assert child.stdout.readline() == "held\n"
        assert boards.now() == [300_000, 300_000]
        # While it lives the setting is its own.
        assert put_back_settings() == ()
        child.send_signal(how)
        child.wait(30)

    said = put_back_settings()

    assert boards.now() == [700_000, 650_000]
    assert left_behind() == ()
    # An interrupt is a way out like any other: the child has put it back itself.
    assert len(said) == (2 if how == signal.SIGKILL else 0)


def test_a_journal_that_cannot_be_read_is_said_with_its_path(boards, own_state):
    own_state.mkdir()
    (own_state / "device-power-cap.json").write_text("{")

    with pytest.raises(LeverError, match=r"device-power-cap.json cannot be read") as caught:
        put_back_settings()

    assert "nvidia-smi -q" in caught.value.remedy


def test_a_board_that_is_gone_is_said_with_the_command_that_puts_it_back(boards):
    with DeviceJournal("power-cap") as journal:
        journal.write({"GPU-cccc": 450_000})

    with pytest.raises(LeverError, match="GPU-cccc is not here") as caught:
        put_back_settings()

    assert "nvidia-smi -pl 450" in caught.value.remedy


def test_what_is_tried_unasked_needs_no_argument_and_changes_no_device(boards):
    assert not {"power-cap", "clock", "artefact"} & set(usable_levers())
    assert {"batch", "graph", "quantize:int8-dynamic"} <= set(usable_levers())
