"""What jobs leave behind: receipts that add up, and a report that holds what is known and no more."""

import numpy as np
import pytest

from outweigh.core.receipt import RunStatus
from outweigh.ledger import add_up
from outweigh.ledger.imports import SLURM_JOB
from outweigh.ports import ReceiptFilter
from outweigh.run.settling import PREDICTED_J, PREDICTED_S, RAN_S, receipt_body

FLAT = np.full((2, 24), 400.0)


def receipts(world):
    return [receipt for _, receipt in world.store.receipts(ReceiptFilter())]


def lived(world, document, hours=40):
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    world.live(supervisor, hours)
    return supervisor


def lasting(world, hours):
    """Every job takes so long, whatever its plan says."""
    world.executor._work_s = lambda request: hours * 3600.0


def forget(executor, key):
    """As a scheduler does whose memory of a job is gone."""
    del executor._jobs[key]
    executor._events = [event for event in executor._events if event[2] != key]


def test_two_jobs_of_one_plan_at_the_same_time_add_up(world, day):
    lived(world, day.planned([day.job("a"), day.job("b")]))

    first, second = receipts(world)

    assert first.interval.overlap_s(second.interval) > 0
    assert add_up([first, second]).energy.to_kwh() == pytest.approx(40.0)


def test_a_job_that_was_lost_draws_no_more_and_is_in_no_sum(world, day):
    document = day.planned([day.job("gone"), day.job("done")])
    supervisor = world.supervise(world.follow(document))
    supervisor.lead()
    start = next(iter(supervisor.jobs.values())).pieces[0].start
    world.live(supervisor, (start - day.start).total_seconds() / 3600 + 1)
    forget(world.executor, f"{supervisor.following.id}-0")
    last_seen = world.now - (day.at(0.25) - day.start)
    world.live(supervisor, 40)

    report = world.report(supervisor)
    world.now += day.at(24 * 30) - day.start
    later = world.report(supervisor)

    gone, done = report["jobs"]
    assert gone["state"] == "lost"
    assert gone["actual"]["end"] == gone["stints"][0]["end"] == last_seen.isoformat()
    assert gone["actual"]["energy_kwh"] is None
    assert report["actual"]["energy_kwh"] == pytest.approx(done["actual"]["energy_kwh"])
    assert report["in_no_sum"] == {"lost": 1, "energy_not_known": 0}
    assert {**later, "as_of": ""} == {**report, "as_of": ""}
    (receipt,) = (each for each in receipts(world) if each.run_id == gone["key"])
    assert (receipt.status, receipt.interval.end) == (RunStatus.UNUSABLE, last_seen)


def test_a_follower_that_comes_back_takes_a_lost_job_to_have_ended_when_it_was_last_written_down(world, day):
    name = world.follow(day.planned([day.job()]))
    first = world.supervise(name)
    first.lead()
    start = next(iter(first.jobs.values())).pieces[0].start
    world.live(first, (start - day.start).total_seconds() / 3600 + 1)
    first.let_go()
    world.executor._jobs.clear()

    second = world.supervise(name)
    second.lead()
    world.live(second, 40)

    (job,) = world.report(second)["jobs"]
    assert start.isoformat() <= job["actual"]["end"] <= (start + (day.at(1) - day.start)).isoformat()


def test_carbon_that_nobody_knows_is_no_saving(world, day):
    carbon = FLAT.copy()
    carbon[:, 22:] = 390.0  # invented: so they start at 22:00, and overrun what is known
    lasting(world, 10)
    supervisor = lived(world, day.planned([day.job(f"j{i}", sites=frozenset({"fr"})) for i in range(3)], carbon=carbon))

    report = world.report(supervisor)

    assert report["actual"]["carbon_unknown_kwh"] > 0
    saved = report["saving"]["carbon"]
    assert (saved["saved_kg"], saved["share"], saved["jobs"], saved["left_out"]) == (None, None, 0, 3)
    assert report["saving"]["objective"]["left_out"] == 3


def test_a_job_of_known_carbon_counts_beside_one_that_overran(world, day):
    world.executor._work_s = lambda request: (30 if request.name == "long" else 2) * 3600.0
    supervisor = lived(world, day.planned([day.job("long"), day.job("short")]), hours=60)

    report = world.report(supervisor)

    short = next(job for job in report["jobs"] if job["name"] == "short")
    saved = report["saving"]["carbon"]
    assert (saved["jobs"], saved["left_out"]) == (1, 1)
    assert saved["saved_kg"] == pytest.approx(short["at_once"]["carbon_kg"] - short["actual"]["carbon_kg"])


def test_what_a_pause_cost_is_a_loss_against_starting_at_once(world, day):
    # 4 h of work, paused once, with an hour to restore: 5 h against 4 h where every hour is alike.
    night = np.array([[300.0] * 6 + [500.0] * 12 + [200.0] * 6] * 2)
    document = day.planned([day.job(work_h=4, preemptible=True, checkpoint_h=1.0)], carbon=night, signal="USR1")
    (job,) = document["jobs"]
    piece = job["pieces"][0]
    job["pieces"] = [
        {**piece, "start": day.at(start).isoformat(), "end": day.at(end).isoformat()}
        for start, end in ((0, 2), (18, 21))
    ]
    for site in document["sites"]:
        site["intensity_g_per_kwh"] = [400.0] * 24

    report = world.report(lived(world, document))

    assert report["actual"]["carbon_kg"] == pytest.approx(20.0)
    assert report["at_once"]["carbon_kg"] == pytest.approx(16.0)
    assert report["saving"]["carbon"]["share"] == pytest.approx(-0.25)


def test_a_receipt_of_a_job_of_slurm_says_its_number_there(world, day):
    supervisor = lived(world, day.planned([day.job()]))
    (job,) = supervisor.jobs.values()

    elsewhere = receipt_body(job, supervisor.following, trial=False)
    supervisor.following.on = "slurm:fr,se"
    there = receipt_body(job, supervisor.following, trial=False)

    assert SLURM_JOB not in elsewhere["labels"]
    assert there["labels"][SLURM_JOB] == job.seen.id


def test_a_power_and_a_run_time_that_nobody_said_are_no_prediction_and_no_watts_are_asked_for(world, day):
    document = day.planned([day.job()])
    document["jobs"][0].update(power_known=False, work_known=False)
    asked = []
    submit = world.executor.submit
    world.executor.submit = lambda request: asked.append(request.power_w) or submit(request)

    supervisor = lived(world, document)
    (job,) = supervisor.jobs.values()
    labels = receipt_body(job, supervisor.following, trial=False)["labels"]

    assert asked == [0.0]
    assert not {PREDICTED_J, PREDICTED_S} & set(labels)
    assert labels[RAN_S] == "7200.0"
