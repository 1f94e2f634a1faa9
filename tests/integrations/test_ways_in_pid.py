"""`outweigh measure --pid`: a process tree that is not ours, from /proc."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from outweigh.core.errors import UsageError
from outweigh.data.processes import ProcessTree

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

BURN = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"


def stat(proc, pid, parent, own=0, reaped=0, started=5):
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    fields = ["S", str(parent), *["0"] * 9, str(own), "0", str(reaped), "0", *["0"] * 4, str(started)]
    (folder / "stat").write_text(f"{pid} (a (strange) name) {' '.join(fields)} 0 0\n", encoding="utf-8")


def end(proc, pid):
    (proc / str(pid) / "stat").unlink()
    (proc / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path):
    """init, a shell outside the tree, and the process 10."""
    (tmp_path / "self").mkdir()
    for pid, parent in ((1, 0), (5, 1), (10, 5)):
        stat(tmp_path, pid, parent, own=100)
    return tmp_path


def seconds(tree):
    tree.look()
    return round(tree.cpu_s() / tree._tick_s)


def test_descendants_are_counted_and_strangers_are_not(proc):
    tree = ProcessTree(10, proc)
    stat(proc, 11, 10, own=20)
    stat(proc, 12, 11, own=3)
    stat(proc, 13, 5, own=999)
    assert seconds(tree) == 123


def test_a_child_that_was_waited_for_is_counted_once(proc):
    tree = ProcessTree(10, proc)
    stat(proc, 11, 10, own=20)
    assert seconds(tree) == 120
    end(proc, 11)
    stat(proc, 10, 5, own=100, reaped=25)
    assert seconds(tree) == 125


def test_a_child_that_nobody_waited_for_is_kept_as_it_was_last_seen(proc):
    tree = ProcessTree(10, proc)
    stat(proc, 11, 10, own=20)
    assert seconds(tree) == 120
    end(proc, 11)
    assert seconds(tree) == 120


def test_a_child_whose_parent_has_ended_stays_followed(proc):
    tree = ProcessTree(10, proc)
    stat(proc, 11, 10, own=20)
    stat(proc, 12, 11, own=5)
    assert seconds(tree) == 125
    end(proc, 11)
    stat(proc, 10, 5, own=100, reaped=20)
    stat(proc, 12, 1, own=9)
    assert seconds(tree) == 129


def test_a_process_id_that_is_used_again_is_another_process(proc):
    tree = ProcessTree(10, proc)
    stat(proc, 11, 10, own=20)
    assert seconds(tree) == 120
    stat(proc, 11, 5, own=5000, started=99)
    assert seconds(tree) == 120


def test_a_process_that_is_not_there_is_a_usage_error(proc):
    with pytest.raises(UsageError, match="no process 77"):
        ProcessTree(77, proc)


def measure_pid(pid, cwd, *extra, **options):
    command = [sys.executable, "-m", "outweigh", "measure", "--pid", str(pid), "--json", *extra]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_running_process_is_measured_to_its_end_with_its_short_lived_children(tmp_path):
    program = f"""
        import subprocess, sys
        sys.stdin.readline()
        for _ in range(4):
            subprocess.run([sys.executable, "-c", {BURN.format(s=0.2)!r}], check=True)
        print("done", flush=True)
        sys.stdin.readline()
    """
    target = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    watcher = measure_pid(target.pid, tmp_path)
    assert "until it ends" in watcher.stderr.readline()
    target.stdin.write("go\n")
    target.stdin.flush()
    assert target.stdout.readline() == "done\n"
    target.stdin.close()
    target.wait(60)
    target.stdout.close()
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, err
    body = json.loads(out)
    assert (body["status"], body["meter"], body["exit_code"]) == ("completed", "cpu-model", None)
    dynamic_w = [f["value"] for f in body["total"]["factors"]]
    cpu_s = body["work"]["energy_j"] / (max(dynamic_w) - min(dynamic_w))
    # 4 x 0.2 s were asked for; starting Python four times comes on top, and a clock tick is 10 ms.
    assert 0.75 < cpu_s < 2.5


def test_ctrl_c_ends_the_watching_keeps_the_receipt_and_leaves_the_process_alone(tmp_path):
    target = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=subprocess.PIPE)
    watcher = measure_pid(target.pid, tmp_path)
    assert "until it ends" in watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    out, err = watcher.communicate(timeout=60)
    assert target.poll() is None
    target.stdin.close()
    target.wait(60)
    assert watcher.returncode == 0, err
    assert json.loads(out)["status"] == "interrupted"


def test_a_command_and_a_process_id_together_are_refused(tmp_path):
    watcher = measure_pid(1, tmp_path, "--", "true")
    _, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 125
    assert "give one: a command" in err
