"""What only jobs on this machine do: they outlive who started them, and are told from others of the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from outweigh.core.errors import ExecutorUnavailable, UsageError
from outweigh.core.jobs import JobRequest, JobState
from outweigh.registry import job_executors

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="jobs are found again by /proc")
ENDED = tuple(state for state in JobState if state.over)


@pytest.fixture
def executor(tmp_path):
    made = job_executors.get("local").make(folder=tmp_path / "jobs")
    yield made
    for key, status in made.observe().items():
        if not status.state.over:
            made.cancel(key)
            until(made, key, *ENDED)
    made.close()


def until(executor, key, *states):
    end_s = time.monotonic() + 60.0
    while (status := executor.observe()[key]).state not in states:
        assert time.monotonic() < end_s, f"still {status}"
        time.sleep(0.05)
    return status


def submitting(folder, *, then="", command=("sh", "-c", "sleep 1; exit 5"), key="a"):
    """A process of its own that submits a job, and then does as it is told."""
    code = f"""
        import os, pathlib, signal, time
        from outweigh.core.jobs import JobRequest
        from outweigh.registry import job_executors
        executor = job_executors.get("local").make(folder=pathlib.Path({str(folder)!r}))
        executor.submit(JobRequest({key!r}, {tuple(command)!r}))
        {then}
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


def test_a_job_outlives_who_submitted_it_and_its_exit_code_is_known_to_the_next(executor, tmp_path):
    submitter = submitting(tmp_path / "jobs", then="os.kill(os.getpid(), signal.SIGKILL)")

    assert submitter.wait(30) == -signal.SIGKILL
    done = until(executor, "a", *ENDED)

    assert (done.state, done.exit_code) == (JobState.FAILED, 5)


def test_two_who_submit_the_same_key_at_once_run_it_once(executor, tmp_path):
    count = tmp_path / "count"
    command = ("sh", "-c", f"echo x >> {count}")
    both = [submitting(tmp_path / "jobs", command=command) for _ in range(2)]

    assert [each.wait(60) for each in both] == [0, 0]
    until(executor, "a", *ENDED)

    assert count.read_text() == "x\n"


def test_an_attempt_that_was_launched_and_never_heard_of_is_launched_again_and_cannot_run_twice(executor, tmp_path):
    count = tmp_path / "count"
    executor.submit(JobRequest("a", ("sh", "-c", f"echo x >> {count}; sleep 0.5")))
    with executor._records.locked():
        executor._spawn(executor._records.get("a"))  # as after a crash between writing it down and starting it
    done = until(executor, "a", *ENDED)

    assert (done.state, done.restarts) == (JobState.COMPLETED, 0)
    assert count.read_text() == "x\n"


def test_a_job_that_is_killed_from_outside_is_failed_and_that_is_said(executor, tmp_path):
    executor.submit(JobRequest("a", ("sleep", "60")))
    begin = tmp_path / "jobs" / "a.0.begin"
    end_s = time.monotonic() + 30
    while not begin.exists() or not begin.read_text():
        assert time.monotonic() < end_s
        time.sleep(0.05)

    os.killpg(int(begin.read_text().split()[2]), signal.SIGKILL)
    done = until(executor, "a", *ENDED)

    assert (done.state, done.exit_code) == (JobState.FAILED, 137)
    assert "left no exit code" in done.reason


def test_what_a_job_started_in_a_session_of_its_own_is_stopped_and_ended_with_it(executor, tmp_path):
    ticks = tmp_path / "ticks"
    text = f"setsid sh -c 'while sleep 0.05; do echo x >> {ticks}; done' & wait"
    executor.submit(JobRequest("a", ("sh", "-c", text)))
    end_s = time.monotonic() + 30
    while not ticks.exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)

    executor.pause("a")
    time.sleep(0.3)  # what was on its way
    before = ticks.stat().st_size
    time.sleep(0.5)
    stood_still = ticks.stat().st_size == before
    executor.cancel("a")
    done = until(executor, "a", *ENDED)

    assert stood_still
    assert done.state is JobState.CANCELLED


def test_a_job_that_ignores_being_ended_is_killed_after_its_grace(tmp_path):
    later = [0.0]

    def now():
        from datetime import UTC, datetime, timedelta

        return datetime.now(UTC) + timedelta(seconds=later[0])

    executor = job_executors.get("local").make(folder=tmp_path / "jobs", now=now)
    ready = tmp_path / "ready"
    executor.submit(JobRequest("a", ("sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done")))
    end_s = time.monotonic() + 30
    while not ready.exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)

    executor.cancel("a")
    asked = executor.observe()["a"].state
    later[0] = 60.0
    done = until(executor, "a", *ENDED)
    executor.close()

    assert asked is JobState.RUNNING
    assert done.state is JobState.CANCELLED


def test_a_command_that_is_not_there_fails_as_in_a_shell(executor):
    executor.submit(JobRequest("a", ("no-such-command",)))
    executor.submit(JobRequest("b", ("true",), cwd="/nowhere"))

    assert until(executor, "a", *ENDED).exit_code == 127
    assert until(executor, "b", *ENDED).exit_code == 126


def test_jobs_wait_for_room_at_their_site_in_the_order_they_came(tmp_path):
    executor = job_executors.get("local").make("se=1", folder=tmp_path / "jobs")
    executor.submit(JobRequest("a", ("sleep", "1"), site="se"))
    waiting = executor.submit(JobRequest("b", ("true",), site="se"))

    assert (waiting.state, waiting.reason) == (JobState.WAITING, "no room")
    first, second = until(executor, "a", *ENDED), until(executor, "b", *ENDED)
    executor.close()
    assert second.started >= first.ended


def test_a_folder_that_cannot_be_used_and_a_record_that_is_not_ours_are_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutorUnavailable):
        job_executors.get("local").make(folder=tmp_path / "file").submit(JobRequest("a", ("true",)))

    executor = job_executors.get("local").make(folder=tmp_path / "jobs")
    executor.submit(JobRequest("a", ("true",)))
    until(executor, "a", *ENDED)
    (tmp_path / "jobs" / "b.json").write_text("{")
    with pytest.raises(ExecutorUnavailable, match=r"b\.json"):
        executor.observe()


def test_a_site_of_no_room_is_no_site():
    with pytest.raises(UsageError, match="se=0"):
        job_executors.get("local").make("se=0")
