"""What only Slurm does: its own submit command, arrays, licences, lost answers, and daemons that are killed."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import tempfile
import textwrap
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.executors._slurm_tools import SlurmTools
from outweigh.core.errors import ExecutorUnavailable, JobRefused, NotPermitted
from outweigh.core.jobs import JobRequest, JobState
from outweigh.registry import job_executors

slurm = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("slurm_cluster.py"))))
ENDED = tuple(state for state in JobState if state.over)


def written(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def shown(case, field):
    """What `squeue --json` says of the jobs of this test, one value each."""
    jobs = json.loads(case.cluster.run("squeue", "--json"))["jobs"]
    return [job[field] for job in jobs if job["comment"].startswith(f"outweigh:t{case._number}-")]


def test_a_command_that_begins_with_sbatch_keeps_its_options_its_directives_and_its_arguments(on_slurm):
    executor = on_slurm.make()
    script = written(
        on_slurm.folder / "train.sh",
        f"""\
        #!/bin/bash
        #SBATCH --job-name=night
        #SBATCH -C se|fr
        #SBATCH --output={on_slurm.folder}/said
        echo "$SLURM_JOB_NAME $1 $2 ${{BASH_VERSION:+bash}}"
        exit 4
        """,
    )
    command = ("sbatch", "--nice=7", script.name, "a b", "c")
    request = JobRequest("t-typed", command, site="fr", cwd=str(on_slurm.folder), hold=True)

    executor.submit(request)
    script.write_text("#!/bin/sh\nexit 99\n")  # sbatch takes a copy, and so do we
    executor.release(request.key)
    done = on_slurm.until(executor, request.key, *ENDED)

    assert (done.state, done.exit_code, done.site) == (JobState.FAILED, 4, "fr")
    assert done.stints[0].nodes == ("fr1",)
    assert (on_slurm.folder / "said").read_text() == "night a b c bash\n"
    assert "Features=(se|fr)&fr" in on_slurm.cluster.run("scontrol", "show", "job", done.id)


def test_what_sbatch_would_wrap_is_run_and_sbatch_without_a_script_is_refused(on_slurm):
    executor = on_slurm.make()

    executor.submit(JobRequest("t-wrap", ("sbatch", "--output=/dev/null", "--wrap", "exit 6")))
    with pytest.raises(JobRefused) as caught:
        executor.submit(JobRequest("t-none", ("sbatch", "nowhere.sh")))

    assert on_slurm.until(executor, "t-wrap", *ENDED).exit_code == 6
    assert "--wrap" in caught.value.remedy
    assert executor.find("t-none") is None


def test_an_array_is_one_job_that_is_over_when_all_its_tasks_are(on_slurm):
    executor = on_slurm.make()
    wrapped = "sleep 0.3; test $SLURM_ARRAY_TASK_ID -ne 2"
    request = JobRequest(on_slurm._key(), ("sbatch", "--array=0-2", "--output=/dev/null", "--wrap", wrapped), hold=True)

    held = executor.submit(request)
    executor.release(request.key)
    done = on_slurm.until(executor, request.key, *ENDED)

    assert held.state is JobState.HELD
    assert (done.state, done.exit_code) == (JobState.FAILED, 1)
    assert sorted(shown(on_slurm, "job_state")) == ["COMPLETED", "COMPLETED", "FAILED"]


def test_watts_beyond_the_licence_wait(on_slurm):
    kind = job_executors.get("slurm")
    executor = kind(
        folder=on_slurm.folder / "jobs", licence="watts", environment={"SLURM_CONF": str(on_slurm.cluster.conf)}
    )
    first, second = on_slurm.job(20, power_w=700.0), on_slurm.job(0.1, power_w=700.0)
    executor.submit(first)
    on_slurm.until(executor, first.key, JobState.RUNNING)

    executor.submit(second)
    waiting = on_slurm.until(executor, second.key, JobState.WAITING, also=lambda status: status.reason == "Licenses")
    executor.cancel(first.key)

    assert waiting.started is None
    assert on_slurm.until(executor, second.key, *ENDED).state is JobState.COMPLETED


def test_a_submit_whose_answer_was_lost_is_found_again_and_not_doubled(on_slurm, monkeypatch):
    tools = on_slurm.folder / "bin"
    tools.mkdir()
    lost = written(
        tools / "sbatch",
        f"""\
        #!/bin/sh
        {shutil.which("sbatch")} "$@" >/dev/null
        echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
        exit 1
        """,
    )
    lost.chmod(0o755)
    executor, request = on_slurm.make(), on_slurm.job(0.1)

    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        with pytest.raises(ExecutorUnavailable):
            executor.submit(request)
    found = on_slurm.make().submit(request)
    on_slurm.until(executor, request.key, *ENDED)

    assert shown(on_slurm, "job_id") == [int(found.id)]


def test_a_submit_that_was_never_heard_is_made_once_when_it_is_asked_again(on_slurm, monkeypatch):
    tools = on_slurm.folder / "bin"
    tools.mkdir()
    deaf = written(
        tools / "sbatch", "#!/bin/sh\necho 'Unable to contact slurm controller (connect failure)' >&2\nexit 1\n"
    )
    deaf.chmod(0o755)
    executor, request = on_slurm.make(), on_slurm.job(0.1)

    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        with pytest.raises(ExecutorUnavailable):
            executor.submit(request)
    missing = executor.find(request.key)
    executor.submit(request)

    assert missing is None
    assert on_slurm.until(executor, request.key, *ENDED).state is JobState.COMPLETED
    assert len(shown(on_slurm, "job_id")) == 1


def test_a_job_that_slurm_takes_back_is_not_over_though_it_stopped_well(on_slurm):
    executor = on_slurm.make()
    count = on_slurm.folder / "starts"
    text = f"echo x >> {count}; trap 'exit 0' TERM; [ $(wc -l < {count}) -gt 1 ] || {{ sleep 60 & wait; }}"
    request = JobRequest(on_slurm._key(), ("sh", "-c", text))
    executor.submit(request)
    running = on_slurm.until(executor, request.key, JobState.RUNNING, also=lambda _: count.exists())

    on_slurm.cluster.run("scontrol", "requeue", running.id)  # as a preemption does
    on_slurm.until(executor, request.key, JobState.WAITING)
    executor.release(request.key)
    done = on_slurm.until(executor, request.key, *ENDED)

    assert (done.state, done.restarts, len(done.stints)) == (JobState.COMPLETED, 1, 2)
    assert count.read_text().count("x") == 2


@pytest.fixture
def open_slurm(tmp_path, slurm_case):
    """A cluster in a folder that other users may read."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        Path(folder).chmod(0o755)
        with slurm.slurm_cluster(Path(folder) / "c") as running:
            (Path(folder) / "c").chmod(0o755)
            yield slurm_case(tmp_path, running)


@pytest.mark.slow
def test_what_a_user_may_not_do_is_said_and_the_job_goes_on(open_slurm, monkeypatch):
    case = open_slurm
    executor = case.make()
    held, running, deaf = case.job(20, begin=case.now() + timedelta(hours=1)), case.job(3), case.deaf(30)
    for request in (held, running, deaf):
        executor.submit(request)
    for request in (running, deaf):
        case.until(executor, request.key, JobState.RUNNING)
    case.later(1.0)
    tools = case.folder / "bin"
    tools.mkdir()
    real, setpriv = shutil.which("scontrol"), shutil.which("setpriv")
    shim = written(
        tools / "scontrol",
        f'#!/bin/sh\nexec {setpriv} --reuid=65534 --regid=65534 --clear-groups {real} "$@"\n',
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    with pytest.raises(NotPermitted):
        executor.hold(held.key)
    with pytest.raises(NotPermitted):
        executor.pause(running.key)
    executor.pause(deaf.key)
    told = case.until(executor, deaf.key, JobState.RUNNING, also=lambda status: bool(status.notes))

    assert executor.observe((held.key,))[held.key].state is JobState.WAITING
    assert "may not suspend" in told.notes[0]
    assert case.until(executor, running.key, *ENDED).state is JobState.COMPLETED
    assert case.until(executor, deaf.key, *ENDED).state is JobState.COMPLETED


def test_slurm_without_json_says_the_same(on_slurm):
    executor, request = on_slurm.make(), on_slurm.job(0.1, code=3, site="se")
    executor.submit(request)
    done = on_slurm.until(executor, request.key, *ENDED)
    tools = SlurmTools({"SLURM_CONF": str(on_slurm.cluster.conf)})

    def told():
        return next(job for job in tools.jobs() if str(job.id) == done.id)

    end_s = time.monotonic() + 60.0
    while (with_json := told()).state != "FAILED":  # it has left its end before Slurm says so
        assert time.monotonic() < end_s, f"still {with_json}"
        time.sleep(0.1)
    tools._has_json = False
    without = told()

    assert without == with_json
    assert (without.exit_code, without.features, without.nodes) == (3, "se", ("se1",))


def test_no_slurm_here_is_said_and_so_is_a_controller_that_does_not_answer(tmp_path, monkeypatch):
    kind = job_executors.get("slurm")
    conf = written(tmp_path / "slurm.conf", "ClusterName=t\nSlurmctldHost=localhost\n")
    executor = kind(folder=tmp_path / "jobs", environment={"SLURM_CONF": str(conf)})

    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert "not on the PATH" in kind.probe().reason
        with pytest.raises(ExecutorUnavailable):
            executor.submit(JobRequest("t-a", ("true",)))


@pytest.mark.slow
def test_a_controller_that_is_killed_doubles_nothing_and_loses_nothing(on_own_slurm):
    case = on_own_slurm
    executor = case.make()
    jobs = [case.job(0.2 + 0.3 * (number % 4), site=case.sites[number % 2]) for number in range(6)]
    held = case.job(0.1, hold=True)
    for request in (*jobs, held):
        executor.submit(request)

    case.cluster.kill_controller()
    with pytest.raises(ExecutorUnavailable):
        executor.observe()
    case.cluster.start_controller()
    case.cluster.until_ready()
    done = [case.until(executor, request.key, *ENDED) for request in jobs]

    assert {status.state for status in done} == {JobState.COMPLETED}
    assert executor.observe((held.key,))[held.key].state is JobState.HELD
    completions = list((case.folder / "jobs").glob("*.done"))
    assert len(completions) == len(jobs)


def completions(case, request):
    """How often the command itself came to its end."""
    return (case.folder / f"{request.key}.done").read_text().count("done")


@pytest.mark.slow
def test_a_job_is_run_to_its_end_once_though_its_node_is_killed_and_another_site_is_named(on_own_slurm):
    case = on_own_slurm
    executor = case.make()
    request = case.until_told(site="se")
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    case.cluster.kill_node("se")  # its job goes on, and Slurm gives it up
    waiting = case.until(executor, request.key, JobState.WAITING)
    known = executor.sites()
    executor.move(request.key, "fr")
    executor.release(request.key)
    case.until(executor, request.key, JobState.RUNNING, also=lambda status: status.stints[-1].site == "fr")
    case.tell(request)
    done = case.until(executor, request.key, *ENDED)

    assert waiting.stints[-1].end is not None
    assert "se" not in known
    assert (done.state, done.restarts) == (JobState.COMPLETED, 1)
    assert [stint.site for stint in done.stints] == ["se", "fr"]
    assert completions(case, request) == 1


@pytest.mark.slow
def test_a_job_that_ends_on_a_node_that_was_killed_is_over_and_not_started_again(on_own_slurm):
    case = on_own_slurm
    executor = case.make()
    request = case.saving(20, site="se")
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    case.cluster.kill_node("se")
    done = case.until(executor, request.key, *ENDED)
    case.cluster.start_node("se")
    case.cluster.until_ready()
    case.later(2.0)

    assert done.state is JobState.COMPLETED
    assert executor.observe((request.key,))[request.key].ended == done.ended
    assert completions(case, request) == 1


def test_what_a_script_says_of_itself_is_kept_and_its_job_is_found_by_its_comment_all_the_same(on_slurm):
    executor = on_slurm.make()
    script = written(
        on_slurm.folder / "train.sh",
        "#!/bin/sh\n#SBATCH --no-requeue --comment=billing-42 --open-mode=truncate --output=/dev/null\nsleep 0.1\n",
    )
    request = JobRequest(on_slurm._key(), ("sbatch", str(script)), hold=True)

    held = executor.submit(request)
    told = on_slurm.cluster.run("scontrol", "show", "job", held.id)
    executor.release(request.key)
    done = on_slurm.until(on_slurm.make(), request.key, *ENDED)

    assert f"Comment=billing-42 outweigh:{request.key}" in told
    assert "Requeue=0" in told
    assert done.state is JobState.COMPLETED
