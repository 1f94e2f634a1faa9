"""What a supervisor promises, on a simulation whose clock is moved by hand."""

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from outweigh.backends.executors.simulated import SimulatedExecutor
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.errors import (
    GridUnavailable,
    JobRefused,
    LeaseLost,
    LedgerError,
    NotOffered,
    NotPermitted,
    UsageError,
)
from outweigh.core.jobs import JobRequest, JobState, Stint
from outweigh.ports import ReceiptFilter
from outweigh.run.clock import PlanClock
from outweigh.run.deciding import Rules
from outweigh.run.following import begin
from outweigh.run.to_its_end import follow_to_its_end
from outweigh.run.tracked import Fate, Stage


def only(supervisor):
    (one,) = supervisor.jobs.values()
    return one


def test_jobs_start_when_and_where_the_plan_says_and_leave_receipts(world, day):
    jobs = [day.job(f"train-{i}", deadline=24, work_h=2.0) for i in range(4)]
    document = day.planned(jobs, capacity_kw=20)
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()

    world.live(supervisor, 30)

    report = world.report(supervisor)
    assert report["counts"]["completed"] == report["counts"]["in_time"] == 4
    for row, planned in zip(report["jobs"], document["jobs"], strict=True):
        assert row["actual"]["start"] == planned["start"]
        assert row["actual"]["sites"] == planned["sites"]
    assert report["actual"]["carbon_kg"] == pytest.approx(report["predicted"]["carbon_kg"])
    receipts = [receipt for _, receipt in world.store.receipts(ReceiptFilter())]
    assert {receipt.run_id for receipt in receipts} == set(supervisor.jobs)
    assert all("a trial: nothing ran" in receipt.notes for receipt in receipts)


def test_a_job_of_many_alike_is_run_so_often(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job("sweep", count=5, work_h=1.0)])))
    supervisor.lead()

    world.live(supervisor, 26)

    assert sorted(row["name"] for row in world.report(supervisor)["jobs"]) == [f"sweep-{i}" for i in range(1, 6)]
    assert all(one.fate is Fate.COMPLETED for one in supervisor.jobs.values())


def test_pauses_of_the_plan_are_made(world, day):
    # Cheap before 6:00 and after 18:00 only, and too much work for one of the two.
    document = day.planned(
        [day.job(work_h=9.0, preemptible=True, movable=False)], carbon=[[100.0] * 6 + [900.0] * 12 + [100.0] * 6] * 2
    )
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()

    world.live(supervisor, 26)

    one = only(supervisor)
    assert [(stint.start, stint.end) for stint in one.seen.stints] == [
        (day.at(piece), day.at(end)) for piece, end in ((0, 6), (18, 21))
    ]


def test_a_deadline_comes_before_a_saving(world, day):
    # The cleanest hours end with the deadline, and the job is slow to get room: it is not waited for.
    document = day.planned([day.job(deadline=24, work_h=3.0)])
    assert (
        document["jobs"][0]["end"] == day.at(24).isoformat() or document["jobs"][0]["start"] >= day.at(18).isoformat()
    )
    supervisor = world.supervise(world.follow(document), rules=Rules(guard_s=3600, guard_share=0))
    supervisor.lead()

    world.live(supervisor, 26)

    assert only(supervisor).seen.started <= day.at(20)
    assert world.report(supervisor)["counts"]["in_time"] == 1


def test_a_new_vintage_moves_what_has_not_begun(world, day):
    document = day.planned([day.job(work_h=2.0)])  # se, after 18:00

    def look(now, rates):
        if now < day.at(3):
            return None
        carbon = rates.carbon.copy()
        carbon[0, 8:10] = 1.0
        return replace(rates, carbon=carbon)

    supervisor = world.supervise(world.follow(document), look=look)
    supervisor.lead()

    world.live(supervisor, 26)

    assert only(supervisor).seen.stints == (Stint("fr", day.at(8), day.at(10)),)
    assert supervisor.following.replans == 1
    assert any("new prices or carbon" in text for text in world.heard)


def test_a_vintage_that_promises_too_little_changes_nothing(world, day):
    def look(now, rates):
        carbon = rates.carbon.copy()
        carbon[1, 18:] *= 0.999 if int(now.timestamp()) % 7200 else 1.001
        return replace(rates, carbon=carbon)

    supervisor = world.supervise(world.follow(day.planned([day.job(work_h=2.0)])), look=look)
    supervisor.lead()

    world.live(supervisor, 26)

    assert supervisor.following.replans == 0


def test_a_grid_source_that_is_gone_leaves_the_last_vintage_and_then_runs_now(world, day):
    def look(now, rates):
        raise GridUnavailable("made-up", "it is down", "Wait")

    supervisor = world.supervise(
        world.follow(day.planned([day.job(work_h=2.0)])), look=look, rules=Rules(stale_s=4 * 3600)
    )
    supervisor.lead()

    world.live(supervisor, 26)

    assert day.at(4) <= only(supervisor).seen.started <= day.at(6)
    assert any("last vintage stays" in text for text in world.heard)
    assert any("not to be had for too long" in text for text in world.heard)


def test_with_a_source_down_for_less_the_plan_is_kept(world, day):
    def look(now, rates):
        raise GridUnavailable("made-up", "it is down", "Wait")

    document = day.planned([day.job(work_h=2.0)])
    supervisor = world.supervise(world.follow(document), look=look)
    supervisor.lead()

    world.live(supervisor, 26)

    assert only(supervisor).seen.started.isoformat() == document["jobs"][0]["start"]


def test_a_supervisor_that_is_killed_anywhere_loses_and_doubles_nothing(world, day):
    jobs = [day.job(f"train-{i}", work_h=1.0 + i, preemptible=i % 2 == 0) for i in range(6)]
    name = world.follow(day.planned(jobs, capacity_kw=30))
    ended = False
    kills = 0
    while not ended and world.now < day.at(30):
        # A new process: nothing of the one before is left but the database and the executor.
        supervisor = world.supervise(name, holder="one", store=world.open_store())
        supervisor.lead()
        original, calls = supervisor._ask, 0

        def ask(*args, original=original, dies_at=kills % 3):
            nonlocal calls
            calls += 1
            if calls > dies_at:
                raise KeyboardInterrupt
            return original(*args)

        supervisor._ask = ask
        try:
            ended = supervisor.cycle().over
        except KeyboardInterrupt:
            kills += 1
        world.now += timedelta(minutes=15)

    assert ended
    assert kills >= 4
    assert all(one.fate is Fate.COMPLETED for one in supervisor.jobs.values())
    assert len(world.executor.observe()) == 6
    assert len(list(world.store.receipts(ReceiptFilter()))) == 6
    assert world.report(supervisor)["counts"]["in_time"] == 6


def test_of_two_supervisors_one_leads_and_the_other_writes_nothing(world, day):
    name = world.follow(day.planned([day.job(work_h=2.0)]))
    first, second = world.supervise(name), world.supervise(name, store=world.open_store())

    assert first.lead()
    assert not second.lead()
    first.let_go()
    assert second.lead()

    first.lease = type(second.lease)(name, first.holder, second.lease.fence - 1)
    with pytest.raises(LeaseLost):
        first.cycle()
    assert world.executor.observe() == {}


def test_a_leader_that_expired_may_be_replaced(world, day):
    name = world.follow(day.planned([day.job(work_h=2.0)]))
    first = world.supervise(name, rules=Rules(ttl_s=0))
    second = world.supervise(name, store=world.open_store())
    first.lead()

    assert second.lead()


def test_an_answer_that_is_lost_is_looked_up_and_never_asked_twice(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(f"train-{i}") for i in range(3)])))
    supervisor.lead()
    world.executor.faults.lost_answers = 1

    world.live(supervisor, 26)

    assert all(one.fate is Fate.COMPLETED for one in supervisor.jobs.values())
    assert all(one.seen.restarts == 0 for one in supervisor.jobs.values())
    assert len(world.executor.observe()) == 3


def test_while_the_executor_is_silent_nothing_is_decided_and_jobs_keep_their_time(world, day):
    document = day.planned([day.job(work_h=2.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    supervisor.cycle()
    world.executor.faults.silent = True
    world.live(supervisor, 23.5)
    world.executor.faults.silent = False

    world.live(supervisor, 26)

    assert only(supervisor).seen.started.isoformat() == document["jobs"][0]["start"]
    assert sum("does not answer" in text for text in world.heard) == 1


def test_where_holding_is_not_permitted_the_job_is_kept_back_here(world, day):
    document = day.planned([day.job(work_h=2.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()

    def submit(request, ask=world.executor.submit):
        if request.begin is not None or request.hold:
            from outweigh.core.errors import NotPermitted

            raise NotPermitted("simulated", "this user may not hold", "Ask who may")
        return ask(request)

    world.executor.submit = submit

    world.live(supervisor, 26)

    assert only(supervisor).seen.started.isoformat() == document["jobs"][0]["start"]
    assert any("kept back here" in text for text in world.heard)


def test_a_site_that_vanished_loses_its_jobs_to_others(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(work_h=2.0)])))
    supervisor.lead()
    supervisor.cycle()
    assert only(supervisor).site == "se"
    world.executor.vanish("se")

    world.live(supervisor, 26)

    assert only(supervisor).fate is Fate.COMPLETED
    assert only(supervisor).seen.site == "fr"
    assert any("site se is there no longer" in text for text in world.heard)


def test_a_job_that_must_run_does_not_wait_to_see_whether_its_site_comes_back(world, day):
    document = day.planned([day.job(deadline=3.2, work_h=3.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    gone = only(supervisor).site
    world.executor.vanish(gone)

    world.live(supervisor, 6, step_h=0.02)

    assert {only(supervisor).seen.site, gone} == {"se", "fr"}
    assert world.report(supervisor)["counts"]["in_time"] == 1
    assert not any("is back" in text for text in world.heard)


def test_a_job_whose_site_vanished_and_whose_deadline_is_over_runs_elsewhere(world, day):
    document = day.planned([day.job(work_h=3.0)])
    document["jobs"][0]["deadline"] = day.at(0.1).isoformat()
    document["jobs"][0]["pieces"][0] |= {"start": day.at(0).isoformat(), "end": day.at(3).isoformat(), "site": "se"}
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    world.live(supervisor, 0.25)
    world.executor.vanish("se")

    world.live(supervisor, 12)

    assert only(supervisor).fate is Fate.COMPLETED
    assert [stint.site for stint in only(supervisor).seen.stints] == ["se", "fr"]
    assert only(supervisor).seen.stints[-1].start <= day.at(1)
    assert supervisor.following.replans == 1


def test_a_site_that_blinks_moves_only_what_must_run(world, day):
    # Others have se for themselves, so that what is due there waits.
    world.executor = SimulatedExecutor({"fr": None, "se": 1}, now=lambda: world.now)
    world.executor.submit(JobRequest("of-others", ("train",), site="se", work_s=1e9))
    loose = [day.job(f"loose-{i}", release=3.0, work_h=1.0) for i in range(3)]
    document = day.planned([day.job("tight", deadline=3.2, work_h=3.0), *loose], carbon=[[900.0] * 24, [100.0] * 24])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    assert {one.site for one in supervisor.jobs.values()} == {"se"}
    there = world.executor.sites
    looks = iter(range(1000))
    world.executor.sites = lambda: there() if next(looks) % 2 else ("fr",)

    world.live(supervisor, 2, step_h=0.02)

    assert {one.name: one.site for one in supervisor.jobs.values()} == {
        "tight": "fr", "loose-0": "se", "loose-1": "se", "loose-2": "se",
    }  # fmt: skip
    assert supervisor.following.replans == 0
    assert sum("its site se is not there" in text for text in world.heard) == 1


def test_a_job_that_must_run_leaves_a_site_that_is_not_there_though_all_together_have_no_plan(world, day):
    # What the other two draw fills the other site, so nothing can be planned again.
    jobs = [day.job("x", deadline=3.2, work_h=3.0), *(day.job(name, work_h=22.5) for name in "yz")]
    document = day.planned(jobs, capacity_kw=20, carbon=[[100.0] * 24, [101.0] * 24])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    one = next(job for job in supervisor.jobs.values() if job.name == "x")
    world.executor.vanish(one.site)

    world.live(supervisor, 6, step_h=0.02)

    assert one.fate is Fate.COMPLETED
    assert one.seen.ended <= one.deadline


def test_where_all_together_have_no_plan_what_was_at_a_site_that_is_gone_keeps_its_time_elsewhere(world, day):
    document = day.planned([day.job(f"part-{i}", work_h=8.0) for i in range(6)], capacity_kw=10)
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    supervisor.cycle()
    before = {one.key: one.pieces[0] for one in supervisor.jobs.values() if one.site == "se" and not one.begun}
    world.executor.vanish("se")

    world.live(supervisor, 1)

    assert len(before) == 2
    assert {key: supervisor.jobs[key].pieces[0] for key in before} == {
        key: replace(piece, site="fr") for key, piece in before.items()
    }
    assert any("Only what cannot stay as it is is moved" in text for text in world.heard)


def test_a_bound_job_that_worked_at_a_site_as_it_vanished_is_named(world, day):
    document = day.planned([day.job("bound", home="se", movable=False, work_h=6.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    world.live(supervisor, 20)
    assert only(supervisor).works
    world.executor.vanish("se")

    world.live(supervisor, 22)

    assert sum("bound may go nowhere else" in text for text in world.heard) == 1


def test_a_job_that_completed_while_nobody_looked_is_not_said_to_wait_for_its_site(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(deadline=4, work_h=3.0, movable=False)])))
    supervisor.lead()
    supervisor.cycle()
    world.now = day.at(6)
    supervisor.sites.miss(only(supervisor).site, day.at(1))
    world.executor.sites = lambda: ("elsewhere",)

    world.live(supervisor, 8)

    assert only(supervisor).fate is Fate.COMPLETED
    assert only(supervisor).notes == ()


def test_a_job_that_waits_for_room_beyond_its_plan_is_not_said_to_be_planned_again_each_time(world, day):
    world.executor = SimulatedExecutor({"fr": 1, "se": 1}, now=lambda: world.now)
    for site in ("fr", "se"):
        world.executor.submit(JobRequest(f"of-others-{site}", ("train",), site=site, work_s=1e9))
    supervisor = world.supervise(world.follow(day.planned([day.job(deadline=6, work_h=4.0)])))
    supervisor.lead()

    world.live(supervisor, 48)

    assert only(supervisor).seen.started is None
    assert sum("planned again" in text for text in world.heard) <= 2


def test_a_job_bound_to_a_site_that_vanished_is_named_and_the_others_go_on(world, day):
    document = day.planned([day.job("bound", home="se", movable=False), day.job("free")])
    supervisor = world.supervise(world.follow(document))
    world.executor.vanish("se")
    supervisor.lead()

    world.live(supervisor, 30)

    fates = {one.name: one.fate for one in supervisor.jobs.values()}
    assert fates["free"] is Fate.COMPLETED
    assert fates["bound"] is None
    assert sum("bound may go nowhere else" in text for text in world.heard) == 1


def test_a_job_that_cannot_be_done_in_time_is_named_and_runs_at_once(world, day):
    document = day.planned([day.job(work_h=2.0)])
    document["jobs"][0]["deadline"] = day.at(1.0).isoformat()
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()

    world.live(supervisor, 26)

    assert only(supervisor).seen.started == day.start
    assert any("short by 1 h" in text for text in world.heard)
    assert world.report(supervisor)["counts"]["late"] == 1


def test_jobs_of_an_old_plan_are_not_started(world, day):
    name = world.follow(day.planned([day.job("old", deadline=6), day.job("new", deadline=24, release=8)]))
    world.now = day.at(7)
    supervisor = world.supervise(name)
    supervisor.lead()

    world.live(supervisor, 26)

    assert {one.name: one.fate for one in supervisor.jobs.values()} == {"old": Fate.PAST, "new": Fate.COMPLETED}
    assert len(world.executor.observe()) == 1


def test_a_job_that_ignores_its_signal_is_said_and_still_done(world, day):
    document = day.planned(
        [day.job(work_h=9.0, preemptible=True, movable=False, deadline=40)],
        carbon=[([100.0] * 6 + [900.0] * 12 + [100.0] * 6) * 2] * 2, signal="USR1",
    )  # fmt: skip
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    world.executor.faults.deaf = set(supervisor.jobs)

    world.live(supervisor, 60)

    assert only(supervisor).fate is Fate.COMPLETED
    assert any("did not save" in text for text in world.heard)


def test_what_ended_is_not_run_again_when_the_scheduler_shows_it_as_running(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(), day.job("other", deadline=40)])))
    supervisor.lead()
    world.live(supervisor, 24.1)
    one = next(each for each in supervisor.jobs.values() if each.name == "train")
    assert one.fate is Fate.COMPLETED

    ghost = replace(one.seen, state=JobState.RUNNING, ended=None)
    world.executor.observe = lambda keys=None, ask=world.executor.observe: {**ask(keys), one.key: ghost}
    world.live(supervisor, 40)

    assert one.fate is Fate.COMPLETED
    assert len(list(world.store.receipts(ReceiptFilter()))) == 2


def test_a_job_that_is_gone_before_it_began_is_asked_for_again(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job()])))
    supervisor.lead()
    supervisor.cycle()
    world.executor._jobs.clear()

    world.live(supervisor, 26)

    assert only(supervisor).fate is Fate.COMPLETED


def test_a_job_that_is_gone_after_it_began_is_lost_and_not_run_twice(world, day):
    document = day.planned([day.job()])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    world.live(supervisor, datetime.fromisoformat(document["jobs"][0]["start"]).hour + 1)
    assert only(supervisor).state is JobState.RUNNING
    world.executor._jobs.clear()

    world.live(supervisor, 30)

    assert only(supervisor).fate is Fate.LOST
    assert world.executor.observe() == {}


def test_a_failed_job_passes_its_code_on(world, day):
    world.executor._exit_code = lambda request: 3
    supervisor = world.supervise(world.follow(day.planned([day.job()])))
    supervisor.lead()

    world.live(supervisor, 26)

    (row,) = world.report(supervisor)["jobs"]
    assert (row["state"], row["exit_code"], row["deadline_met"]) == ("failed", 3, False)


def test_the_same_plan_is_one_following_and_goes_on_where_it_was(world, day):
    document = day.planned([day.job()])
    name = world.follow(document)
    supervisor = world.supervise(name)
    supervisor.lead()
    world.live(supervisor, 10)
    supervisor.let_go()

    again = world.supervise(name)
    again.lead()
    world.live(again, 26)

    assert only(again).fate is Fate.COMPLETED
    assert len(world.executor.observe()) == 1


@pytest.mark.parametrize("spoil", [
    lambda plan: plan.pop("jobs"),
    lambda plan: plan.update(schema="outweigh.review/1"),
    lambda plan: plan["jobs"][0].pop("levels"),
    lambda plan: plan["jobs"][0].update(command=[]),
    lambda plan: plan["jobs"][0].update(deadline="tomorrow"),
    lambda plan: plan["jobs"][0].update(count=3),
    lambda plan: plan["jobs"][0]["pieces"][0].update(power_w=-1),
])  # fmt: skip
def test_what_is_no_plan_is_refused_with_a_remedy(world, day, spoil):
    document = day.planned([day.job()])
    spoil(document)

    with pytest.raises(UsageError) as refused:
        world.follow(document)
    assert refused.value.remedy


def test_open_steps_are_closed_by_looking(world, day):
    name = world.follow(day.planned([day.job()]))
    supervisor = world.supervise(name)
    supervisor.lead()
    supervisor._ask = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        supervisor.cycle()
    assert [step.outcome for step in world.store.steps(name)] == [""]

    again = world.supervise(name, holder=supervisor.holder)
    again.lead()
    again.cycle()

    assert [step.outcome for step in world.store.steps(name)] == ["looked up: not there", "done"]
    assert only(again).stage is Stage.ASKED


def test_a_database_that_is_away_is_waited_for_and_nothing_is_asked_meanwhile(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job()])))
    away = [True] * 3
    write, asked = supervisor.keeper.write, []

    def failing(*args, **kwargs):
        if away:
            away.pop()
            asked.append(len(world.executor.observe()))
            raise LedgerError("ledger", "the server went away", "Start it and repeat")
        return write(*args, **kwargs)

    supervisor.keeper.write = failing

    def sleep(_):
        world.now += timedelta(minutes=15)

    follow_to_its_end(supervisor, sleep=sleep)

    assert asked == [0, 0, 0]
    assert only(supervisor).fate is Fate.COMPLETED
    assert sum("went away" in text for text in world.heard) == 1


def test_a_second_supervisor_stands_by_and_ends_with_the_first(world, day):
    name = world.follow(day.planned([day.job()]))
    first, second = world.supervise(name), world.supervise(name, store=world.open_store())
    first.lead()

    def sleep(_):
        first.cycle() if first.lease else None
        world.now += timedelta(minutes=15)

    follow_to_its_end(second, sleep=sleep)

    assert second.lease is None
    assert sum("stands by" in text for text in world.heard) == 1
    assert len(world.executor.observe()) == 1


@pytest.mark.parametrize("trouble", [
    NotPermitted("made-up", "401 Unauthorized: the token ran out", "Log in"),
    NotOffered("made-up", "Unspecified error", "See its manual"),
    JobRefused("made-up", "another-job", "its limit is reached", "Ask for less"),
])  # fmt: skip
def test_a_look_that_fails_in_any_way_is_no_answer_and_ends_nothing(world, day, trouble):
    document = day.planned([day.job(work_h=2.0), day.job("other", work_h=1.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    supervisor.cycle()
    observe = world.executor.observe

    def failing(keys=None):
        if world.now < day.at(6):
            raise trouble
        return observe(keys)

    world.executor.observe = failing

    world.live(supervisor, 26)

    assert all(one.fate is Fate.COMPLETED for one in supervisor.jobs.values())
    assert sum(trouble.reason in text for text in world.heard) == 1
    assert sum("answers again" in text for text in world.heard) == 1


def test_a_job_that_is_refused_for_ever_is_asked_for_with_patience_after_its_deadline_too(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(work_h=2.0, deadline=4)])))
    supervisor.lead()
    world.executor.faults.forbidden.add("submit")
    for _ in range(2000):
        supervisor.cycle()
        world.now += timedelta(seconds=30)
    late = [step for step in world.store.steps(supervisor.following.id) if step.at > day.at(5).isoformat()]

    only(supervisor).vain = 5000  # as after months of it
    world.now += timedelta(hours=1)
    supervisor.cycle()
    world.executor.faults.forbidden.clear()
    world.now += timedelta(hours=1)
    supervisor.cycle()

    assert len(late) <= 12 * (2000 * 30 / 3600 - 5)  # not more often than each ten minutes, and planning's own
    assert only(supervisor).stage is Stage.ASKED


@pytest.mark.parametrize(("deadline", "said"), [(12.0, ""), (11.0, "short by 1 h); it runs from its release on")])
def test_no_job_starts_before_its_release_whatever_its_deadline_leaves(world, day, deadline, said):
    document = day.planned([day.job(release=10, deadline=12, work_h=2.0)])
    document["jobs"][0]["deadline"] = day.at(deadline).isoformat()
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()

    world.live(supervisor, 30, step_h=1 / 60)

    assert only(supervisor).seen.started == day.at(10)
    assert any(said in text for text in world.heard) or not said


def test_on_a_fast_clock_all_times_of_a_job_are_plan_time_from_the_first_answer_on(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job(deadline=2.0, work_h=2.0)])))
    supervisor.clock = PlanClock(day.start, day.at(-24), read=lambda: world.now - timedelta(days=1))
    supervisor.lead()
    world.now += timedelta(minutes=10)  # by the executor's clock, which is a day ahead of the wall's here

    supervisor.cycle()

    assert only(supervisor).seen.submitted == day.at(24) + timedelta(minutes=10)


def test_places_that_are_none_of_the_plans_mean_nothing(world, day):
    document = day.planned([day.job(work_h=2.0)])
    supervisor = world.supervise(world.follow(document, names_sites=False))
    supervisor.lead()
    submit, observe = world.executor.submit, world.executor.observe
    world.executor.submit = lambda request: replace(submit(request), site="v100")
    world.executor.observe = lambda keys=None: {k: replace(s, site="v100") for k, s in observe(keys).items()}

    world.live(supervisor, 26)

    assert world.report(supervisor)["jobs"][0]["actual"]["start"] == document["jobs"][0]["start"]
    assert not any("v100" in text or "no site" in text for text in world.heard)
    assert {step.kind for step in world.store.steps(supervisor.following.id)} <= {"submit", "release"}


def test_who_may_not_list_sites_follows_jobs_all_the_same(world, day):
    document = day.planned([day.job(work_h=2.0)])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    supervisor.sites.miss("se", day.start)  # so that sites are asked for in every cycle

    def sites():
        raise NotPermitted("made-up", "this user may not list nodes", "Ask who may")

    world.executor.sites = sites

    world.live(supervisor, 26)

    assert world.report(supervisor)["jobs"][0]["actual"]["start"] == document["jobs"][0]["start"]
    assert sum("may not list nodes" in text for text in world.heard) == 1


def test_jobs_of_the_plan_that_another_ledger_followed_are_said_to_be_that_and_not_run_again(world, day):
    world.now = day.at(-2)
    document = day.planned([day.job("a", work_h=2.0), day.job("b", work_h=2.0)])
    name = world.follow(document)
    for number in range(2):
        world.executor.submit(JobRequest(f"{name}-{number}", ("train",), site="se", work_s=60.0))
    world.now = day.at(0)
    supervisor = world.supervise(name)
    supervisor.lead()

    world.live(supervisor, 26)

    assert all(one.seen.started == day.at(-2) for one in supervisor.jobs.values())
    assert sum("of another ledger" in text for text in world.heard) == 1
    assert all("not run again" in one.notes[0] for one in supervisor.jobs.values())


def test_again_runs_what_another_ledger_followed_under_keys_of_its_own(world, day):
    document = day.planned([day.job()])
    asked = {"on": "simulated", "clock": {"factor": 1.0}, "project": "", "phase": "training"}
    first = world.follow(document)
    with closing(SqliteStore.open(world.path.with_name("other.sqlite"))) as other:
        second, new = begin(other, document, "plan", **asked, again=True, taken=lambda key: key == f"{first}-0")

        assert new
        assert second != first
        assert begin(other, document, "plan", **asked, again=True) == (first, True)


def test_what_was_tried_on_a_fast_clock_has_not_been_run(world, day):
    document = day.planned([day.job()])
    asked = {"on": "made-up", "project": "", "phase": "training"}

    names = {begin(world.store, document, "plan", clock={"factor": factor}, **asked) for factor in (1.0, 480.0, 480.0)}

    assert len({name for name, _ in names}) == 2
