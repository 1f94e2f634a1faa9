"""Starts of one Slurm job take turns: by the shell that stands in its batch script, and by who reads its marks."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from outweigh.backends.executors._records import Record, Records
from outweigh.backends.executors._slurm_following import Following
from outweigh.backends.executors._slurm_tools import SlurmJob
from outweigh.backends.executors._slurm_turns import WRAPPER, read_done, read_turns
from outweigh.core.jobs import Checkpoint, JobRequest, JobState

PATIENCE_S = 60.0
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


class Job:
    """A job's marks in a folder, and starts of it as Slurm makes them: each a process group of its own."""

    def __init__(self, folder):
        self.prefix, self.count = folder / "marks" / "job", folder / "count"
        self.prefix.parent.mkdir()
        self.started = []

    def start(self, command, attempt="7.0", save=""):
        words = [
            "sh",
            "-c",
            WRAPPER + 'exit "$code_"\n',
            "job",
            str(self.prefix),
            attempt,
            save,
            "",
            "sh",
            "-c",
            command,
        ]
        self.started.append(subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL))
        return self.started[-1]

    def ends(self):
        return [one.wait(PATIENCE_S) for one in self.started]

    def has(self, mark):
        return self.prefix.with_name(f"job.{mark}").exists()

    def until(self, mark):
        end_s = time.monotonic() + PATIENCE_S
        while not self.has(mark):
            assert time.monotonic() < end_s, f"no {mark} in {sorted(self.prefix.parent.iterdir())}"
            time.sleep(0.02)

    @property
    def completions(self):
        return self.count.read_text().count("x") if self.count.exists() else 0

    def turns(self):
        return read_turns(self.prefix)


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    yield made
    for one in made.started:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGKILL)
        one.wait(PATIENCE_S)


def test_of_many_starts_under_one_id_and_restart_count_one_completes(job):
    for _ in range(5):
        job.start(f"sleep 0.5 && echo x >> {job.count}")

    job.ends()

    assert job.completions == 1
    assert {turn.attempt for turn in job.turns()} == {"7.0"}
    assert all(turn.end is not None for turn in job.turns())


def test_a_start_makes_the_one_before_leave_and_begins_when_it_has(job):
    first = job.start("sleep 60")
    job.until("0.begin")
    job.start(f"echo x >> {job.count}", attempt="7.1")

    ended = job.ends()

    before, after = job.turns()
    assert ended == [143, 0]
    assert first.returncode == 143
    assert before.end.at <= after.begin.at
    assert (before.end.terminated, after.end.terminated) == (True, False)
    assert job.completions == 1


def test_what_has_completed_is_not_started_again(job):
    job.start(f"echo x >> {job.count}")
    job.ends()

    job.start(f"echo x >> {job.count}", attempt="8.0")

    assert job.ends() == [0, 0]
    assert job.completions == 1
    assert job.turns()[1].begin is None
    assert read_done(job.prefix, job.turns(), NOW) == job.turns()[0].end


def test_what_was_killed_without_a_word_is_followed_by_the_next(job):
    first = job.start(f"sleep 60 && echo x >> {job.count}")
    job.until("0.begin")
    os.killpg(first.pid, signal.SIGKILL)

    job.start(f"echo x >> {job.count}")

    assert job.ends() == [-signal.SIGKILL, 0]
    assert job.completions == 1
    assert [turn.end is None for turn in job.turns()] == [True, False]


def test_a_turn_on_another_machine_is_waited_for(job):
    job.prefix.with_name("job.0.turn").write_text("elsewhere boot:pid 1 1 7.0\n")
    job.start(f"echo x >> {job.count}", attempt="7.1")
    job.until("latest")
    time.sleep(0.7)

    waited = not job.has("1.begin")
    job.prefix.with_name("job.0.end").write_text("1795760347.5 143 0 1\n")

    assert job.ends() == [0]
    assert waited
    assert job.completions == 1


def test_what_stops_well_when_it_is_told_to_end_has_not_completed(job):
    one = job.start("trap 'exit 0' TERM; while :; do sleep 0.05; done")
    job.until("0.traps")

    os.killpg(one.pid, signal.SIGTERM)
    job.ends()

    (turn,) = job.turns()
    assert (turn.end.exit_code, turn.end.terminated) == (0, True)
    assert not job.has("done")


def test_a_folder_that_is_not_there_stops_no_job(job):
    job.prefix = job.prefix.parent / "gone" / "job"

    job.start(f"echo x >> {job.count}")

    assert job.ends() == [0]
    assert job.completions == 1
    assert job.turns() == []


# --- what is made of the marks ---------------------------------------------------------------------


class Read:
    """A record and its marks, without a Slurm."""

    def __init__(self, folder, checkpoint=None):
        self.records = Records("slurm", folder)
        self.folder = folder
        self.asked = []
        self.following = Following(self.records, self, lambda: NOW)
        request = JobRequest("job", ("true",), site="se", checkpoint=checkpoint)
        self.record = Record(request, NOW - timedelta(hours=1), JobState.RUNNING, "se", handle="7", attempt=0)

    def run(self, *command, key=""):
        self.asked.append(command)

    def mark(self, name, text):
        (self.folder / f"job.{name}").write_text(text)

    def turn(self, number, attempt, *, begin=None, end=None):
        self.mark(f"{number}.turn", f"node boot:pid 1 1 {attempt}\n")
        if begin is not None:
            self.mark(f"{number}.begin", f"{(NOW + timedelta(seconds=begin)).timestamp()} node 1 1\n")
        if end is not None:
            at, code, terminated = end
            self.mark(f"{number}.end", f"{(NOW + timedelta(seconds=at)).timestamp()} {code} 0 {terminated}\n")

    def shown(self, state, *, restarts=0, started=None, ended=None, code=0, reason=""):
        at = [None if each is None else NOW + timedelta(seconds=each) for each in (started, ended)]
        job = SlurmJob(
            7, 7, "", "outweigh:job", state, reason, reason.startswith("JobHeld"), restarts, "se", ("se1",), NOW, NOW,
            *at, None, code,
        )  # fmt: skip
        return self.following.follow(self.record, [job])


@pytest.fixture
def read(tmp_path):
    return Read(tmp_path)


def test_the_end_of_an_earlier_start_under_the_same_count_is_not_that_of_the_later(read):
    read.turn(0, "7.0", begin=-300, end=(-200, 143, 1))
    read.turn(1, "7.0", begin=-100)

    again = read.shown("RUNNING", started=-101)

    assert not again
    assert read.record.state is JobState.RUNNING
    assert [(stint.start, stint.end) for stint in read.record.stints] == [
        (NOW - timedelta(seconds=300), NOW - timedelta(seconds=200)),
        (NOW - timedelta(seconds=100), None),
    ]


def test_what_began_and_was_put_back_before_anybody_looked_has_worked_until_then(read):
    read.turn(0, "7.0", begin=-300)

    read.shown("PENDING")

    (stint,) = read.record.stints
    assert (stint.start, stint.end) == (NOW - timedelta(seconds=300), NOW)
    assert read.record.state is JobState.WAITING


def test_what_begins_while_it_is_listed_as_waiting_is_not_taken_for_put_back(read):
    read.turn(0, "7.0", begin=-1)
    read.shown("PENDING")

    read.shown("RUNNING", started=-1)
    read.turn(0, "7.0", begin=-1, end=(0, 0, 0))
    read.mark("done", "")
    read.shown("COMPLETED", started=-1, ended=0)

    (stint,) = read.record.stints
    assert (stint.start, stint.end) == (NOW - timedelta(seconds=1), NOW)


def test_a_launch_that_slurm_refused_is_asked_for_again_and_not_for_ever(read):
    read.turn(0, "7.0", begin=-300, end=(-200, 143, 1))
    asked = []
    for _ in range(4):
        read.record.handle = "7"
        asked.append(read.shown("FAILED", restarts=1, started=-10, ended=-10, code=1))

    assert asked == [True, True, True, False]
    assert read.record.state is JobState.FAILED


def test_what_failed_where_no_job_leaves_marks_has_failed(read):
    assert not read.shown("FAILED", started=-10, ended=-10, code=1)

    assert read.record.state is JobState.FAILED


def test_what_has_saved_and_could_not_be_queued_again_is_submitted_again(tmp_path):
    read = Read(tmp_path, checkpoint=Checkpoint())
    read.record.state, read.record.asked = JobState.PAUSING, NOW - timedelta(seconds=20)
    read.turn(0, "7.0", begin=-300, end=(-15, 85, 0))

    again = read.shown("FAILED", started=-300, ended=-5, code=85)

    assert again
    assert read.record.state is JobState.HELD
    assert "could not be requeued" in read.record.notes[0]


def test_a_completion_whose_last_word_is_missing_is_believed_a_little_later(read):
    read.turn(0, "7.0", begin=-300)
    read.mark("done", "")
    done = read.folder / "job.done"

    os.utime(done, times=((NOW - timedelta(seconds=1)).timestamp(),) * 2)
    read.shown("RUNNING", started=-301)
    at_once = read.record.state
    os.utime(done, times=((NOW - timedelta(seconds=9)).timestamp(),) * 2)
    read.shown("RUNNING", started=-301)

    assert at_once is JobState.RUNNING
    assert (read.record.state, read.record.ended) == (JobState.COMPLETED, NOW - timedelta(seconds=9))


def test_a_job_that_has_ended_and_waits_to_be_run_again_is_taken_out_of_the_queue(read):
    read.turn(0, "7.0", begin=-300, end=(-200, 0, 0))
    read.mark("done", "")

    read.shown("PENDING", restarts=1)

    assert read.record.state is JobState.COMPLETED
    assert ("scancel", "7") in read.asked
