"""Whose CPU time: the run's processes, all of them and nobody else's, by control group and by /proc."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.data.processes import Descendants, read_process
from outweigh.measure import attribution
from outweigh.measure.attribution import (
    BY_GROUP,
    BY_OWN_GROUP,
    BY_PROC,
    BY_WAITING,
    MachineTime,
    accounting,
    group_cpu_s,
    left_note,
    machine_cpu_s,
    share_note,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

# /proc counts in ticks of 10 ms, and user and system time may each lose a part of one.
TICKS_LOST_S = 0.02
BURN = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"

# What a daemon does: fork, a session of its own, fork again, and the one in the middle ends.
DAEMON = """
import os, sys, time
out, into = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        end = time.process_time() + {s}
        while time.process_time() < end: pass
        os.write(into, b"x")
        {then}
        os._exit(0)
    os._exit(0)
os.wait()
os.read(out, 1)
"""


@pytest.fixture(params=["group", "proc"])
def way(request, monkeypatch):
    """Both ways of telling; the first where this machine lets us make a control group."""
    if request.param == "proc":
        monkeypatch.setattr(attribution, "_group_of", lambda cgroup, proc: None)
        return BY_PROC
    with accounting() as account:
        if account.how != BY_OWN_GROUP:
            pytest.skip(f"no control group can be made here: {account.how}")
    return BY_OWN_GROUP


def run(code, **options):
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60, **options)


def spent_s(code, **options):
    """(CPU time by the account, what is left) of a Python program."""
    with accounting() as account:
        run(code, **options)
        account.look()
        cpu_s = account.cpu_s()
    return cpu_s, account.left


def test_the_way_is_told(way):
    with accounting() as account:
        assert account.how == way


def test_many_children_that_lived_for_a_moment_are_counted(way):
    child = BURN.format(s=0.02)
    code = f"import subprocess, sys\nfor _ in range(10): subprocess.run([sys.executable, '-c', {child!r}], check=True)"

    cpu_s, left = spent_s(code)

    assert cpu_s >= 10 * 0.02
    assert left == ()


def test_a_daemon_that_nobody_waited_for_is_counted_while_the_run_lasts(way):
    cpu_s, _ = spent_s(DAEMON.format(s=0.4, then=""))

    assert cpu_s >= 0.4 - TICKS_LOST_S


def test_a_daemon_that_lives_on_is_told_with_its_name_and_time_and_is_not_waited_for(way, tmp_path):
    then = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); os.write(into, b'y'); time.sleep(60)"
    code = DAEMON.format(s=0.3, then=then) + "os.read(out, 1)"
    begun_s = time.monotonic()

    cpu_s, left = spent_s(code)

    took_s = time.monotonic() - begun_s
    pid = int((tmp_path / "pid").read_text())
    still = read_process(pid)
    os.kill(pid, 9)
    assert took_s < 30
    assert still is not None
    assert [one.name.startswith("python") for one in left] == [True]
    assert 0.3 - TICKS_LOST_S <= left[0].cpu_s <= cpu_s + TICKS_LOST_S
    assert "1 process of the run still lived" in left_note(left)


def test_a_child_whose_end_its_parent_ignores_is_counted_by_its_group(way):
    if way == BY_PROC:
        pytest.skip("by /proc it is known only as it was last seen: the kernel gives its time to nobody")
    child = BURN.format(s=0.3)
    code = f"""
        import signal, subprocess, sys
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", {child!r}]).wait()
    """

    cpu_s, _ = spent_s(code)

    assert cpu_s >= 0.3


def test_our_own_time_and_that_of_children_from_before_are_not_the_runs(way):
    before = subprocess.Popen(
        [sys.executable, "-c", BURN.format(s=0.4) + "print('done', flush=True)"], stdout=subprocess.PIPE
    )
    with accounting() as account:
        end_s = time.process_time() + 0.3
        while time.process_time() < end_s:
            pass
        assert before.stdout.readline() == b"done\n"
        account.cpu_s()  # a sampler reads ten times a second; by /proc what comes after the last reading is lost
        before.wait(60)
        account.look()
        cpu_s = account.cpu_s()
    before.stdout.close()

    # What the interpreter of `before` does to end may fall between two looks.
    assert cpu_s < 0.1


def test_the_figure_of_a_busy_tree_never_falls(way):
    child = BURN.format(s=0.01)
    code = f"import subprocess, sys\nfor _ in range(8): subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    seen = []
    with accounting() as account:
        tree = subprocess.Popen([sys.executable, "-c", code])
        while tree.poll() is None:
            account.look()
            seen.append(account.cpu_s())
        account.look()
        seen.append(account.cpu_s())
    assert seen == sorted(seen)
    assert seen[-1] >= 0.08
    # Nothing is counted twice: what rusage says of the whole tree is what was counted.
    assert seen[-1] < 8


def test_rusage_and_the_account_agree_on_a_tree_that_was_waited_for(way):
    from outweigh.data.processes import waited_s

    child = BURN.format(s=0.02)
    code = f"import subprocess, sys\nfor _ in range(10): subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    before_s = waited_s()
    with accounting() as account:
        tree = subprocess.Popen([sys.executable, "-c", code])
        while tree.poll() is None:
            account.look()
            account.cpu_s()
        account.look()
        cpu_s = account.cpu_s()
    assert cpu_s == pytest.approx(waited_s() - before_s, rel=0.05, abs=0.02)


def is_subreaper():
    flag = ctypes.c_int(0)
    assert ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0) == 0
    return bool(flag.value)


def test_everything_is_as_before_afterwards(way):
    group = Path("/proc/self/cgroup").read_text()
    folder = attribution._group_of(Path("/proc/self/cgroup"), Path("/proc"))

    with accounting() as account:
        run("pass")
        assert is_subreaper() is (way == BY_PROC)

    assert account.left == ()
    assert Path("/proc/self/cgroup").read_text() == group
    assert not is_subreaper()
    if folder is not None:
        assert not list(folder.glob(f"outweigh-{os.getpid()}-*"))


def test_an_error_in_the_run_leaves_everything_as_before_too(way):
    group = Path("/proc/self/cgroup").read_text()

    with pytest.raises(RuntimeError, match="ours"), accounting():
        raise RuntimeError("ours")

    assert Path("/proc/self/cgroup").read_text() == group
    assert not is_subreaper()


def test_a_run_inside_a_run_is_in_both(way):
    inner = f"""
        import subprocess, sys
        from outweigh.measure.attribution import accounting
        with accounting() as account:
            subprocess.run([sys.executable, "-c", {BURN.format(s=0.3)!r}], check=True)
            account.look()
            print(account.how, account.cpu_s() >= 0.3)
    """
    with accounting() as account:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(inner)], check=True, stdout=subprocess.PIPE, text=True, timeout=60
        )
        account.look()
        cpu_s = account.cpu_s()

    assert done.stdout.endswith(" True\n")
    assert cpu_s >= 0.3


def test_two_runs_at_once_are_told_apart_from_the_rest_each_in_its_way(way):
    with accounting() as outer, accounting() as inner:
        run(BURN.format(s=0.2))
        for account in (outer, inner):
            account.look()
            assert account.cpu_s() >= 0.2
    assert inner.how == BY_PROC


def test_the_group_of_a_run_that_was_killed_is_cleared_away_at_the_next():
    with accounting() as account:
        if account.how != BY_OWN_GROUP:
            pytest.skip("no control group can be made here")
    killed = "import os, signal\nfrom outweigh.measure.attribution import accounting\n"
    killed += "with accounting():\n    print(os.getpid(), flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", killed], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    folder = attribution._group_of(Path("/proc/self/cgroup"), Path("/proc"))
    left = f"outweigh-{int(done.stdout)}-*"
    assert list(folder.glob(left))

    with accounting():
        pass

    assert not list(folder.glob(left))


# --- control groups made of files -------------------------------------------------------------------


class Groups:
    """A /proc and a mounted cgroup v2 hierarchy made of files, with us in one of its groups."""

    def __init__(self, root: Path, group: str = "/job", members: tuple[int, ...] = (), mount_root: str = "/") -> None:
        self.proc, self.mount = root / "proc", root / "cgroup two"
        self.pid = os.getpid()
        (self.proc / "self").mkdir(parents=True)
        self.folder = self.mount / group.removeprefix(mount_root.rstrip("/")).strip("/")
        self.folder.mkdir(parents=True)
        where = str(self.mount).replace(" ", "\\040")
        (self.proc / "self" / "mountinfo").write_text(
            f"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 {mount_root} {where} rw - cgroup2 none rw\n"
        )
        self.says(self.proc / "self", group)
        self.process(1, 0)
        self.process(40, 1)
        self.process(self.pid, 40)
        (self.folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in (self.pid, *members)))
        (self.folder / "cgroup.type").write_text("domain\n")
        # With controllers at work below it, nothing is made there.
        (self.folder / "cgroup.subtree_control").write_text("cpu\n")
        self.uses(1_000_000)

    def says(self, folder: Path, group: str) -> None:
        (folder / "cgroup").write_text(f"4:memory:/elsewhere\n0::{group}\n")

    def process(self, pid: int, parent: int, own: int = 0) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 9, str(own), "0", "0", "0", *["0"] * 4, "5"]
        (folder / "stat").write_text(f"{pid} (made up) {' '.join(fields)} 0 0\n")

    def uses(self, usec: int) -> None:
        (self.folder / "cpu.stat").write_text(f"usage_usec {usec}\nuser_usec 0\nsystem_usec 0\n")


@pytest.mark.parametrize("mount_root", ["/", "/slice"])
def test_a_group_that_only_we_and_who_started_us_are_in_is_the_runs(tmp_path, mount_root):
    groups = Groups(tmp_path, "/slice/job", members=(40,), mount_root=mount_root)
    own_s = time.process_time()

    with accounting(groups.proc) as account:
        groups.uses(9_000_000)
        cpu_s = account.cpu_s()

    assert account.how == BY_GROUP
    assert cpu_s == pytest.approx(8.0, abs=time.process_time() - own_s)


@pytest.mark.parametrize("stranger", [77, 0])
def test_a_group_with_others_in_it_is_not_the_runs(tmp_path, stranger):
    # 0 is how the kernel names one that is outside our process namespace.
    groups = Groups(tmp_path, members=(stranger,))
    groups.process(77, 1)
    with accounting(groups.proc) as account:
        assert account.how == BY_PROC


def test_the_machines_root_group_is_nobodys(tmp_path):
    groups = Groups(tmp_path)
    (groups.folder / "cgroup.type").unlink()
    with accounting(groups.proc) as account:
        assert account.how == BY_PROC


def test_a_group_that_is_taken_away_keeps_what_was_seen(tmp_path):
    groups = Groups(tmp_path)
    with accounting(groups.proc) as account:
        groups.uses(3_000_000)
        seen_s = account.cpu_s()
        (groups.folder / "cpu.stat").unlink()
        assert account.cpu_s() == seen_s > 1.9


def test_without_proc_children_are_counted_when_they_are_waited_for(tmp_path):
    with accounting(tmp_path / "none") as account:
        run(BURN.format(s=0.2))
        assert account.cpu_s() >= 0.2
    assert account.how == BY_WAITING


def test_a_service_that_runs_already_is_told_by_its_group_unless_others_share_it(tmp_path):
    groups = Groups(tmp_path)
    groups.process(50, 1)
    groups.process(51, 50)
    (groups.proc / "50").mkdir(exist_ok=True)
    groups.says(groups.proc / "50", "/job")
    (groups.folder / "cgroup.procs").write_text("50\n51\n")

    cpu_s = group_cpu_s(50, groups.proc)
    groups.uses(4_500_000)
    assert cpu_s() == pytest.approx(3.5)

    (groups.folder / "cgroup.procs").write_text(f"50\n51\n{groups.pid}\n")
    assert group_cpu_s(50, groups.proc) is None


# --- trees made of numbers --------------------------------------------------------------------------


@given(
    ended=st.lists(st.tuples(st.integers(0, 500), st.booleans()), max_size=6),
    living=st.lists(st.integers(0, 500), max_size=6),
)
def test_each_childs_time_is_counted_once_whether_it_lives_or_was_waited_for(tmp_path_factory, ended, living):
    groups = Groups(tmp_path_factory.mktemp("tree"))
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    waited = [0.0]
    tree = Descendants(groups.proc, newcomers_only=True, root=groups.pid, waited=lambda: waited[0])
    for number, (ticks, was_seen) in enumerate(ended):
        pid = 1000 + number
        if was_seen:
            groups.process(pid, groups.pid, own=ticks)
            tree.look()
            tree.cpu_s()
            (groups.proc / str(pid) / "stat").unlink()
        waited[0] += ticks * tick_s
    for number, ticks in enumerate(living):
        groups.process(2000 + number, groups.pid, own=ticks)
    tree.look()
    assert tree.cpu_s() == pytest.approx((sum(ticks for ticks, _ in ended) + sum(living)) * tick_s, abs=1e-6)


# --- the machine's other work -----------------------------------------------------------------------


def test_cpu_time_of_the_machine_leaves_out_idle_waiting_stolen_and_guests(tmp_path):
    # proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks.
    (tmp_path / "stat").write_text("cpu  100 20 30 9000 800 4 5 700 60 6\ncpu0 1 2 3\n")
    assert machine_cpu_s(tmp_path) == pytest.approx(159 / os.sysconf("SC_CLK_TCK"))
    assert machine_cpu_s(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("machine_s", "run_s", "own_s", "says", "warns"),
    [
        (10.0, 9.5, 0.4, "the run had 95 %", False),
        (10.0, 8.0, 0.1, "the run had 80 %", True),
        (10.0, 0.0, 0.0, "the run had 0 %", True),
        (10.0, 10.3, 0.2, "the run had 98 %", False),  # ticks drawn by lot: more than all there was
        (0.1, 0.1, 0.0, "too little CPU time", False),
    ],
)
def test_the_runs_share_is_told_and_others_are_warned_of_above_a_tenth(machine_s, run_s, own_s, says, warns):
    note = share_note(MachineTime(50.0, 1.0, 2.0), MachineTime(50.0 + machine_s, 1.0 + run_s, 2.0 + own_s))
    assert says in note
    assert ("other processes had" in note) is warns
