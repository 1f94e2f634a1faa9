"""`outweigh measure -- CMD` with real processes: the command's end passes through, and its receipt is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from outweigh.ledger import open_ledger
from outweigh.ports import ReceiptFilter

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="needs POSIX processes")

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
MEASURE = ("measure", "--meter", "cpu-model", "--hum", "0", "--json", "--")

# As tests/measure/test_attribution.py: a double fork with a session of its own.
DAEMON = """
    import os, sys, time
    out, into = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            end = time.process_time() + 0.4
            while time.process_time() < end: pass
            open("daemon.pid", "w").write(str(os.getpid()))
            os.write(into, b"x")
            for number in (0, 1, 2):
                os.close(number)
            time.sleep({sleeps})
            os._exit(0)
        os._exit(0)
    os.wait()
    os.read(out, 1)
    sys.exit({code})
"""

# A machine where no control group may be made: what is left is /proc.
WITHOUT_GROUPS = """
    import sys
    from outweigh.measure import attribution
    attribution._group_of = lambda cgroup, proc: None
    from outweigh.cli.main import main
    sys.exit(main())
"""


def measure(folder, *command, by_proc=False):
    ours = [sys.executable, "-c", textwrap.dedent(WITHOUT_GROUPS)] if by_proc else [OUTWEIGH]
    done = subprocess.run(
        [*ours, *MEASURE, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def python(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


def kept(folder):
    store = open_ledger(folder / ".outweigh" / "ledger.sqlite")
    try:
        return [receipt for _, receipt in store.receipts(ReceiptFilter())]
    finally:
        store.close()


def receipt(done):
    return json.loads(done.stdout.splitlines()[-1])


def work_cpu_s(body):
    powers_w = [factor["value"] for factor in body["total"]["factors"]]
    return body["work"]["energy_j"] / (max(powers_w) - min(powers_w))


@pytest.mark.parametrize("by_proc", [False, True])
def test_a_command_that_does_not_exist_ends_with_127_and_leaves_no_receipt(tmp_path, by_proc):
    done = measure(tmp_path, "no-such-command-here", "x", by_proc=by_proc)

    assert done.returncode == 127
    assert done.stdout == ""
    assert "no-such-command-here: command not found" in done.stderr
    assert kept(tmp_path) == []


def test_a_file_that_cannot_be_executed_ends_with_126_and_leaves_no_receipt(tmp_path):
    (tmp_path / "plain.txt").write_text("not a program")

    done = measure(tmp_path, "./plain.txt")
    folder = measure(tmp_path, ".")

    assert (done.returncode, folder.returncode) == (126, 126)
    assert "cannot be executed" in done.stderr
    assert kept(tmp_path) == []


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_commands_own_exit_code_passes_through_with_a_receipt(tmp_path, code):
    done = measure(tmp_path, *python(f"print('its output'); raise SystemExit({code})"))

    (one,) = kept(tmp_path)
    assert done.returncode == code == one.exit_code
    assert done.stdout.splitlines()[0] == "its output"
    assert one.status == ("completed" if code == 0 else "failed")
    assert one.total.value.joules > 0


# POSIX.1-2017, XCU 2.8.2: 128 and the number of the signal, as shells have it.
@pytest.mark.parametrize(("name", "status"), [("SIGKILL", "failed"), ("SIGSEGV", "failed"), ("SIGTERM", "interrupted")])
def test_a_command_that_a_signal_ended_has_128_and_its_number(tmp_path, name, status):
    number = signal.Signals[name]

    done = measure(tmp_path, *python(f"import os, signal; os.kill(os.getpid(), signal.{name})"))

    (one,) = kept(tmp_path)
    assert done.returncode == 128 + number == one.exit_code
    assert one.status == status


@pytest.mark.parametrize("by_proc", [False, True])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_daemon_is_counted_while_the_run_lasts_and_told_when_it_lives_on(tmp_path, by_proc):
    begun_s = time.monotonic()
    done = measure(tmp_path, *python(DAEMON.format(sleeps=60, code=3)), by_proc=by_proc)
    took_s = time.monotonic() - begun_s

    os.kill(int((tmp_path / "daemon.pid").read_text()), signal.SIGKILL)
    body = receipt(done)
    assert done.returncode == body["exit_code"] == 3
    assert took_s < 50
    # 10 ms of it may be in a tick that is not full yet, for user and for system time.
    assert work_cpu_s(body) >= 0.38
    assert any("process tree by" in note for note in body["notes"])
    assert any(note.startswith("1 process of the run still lived") for note in body["notes"])


@pytest.mark.parametrize("by_proc", [False, True])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_work_of_short_children_is_in_the_receipt_of_their_command(tmp_path, by_proc):
    # A tracker that polls saw 6 J of 497 J here: the children live for less than it waits between two looks.
    child = "import time\nwhile time.process_time() < 0.05: pass"
    code = f"import subprocess, sys\nfor _ in range(12): subprocess.run([sys.executable, '-c', {child!r}], check=True)"

    body = receipt(measure(tmp_path, sys.executable, "-c", code, by_proc=by_proc))

    assert work_cpu_s(body) >= 12 * 0.05
    assert not any("still lived" in note for note in body["notes"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_what_others_do_meanwhile_is_not_in_the_receipt(tmp_path):
    code = "import time\nprint('on', flush=True)\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        body = receipt(measure(tmp_path, *python("import time; time.sleep(1.0)")))
        other.kill()

    assert work_cpu_s(body) < 0.5
