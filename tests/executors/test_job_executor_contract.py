"""What every executor promises of jobs, on each of them: `ports.JobExecutor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outweigh.core.errors import InvalidQuantity, JobOver, JobRefused, JobUnknown, NotOffered, SiteUnknown, UsageError
from outweigh.core.jobs import Ability, JobRequest, JobState
from outweigh.ports import JobExecutor
from outweigh.registry import job_executors

ENDED = tuple(state for state in JobState if state.over)


def needs(executor, *abilities):
    missing = set(abilities) - executor.abilities
    if missing:
        pytest.skip(f"{executor.name} has not the ability: {', '.join(missing)}")


def test_an_executor_keeps_the_port_and_says_what_it_sees(executor):
    assert isinstance(executor, JobExecutor)
    found = type(executor).probe()
    assert found.name == executor.name
    assert found.usable or (found.reason and found.remedy)


def test_a_job_runs_to_its_end_and_the_times_add_up(case, executor):
    request = case.job(0.5, site="se")

    executor.submit(request)
    done = case.until(executor, request.key, *ENDED)

    assert (done.state, done.exit_code, done.site) == (JobState.COMPLETED, 0, "se")
    assert done.submitted <= done.started + timedelta(seconds=1)  # a scheduler may keep whole seconds
    assert done.started < done.ended
    assert [stint.site for stint in done.stints] == ["se"]
    assert done.worked_s(case.now()) == pytest.approx((done.ended - done.started).total_seconds(), abs=1.01)
    assert all(moment.tzinfo is UTC for moment in (done.submitted, done.started, done.ended))
    assert done.simulated is executor.simulated


def test_the_exit_code_of_a_job_is_the_commands(case, executor):
    request = case.job(0.1, code=7)

    executor.submit(request)

    done = case.until(executor, request.key, *ENDED)
    assert (done.state, done.exit_code) == (JobState.FAILED, 7)


def test_the_same_key_again_is_the_same_job_even_when_it_has_ended(case, executor):
    request = case.job(0.1)

    first = executor.submit(request)
    again = executor.submit(request)
    case.until(executor, request.key, *ENDED)
    at_last = executor.submit(request)

    assert first.id == again.id == at_last.id
    assert at_last.state is JobState.COMPLETED
    assert [key for key in executor.observe() if key == request.key] == [request.key]


def test_whoever_comes_next_finds_the_jobs_by_their_keys(case, executor):
    request = case.job(1.0, hold=True)
    submitted = executor.submit(request)

    another = case.make()

    assert another.find(request.key).id == submitted.id
    assert another.submit(request).id == submitted.id
    another.close()


def test_a_held_job_starts_when_it_is_released_and_not_before(case, executor):
    request = case.job(0.2, hold=True)

    executor.submit(request)
    case.later(1.5)
    held = executor.observe((request.key,))[request.key]
    executor.release(request.key)

    assert (held.state, held.started) == (JobState.HELD, None)
    assert case.until(executor, request.key, *ENDED).state is JobState.COMPLETED


def test_a_job_with_a_begin_time_does_not_start_before_it(case, executor):
    begin = case.now() + timedelta(seconds=3)
    request = case.job(0.2, begin=begin)

    waiting = executor.submit(request)
    done = case.until(executor, request.key, *ENDED)

    assert waiting.state is JobState.WAITING
    assert abs(waiting.begin - begin) <= timedelta(seconds=1)
    assert done.started >= begin - timedelta(seconds=1)


def test_a_waiting_job_can_be_held_and_let_go_at_once(case, executor):
    request = case.job(0.2, begin=case.now() + timedelta(hours=1))
    executor.submit(request)

    executor.hold(request.key)
    executor.hold(request.key)
    held = executor.observe((request.key,))[request.key].state
    executor.release(request.key)

    assert held is JobState.HELD
    assert case.until(executor, request.key, *ENDED).state is JobState.COMPLETED


def test_a_released_job_may_be_given_a_later_time(case, executor):
    request = case.job(0.2, hold=True)
    executor.submit(request)

    executor.release(request.key, begin=case.now() + timedelta(hours=1))
    case.later(1.0)

    assert executor.observe((request.key,))[request.key].state is JobState.WAITING


def test_a_running_job_is_not_held(case, executor):
    request = case.job(20)
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    with pytest.raises(NotOffered):
        executor.hold(request.key)


def test_a_job_that_saves_is_paused_and_goes_on_where_it_was(case, executor):
    needs(executor, Ability.PAUSE)
    request = case.saving(25)
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)
    case.later(1.0)

    executor.pause(request.key)
    executor.pause(request.key)
    paused = case.until(executor, request.key, JobState.PAUSED)
    case.later(1.0)
    still = executor.observe((request.key,))[request.key]
    executor.resume(request.key)
    done = case.until(executor, request.key, *ENDED)

    assert paused.stints[-1].end is not None
    assert still.state is JobState.PAUSED
    assert (done.state, done.exit_code, done.restarts) == (JobState.COMPLETED, 0, 1)
    assert len(done.stints) == 2


def test_a_job_that_cannot_save_is_paused_in_place(case, executor):
    needs(executor, Ability.PAUSE_IN_PLACE)
    request = case.job(2.0)
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    executor.pause(request.key)
    paused = case.until(executor, request.key, JobState.PAUSED)
    executor.resume(request.key)
    done = case.until(executor, request.key, *ENDED)

    assert paused.stints[-1].end is not None
    assert (done.state, done.restarts) == (JobState.COMPLETED, 0)
    assert len(done.stints) == 2


def test_a_job_that_ignores_being_told_to_save_loses_nothing_and_that_is_said(case, executor):
    needs(executor, Ability.PAUSE_IN_PLACE)
    request = case.deaf(30)
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    executor.pause(request.key)
    told = case.until(executor, request.key, JobState.PAUSED, JobState.RUNNING, also=lambda status: bool(status.notes))
    executor.resume(request.key)
    done = case.until(executor, request.key, *ENDED)

    assert "did not save" in told.notes[0]
    assert (done.state, done.restarts) == (JobState.COMPLETED, 0)


def test_a_held_job_moves_to_another_site_and_stays_held(case, executor):
    needs(executor, Ability.MOVE_WAITING)
    request = case.job(0.2, site="se", hold=True)
    executor.submit(request)

    executor.move(request.key, "fr")
    held = executor.observe((request.key,))[request.key]
    executor.release(request.key)
    done = case.until(executor, request.key, *ENDED)

    assert (held.state, held.site) == (JobState.HELD, "fr")
    assert (done.state, done.stints[0].site) == (JobState.COMPLETED, "fr")


def test_a_job_that_has_saved_goes_on_at_another_site(case, executor):
    needs(executor, Ability.PAUSE, Ability.MOVE_PAUSED)
    request = case.saving(25, site="se")
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)
    case.later(1.0)

    executor.pause(request.key)
    case.until(executor, request.key, JobState.PAUSED)
    executor.move(request.key, "fr")
    executor.resume(request.key)
    done = case.until(executor, request.key, *ENDED)

    assert done.state is JobState.COMPLETED
    assert [stint.site for stint in done.stints] == ["se", "fr"]


def test_a_running_job_is_not_moved(case, executor):
    request = case.job(20, site="se")
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    with pytest.raises(NotOffered):
        executor.move(request.key, "fr")


def test_a_cancelled_job_is_over_and_cancelling_it_again_is_no_error(case, executor):
    request = case.job(60)
    executor.submit(request)
    case.until(executor, request.key, JobState.RUNNING)

    executor.cancel(request.key)
    done = case.until(executor, request.key, *ENDED)
    executor.cancel(request.key)

    assert done.state is JobState.CANCELLED
    assert done.stints[-1].end is not None


def test_a_held_job_can_be_cancelled(case, executor):
    request = case.job(60, hold=True)
    executor.submit(request)

    executor.cancel(request.key)

    assert case.until(executor, request.key, *ENDED).state is JobState.CANCELLED


def test_what_has_ended_is_not_held_paused_resumed_released_or_moved(case, executor):
    request = case.job(0.1)
    executor.submit(request)
    case.until(executor, request.key, *ENDED)

    for ask in (executor.hold, executor.release, executor.pause, executor.resume, lambda key: executor.move(key, "fr")):
        with pytest.raises(JobOver) as caught:
            ask(request.key)
        assert caught.value.key == request.key


def test_a_key_nobody_knows_is_said_to_be_unknown(executor):
    assert executor.find("nobody") is None
    assert "nobody" not in executor.observe(("nobody",))
    asks = (executor.hold, executor.release, executor.pause, executor.resume, executor.cancel)
    for ask in (*asks, lambda key: executor.move(key, "fr")):
        with pytest.raises(JobUnknown):
            ask("nobody")


def test_a_site_that_is_not_there_is_refused_with_those_that_are(case, executor):
    request = case.job(1, site="atlantis")

    with pytest.raises(SiteUnknown) as caught:
        executor.submit(request)

    assert set(case.sites) <= set(caught.value.known)
    assert executor.find(request.key) is None


def test_what_is_larger_than_all_there_is_is_refused(case, executor):
    request = case.job(1, cpus=100_000)

    with pytest.raises(JobRefused):
        executor.submit(request)

    assert executor.find(request.key) is None


@pytest.mark.parametrize("name", ["simulated", "local", "slurm", "ray", "kubernetes"])
def test_an_option_that_cannot_be_is_refused_with_a_remedy(name):
    with pytest.raises(UsageError) as caught:
        job_executors.get(name).make("=,=")

    assert caught.value.remedy


def test_what_a_shell_would_read_otherwise_reaches_the_command_as_it_is(case, executor):
    said = case.folder / "said it's $HOME"
    odd = "a 'b' \"c\" $HOME `x` \\ *; \n é"
    command = ("sh", "-c", 'printf %s "$2$V" > "$1"', "x", str(said), odd)
    request = JobRequest(case.job().key, command, work_s=0.1, environment=(("V", odd),), cwd=str(case.folder))

    executor.submit(request)
    done = case.until(executor, request.key, *ENDED)

    assert done.state is JobState.COMPLETED
    if not executor.simulated:
        assert said.read_text(encoding="utf-8") == odd + odd


def test_keys_that_would_not_survive_a_scheduler_are_refused():
    for key in ("", "A", "a b", "-a", "a-", "a" * 47, "a/b", "a;b"):
        with pytest.raises(InvalidQuantity):
            JobRequest(key, ("true",))
    for bad in ({"environment": (("A; rm", "x"),)}, {"environment": (("A", "\0"),)}, {"cwd": "\0"}):
        with pytest.raises(InvalidQuantity):
            JobRequest("a", ("true",), **bad)
    with pytest.raises(InvalidQuantity):
        JobRequest("a", ("true",), begin=datetime(2026, 1, 1))  # noqa: DTZ001
