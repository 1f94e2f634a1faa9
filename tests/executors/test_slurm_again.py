"""A Slurm job that has to be submitted once more, arrays whose tasks end otherwise, and what scripts say of themselves:
on commands whose answers are written here. The fields are those of `squeue --json` (22.05).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from outweigh.backends.executors._slurm_tools import _failure
from outweigh.backends.executors.slurm import SlurmExecutor
from outweigh.core.errors import ExecutorUnavailable, JobRefused
from outweigh.core.jobs import Checkpoint, JobRequest, JobState

NOW = datetime(2026, 12, 1, tzinfo=UTC)
NO_ANSWER = ExecutorUnavailable("slurm", "sbatch did not answer within 30 s", "See whether slurmctld is up")
LIMIT = _failure(
    ["sbatch"],
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)",
    "k-1",
)  # slurm_errno.c, ESLURM_ACCOUNTING_POLICY


class Scripted:
    """An executor whose Slurm says what a test writes down."""

    def __init__(self, folder):
        self.folder, self.now = folder, NOW
        self.jobs, self.sbatch, self.asked = [], "7", []
        self.executor = SlurmExecutor(folder=folder, now=lambda: self.now)
        self.executor._tools.run = self.run

    def run(self, *command, key="", stdin=None):
        self.asked.append(command)
        if command[0] == "sinfo":
            return "(null)|4|8|idle\n"
        if command[0] == "squeue":
            return json.dumps({"errors": [], "jobs": self.jobs})
        if command[0] == "sbatch":
            if isinstance(self.sbatch, Exception):
                raise self.sbatch
            return self.sbatch
        return "MinJobAge = 300\n" if command[1:3] == ("show", "config") else ""

    def shows(self, state, *, number=7, key="k-1", code=0, task=None, reason="None"):
        at = int(self.now.timestamp())
        return {
            "job_id": number, "array_job_id": 0 if task is None else 7, "array_task_id": task, "job_state": state,
            "comment": f"outweigh:{key}", "state_reason": reason, "restart_cnt": 0, "start_time": at, "end_time": at,
            "nodes": "n1", "features": "", "exit_code": code << 8, "submit_time": at,
        }  # fmt: skip

    def look(self, *jobs, after_s=5.0):
        self.now += timedelta(seconds=after_s)
        self.jobs = list(jobs)
        return self.executor.observe()

    def asked_for(self, *words):
        return [each for each in self.asked if each[: len(words)] == words]

    def has_saved(self, key="k-1"):
        """It ran, and could not be put back in the queue when it had saved."""
        self.executor.submit(JobRequest(key, ("train",), checkpoint=Checkpoint("USR1")))
        self.look(self.shows("RUNNING"))
        at = self.now.timestamp()
        for mark, text in (
            ("0.turn", "h b:1 1 1 7.0"), ("0.begin", f"{at} h 1 1"), ("0.end", f"{at + 60} 85 1 0"),
        ):  # fmt: skip
            (self.folder / f"{key}.{mark}").write_text(f"{text}\n")


@pytest.fixture
def scripted(tmp_path):
    return Scripted(tmp_path)


@pytest.mark.parametrize("still_shown", [True, False])
def test_what_saved_is_submitted_again_in_a_later_look_where_sbatch_did_not_answer(scripted, still_shown):
    scripted.has_saved()
    ended = [scripted.shows("FAILED", code=85)]
    scripted.sbatch = NO_ANSWER
    silent = scripted.look(*ended, after_s=70)["k-1"]

    scripted.sbatch = "8"
    again = scripted.look(*(ended if still_shown else []))["k-1"]

    assert (silent.state, again.state, again.id) == (JobState.WAITING, JobState.WAITING, "8")
    assert len(again.stints) == 1
    assert len(scripted.asked_for("sbatch")) == 3


def test_a_second_submission_whose_answer_was_lost_is_found_and_not_made_twice(scripted):
    scripted.has_saved()
    ended = scripted.shows("FAILED", code=85)
    scripted.sbatch = NO_ANSWER
    scripted.look(ended, after_s=70)

    scripted.sbatch = "9"
    found = scripted.look(ended, scripted.shows("PENDING", number=8))["k-1"]

    assert found.id == "8"
    assert len(scripted.asked_for("sbatch")) == 2


def test_a_second_submission_that_is_refused_is_said_at_its_job_and_hides_no_other(scripted):
    scripted.has_saved()
    scripted.sbatch = "17"
    scripted.executor.submit(JobRequest("k-2", ("train",)))
    shown = scripted.shows("FAILED", code=85), scripted.shows("RUNNING", number=17, key="k-2")
    scripted.sbatch = LIMIT
    scripted.look(*shown, after_s=70)
    seen = scripted.look(*shown)
    tried = len(scripted.asked_for("sbatch"))
    scripted.executor.release("k-1")  # what is asked of it meanwhile is kept for when Slurm takes it

    scripted.sbatch = "8"
    again = scripted.look(*shown, after_s=61)["k-1"]

    assert set(seen) == {"k-1", "k-2"}
    assert any("could not be submitted again" in note and "QOS" in note for note in seen["k-1"].notes)
    assert tried == 3  # two jobs, and one more: a refusal is met with patience
    assert (again.id, again.reason) == ("8", "")


def test_one_that_is_to_be_submitted_again_can_be_cancelled(scripted):
    scripted.has_saved()
    scripted.sbatch = LIMIT
    scripted.look(after_s=70)

    scripted.executor.cancel("k-1")

    assert scripted.look()["k-1"].state is JobState.CANCELLED
    assert not scripted.asked_for("scancel")


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [("TIMEOUT", 0, 124), ("NODE_FAIL", 0, 137), ("OUT_OF_MEMORY", 0, 137), ("DEADLINE", 0, 137), ("FAILED", 3, 3)],
)
def test_an_array_has_failed_when_a_task_did_not_complete_whatever_its_exit_code(scripted, state, code, expected):
    scripted.executor.submit(JobRequest("k-1", ("sbatch", "--array=0-1", "--wrap", "true")))

    done = scripted.look(scripted.shows("COMPLETED", task=0), scripted.shows(state, number=8, task=1, code=code))["k-1"]

    assert (done.state, done.exit_code, done.reason) == (JobState.FAILED, expected, "1 tasks failed")


def test_a_task_that_failed_and_was_forgotten_before_the_last_one_ended_still_counts(scripted):
    scripted.executor.submit(JobRequest("k-1", ("sbatch", "--array=0-1", "--wrap", "true")))
    scripted.look(scripted.shows("FAILED", task=0, code=1), scripted.shows("RUNNING", number=8, task=1))

    done = scripted.look(scripted.shows("COMPLETED", number=8, task=1), after_s=600)["k-1"]

    assert (done.state, done.exit_code) == (JobState.FAILED, 1)


def test_a_task_that_failed_with_its_node_and_was_put_back_counts_by_how_it_ended_then(scripted):
    scripted.executor.submit(JobRequest("k-1", ("sbatch", "--array=0-1", "--wrap", "true")))
    scripted.look(scripted.shows("NODE_FAIL", task=0), scripted.shows("RUNNING", number=8, task=1))
    scripted.look(scripted.shows("PENDING", task=0), scripted.shows("COMPLETED", number=8, task=1))

    done = scripted.look(scripted.shows("COMPLETED", task=0), scripted.shows("COMPLETED", number=8, task=1))["k-1"]

    assert (done.state, done.exit_code) == (JobState.COMPLETED, 0)


def test_many_releases_after_one_look_do_not_read_the_queue_again(scripted):
    keys = [f"k-{number}" for number in range(20)]
    for number, key in enumerate(keys):
        scripted.sbatch = str(100 + number)
        scripted.executor.submit(JobRequest(key, ("train",), hold=True))
    scripted.look(
        *(scripted.shows("PENDING", number=100 + n, key=key, reason="JobHeldUser") for n, key in enumerate(keys))
    )
    read = len(scripted.asked_for("squeue"))

    for key in keys:
        scripted.executor.release(key)
    at_once = len(scripted.asked_for("squeue"))
    scripted.now += timedelta(minutes=1)
    scripted.executor.release("k-0", begin=scripted.now + timedelta(hours=1))

    assert at_once == read
    assert len(set(scripted.asked_for("scontrol", "release"))) == len(keys)
    assert len(scripted.asked_for("squeue")) == read + 1  # what was seen a minute ago is looked up


@pytest.mark.parametrize(
    ("said", "checkpoint", "expected"),
    [
        ("", None, {"--comment=outweigh:k-1", "--open-mode=append"}),
        ("", Checkpoint(), {"--comment=outweigh:k-1", "--open-mode=append", "--requeue"}),
        ("--no-requeue --comment=billing-42", None, {"--comment=billing-42 outweigh:k-1", "--open-mode=append"}),
        ('--comment "two words" --open-mode=truncate', None, {"--comment=two words outweigh:k-1"}),
        ("--no-requeue", Checkpoint(), {"--comment=outweigh:k-1", "--open-mode=append"}),
    ],
)
def test_what_a_script_says_of_itself_is_kept(scripted, said, checkpoint, expected):
    script = scripted.folder / "train.sh"
    script.write_text(f"#!/bin/sh\n#SBATCH {said}\ntrue\n" if said else "#!/bin/sh\ntrue\n")

    scripted.executor.submit(JobRequest("k-1", ("sbatch", str(script)), checkpoint=checkpoint))

    (words,) = scripted.asked_for("sbatch")
    assert {w for w in words if w.startswith(("--comment", "--open-mode", "--requeue"))} == expected


def test_a_script_that_must_not_be_started_again_is_not_paused_by_its_checkpoint_and_that_is_said(scripted):
    command = ("sbatch", "--no-requeue", "--wrap", "true")
    scripted.executor.submit(JobRequest("k-1", command, checkpoint=Checkpoint()))
    seen = scripted.look(scripted.shows("RUNNING"))["k-1"]

    scripted.executor.pause("k-1")

    assert any("--no-requeue" in note for note in seen.notes)
    assert scripted.asked_for("scontrol", "suspend")
    assert not scripted.asked_for("scancel")


def test_a_script_whose_lines_cannot_be_read_is_refused(scripted):
    script = scripted.folder / "train.sh"
    script.write_text("#!/bin/sh\n#SBATCH --comment='open\ntrue\n")

    with pytest.raises(JobRefused, match="cannot be read"):
        scripted.executor.submit(JobRequest("k-1", ("sbatch", str(script))))
