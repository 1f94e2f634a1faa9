"""What is on its way can be taken up again by its id, or ended; by the supervisor, and at the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.core.errors import UsageError
from outweigh.core.jobs import JobState
from outweigh.ports import ReceiptFilter
from outweigh.run.following import Following
from outweigh.run.to_its_end import follow_to_its_end
from outweigh.run.tracked import Fate

PATIENCE_S = 120.0


@pytest.fixture
def three(world, day):
    """Of a plan at noon: one job that has completed, one that runs, one that waits."""
    jobs = [
        day.job("done", deadline=2.0, work_h=2.0), day.job("runs", release=11, deadline=15, work_h=4.0),
        day.job("waits", work_h=2.0, release=16),
    ]  # fmt: skip
    name = world.follow(day.planned(jobs))
    supervisor = world.supervise(name)
    supervisor.lead()
    world.live(supervisor, 12)
    assert [one.state for one in supervisor.jobs.values()] == [
        JobState.COMPLETED, JobState.RUNNING, JobState.WAITING,
    ]  # fmt: skip
    return supervisor


def fates(supervisor):
    return {one.name: one.fate for one in supervisor.jobs.values()}


def test_what_is_cancelled_ends_and_what_was_done_stays(world, three):
    three.cancel()

    world.live(three, 14)

    assert world.now.hour < 14  # it is over before the job that ran would have been
    assert fates(three) == {"done": Fate.COMPLETED, "runs": Fate.CANCELLED, "waits": Fate.CANCELLED}
    assert {status.state for status in world.executor.observe().values()} == {JobState.COMPLETED, JobState.CANCELLED}
    assert three.keeper_says_over()


def test_a_cancelling_that_is_killed_is_gone_on_with_by_who_leads_next(world, three, day):
    name = three.following.id
    three.cancel()
    three._ask = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        three.cycle()

    again = world.supervise(name, holder=three.holder)
    again.lead()
    world.live(again, 14)

    assert fates(again) == {"done": Fate.COMPLETED, "runs": Fate.CANCELLED, "waits": Fate.CANCELLED}


def test_jobs_that_were_never_asked_for_are_not_asked_for_when_cancelled(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(), day.job("other")])))
    supervisor.lead()
    world.executor.faults.silent = True
    supervisor.cancel()
    supervisor.cycle()
    world.executor.faults.silent = False

    def sleep(_):
        raise AssertionError("there was nothing to wait for")

    follow_to_its_end(supervisor, sleep=sleep)

    assert set(fates(supervisor).values()) == {Fate.CANCELLED}
    assert world.executor.observe() == {}
    assert not list(world.store.receipts(ReceiptFilter()))


def test_a_following_of_before_there_was_cancelling_is_not_cancelled(world, day):
    name = world.follow(day.planned([day.job()]))
    body = json.loads(world.store.followed(name)[0])
    del body["cancelled"]

    assert not Following.from_text(name, json.dumps(body)).cancelled


# --- at the command line ------------------------------------------------------------------------------


@pytest.fixture
def at_hand(tmp_path):
    """`outweigh run ...` as (begin it, run it to its end), on local jobs of this folder."""
    environment = {**os.environ, "OUTWEIGH_STATE": str(tmp_path / "state")}

    def begin(*args):
        return subprocess.Popen(
            [sys.executable, "-m", "outweigh", "run", "--every", "0.2", *args], env=environment, cwd=tmp_path,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def whole(*args):
        with begin(*args) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    return begin, whole


def until(holds):
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.1)


def one_command(*command):
    return (
        "--when", "now", "--deadline", "1h", "--expect", "10s", "--zone", "DE", "--offline", "--on", "local:DE", "--",
        *command,
    )  # fmt: skip


def interrupted(process):
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    return err.partition("`outweigh run --resume ")[2].partition("`")[0]


def test_a_command_that_was_interrupted_or_killed_is_taken_up_by_its_id_and_ends_with_its_own_code(at_hand, tmp_path):
    begin, whole = at_hand
    text = (
        f"touch {tmp_path}/begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo done >> {tmp_path}/ran; exit 5"
    )
    first = begin(*one_command("sh", "-c", text))
    until((tmp_path / "begun").exists)
    name = interrupted(first)
    second = begin("--resume", name[:8])
    time.sleep(2.0)
    second.kill()
    second.communicate()

    (tmp_path / "go").touch()
    code, out, err = whole("--resume", name, "--json")
    over = whole("--resume", name, "--json")

    assert code == 5, err
    assert (tmp_path / "ran").read_text() == "done\n"
    assert json.loads(out)["jobs"][0]["state"] == "failed"
    assert (over[0], "it is over" in over[2]) == (5, True)
    assert whole("--list", "--json")[1].count('"over": true') == 1


def test_a_command_is_cancelled_by_its_id_but_not_under_who_leads_it(at_hand, tmp_path):
    begin, whole = at_hand
    first = begin(*one_command("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"))
    until((tmp_path / "pid").exists)
    name = json.loads(whole("--list", "--json")[1])["following"]
    led = whole("--cancel", name)
    interrupted(first)

    code, out, err = whole("--cancel", name, "--json")

    assert led[0] == 125
    assert "leads" in led[2]
    assert (code, json.loads(out)["jobs"][0]["state"]) == (0, "cancelled"), err
    until(lambda: not Path("/proc", (tmp_path / "pid").read_text().strip()).exists())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--resume", "nothing"], "nothing of the id 'nothing'"),
        (["--cancel", ""], "nothing of the id ''"),
        (["--resume", "abc", "--cancel", "abc"], "give one"),
        (["--resume", "abc", "--on", "slurm"], "leave --on out"),
        (["--resume", "abc", "plan.json"], "give one"),
    ],
)
def test_what_cannot_be_taken_up_is_said(args, said, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["run", "--ledger", str(world.path), *args]) == 125
    assert said in capsys.readouterr().err


def test_a_beginning_that_two_have_is_not_guessed(world, day):
    from outweigh.app.taking_up import _found

    name = world.follow(day.planned([day.job()]))
    assert _found(world.store, name[:6]) == name
    world.store.followings = lambda: [("aa", ""), ("ab", "")]

    with pytest.raises(UsageError, match="2 followings begin with 'a'"):
        _found(world.store, "a")
