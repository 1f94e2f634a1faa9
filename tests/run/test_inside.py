"""Runs measured inside a job of a plan: counted once, and in the place of what the plan declared."""

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from outweigh.app.of_job import OfJob, there
from outweigh.app.running import measure
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger import add_up
from outweigh.ledger.drawn import OF_JOB
from outweigh.ports import ReceiptFilter
from outweigh.run.inside import MEASURED_J, MEASURED_S, OF_JOB_S, Insides
from outweigh.run.learning import learn
from outweigh.run.settling import receipt_body


def written(day, key, *, start=0.0, hours=2.0, joules=1e6, method=Method.COUNTER, status=RunStatus.COMPLETED, **labels):
    """A receipt as `outweigh measure` writes it inside a job."""
    interval = Interval(day.at(start), day.at(start + hours))
    total = Measurement(Energy(joules), interval, Scope.NODE, Grade.B, method, "made up")
    said = tuple(sorted({OF_JOB: key, **labels}.items()))
    return Receipt(f"{key}-{start}", "made-up", Phase.TRAINING, status, total, None, None, labels=said)


@pytest.fixture
def ended(world, day):
    """A supervisor whose one job, of 2 h at 10 kW, is over."""
    supervisor = world.supervise(world.follow(day.planned([day.job()])))
    supervisor.lead()
    world.live(supervisor, 30)
    return supervisor


def key_of(ended):
    return f"{ended.following.id}-0"


def settled(ended, *receipts):
    (job,) = ended.jobs.values()
    return Receipt.from_dict(receipt_body(job, ended.following, trial=False, written=receipts))


def test_what_was_measured_inside_a_job_is_not_declared_again(ended, day):
    inside = written(day, key_of(ended))

    receipt = settled(ended, inside)

    assert receipt.total.value.joules == 0
    assert (receipt.status, receipt.grade, receipt.total.method) == (RunStatus.COMPLETED, Grade.B, Method.COUNTER)
    assert add_up([inside, receipt]).energy.joules == pytest.approx(1e6)
    assert inside.content_hash[:12] in receipt.notes[-1]


def test_the_report_of_a_job_that_was_measured_inside_has_what_was_measured(world, ended, day):
    settled(ended, written(day, key_of(ended), joules=3.6e6))

    (row,) = world.report(ended)["jobs"]

    assert (row["actual"]["energy_kwh"], row["actual"]["measured"]) == (pytest.approx(1.0), True)


def test_time_at_work_that_nobody_measured_is_charged_at_the_declared_power(ended, day):
    inside = written(day, key_of(ended), hours=0.5)

    receipt = settled(ended, inside)

    assert receipt.total.value.to_kwh() == pytest.approx(10 * 1.5)
    assert (receipt.grade, receipt.total.method) == (Grade.D, Method.DECLARED)


def test_listening_for_the_hum_is_no_work_of_the_job(ended, day):
    inside = written(day, key_of(ended), start=0.5, hours=1.0, **{OF_JOB_S: "7195.0"})

    assert settled(ended, inside).total.value.joules == 0


def test_the_stretches_of_a_job_add_up_whoever_cut_them_off(ended, day):
    first = written(day, key_of(ended), hours=1, status=RunStatus.INTERRUPTED)
    second = written(day, key_of(ended), start=1, hours=1)

    receipt = settled(ended, first, second)

    assert receipt.total.value.joules == 0
    assert (dict(receipt.labels)[MEASURED_J], dict(receipt.labels)[MEASURED_S]) == ("2000000.0", "7200.0")


def test_power_is_learnt_from_a_job_that_was_measured_inside(ended, day):
    receipt = settled(ended, written(day, key_of(ended), joules=7.2e7 / 2))

    found = learn([receipt])["train"]

    assert (found.metered, found.power_w) == (1, pytest.approx(5e3))


def test_a_model_inside_a_job_takes_the_place_of_a_declaration_and_teaches_nothing(ended, day):
    receipt = settled(ended, written(day, key_of(ended), method=Method.MODELLED))

    assert receipt.total.value.joules == 0
    assert learn([receipt])["train"].metered == 0


def test_a_ledger_is_read_on_for_what_was_written_inside_jobs(tmp_path, day):
    with closing(SqliteStore.open(tmp_path / "ledger.sqlite")) as store:
        insides = Insides(store, day.start)
        store.append(written(day, "one"))
        store.append(written(day, "one", start=5, status=RunStatus.UNUSABLE))
        before = len(insides.of("one")), len(insides.of("two"))
        store.append(written(day, "two", start=3))
        after = len(insides.of("one")), len(insides.of("two"))

    assert (before, after) == ((1, 0), (1, 1))


def test_who_measures_inside_a_job_books_on_its_project_and_phase(tmp_path, monkeypatch):
    for name, value in (("", "abc-0"), ("_PROJECT", "made-up"), ("_PHASE", "training")):
        monkeypatch.setenv(f"OUTWEIGH_JOB{name}", value)

    receipt, _, _ = measure([sys.executable, "-c", ""], hum_s=0, ledger=tmp_path / "ledger.sqlite")

    labels = dict(receipt.labels)
    assert (receipt.project, receipt.phase, labels[OF_JOB]) == ("made-up", Phase.TRAINING, "abc-0")
    assert float(labels[OF_JOB_S]) >= receipt.interval.seconds


def test_outside_a_job_nothing_is_said_of_one(day):
    assert OfJob.found({}) is None
    receipt = written(day, "one")
    bare = Receipt.from_dict({**receipt.to_dict(), "labels": {}})
    assert there(bare, 0.0) is bare


def test_a_phase_that_is_none_is_refused():
    with pytest.raises(UsageError, match="OUTWEIGH_JOB_PHASE"):
        OfJob.found({"OUTWEIGH_JOB": "abc-0", "OUTWEIGH_JOB_PHASE": "trainign"})


def followed_now(folder, day, names, command):
    """Real jobs, all due now, followed on this machine: how many came how, and the receipts they left."""
    started = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    day_after, hour_after = ((started + timedelta(hours=hours)).isoformat() for hours in (24, 1))
    document = day.planned([day.job(name, work_h=0.001) for name in names], command=(sys.executable, *command))
    document["horizon"].update(start=started.isoformat(), end=day_after)
    for job in document["jobs"]:
        job.update(release=started.isoformat(), deadline=day_after)
        for piece in job["pieces"]:
            piece.update(site="fr", start=started.isoformat(), end=hour_after)
    (folder / "plan.json").write_text(json.dumps(document))

    done = subprocess.run(
        [sys.executable, "-m", "outweigh", "run", "plan.json", "--on", "local:fr,se", "--every", "0.3", "--project",
         "made-up", "--json"],
        cwd=folder, env={**os.environ, "OUTWEIGH_STATE": str(folder / "state")}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip

    assert done.stdout, done.stderr
    with closing(SqliteStore.open(folder / ".outweigh" / "ledger.sqlite")) as store:
        receipts = [receipt for _, receipt in store.receipts(ReceiptFilter(project="made-up", phase="training"))]
    return json.loads(done.stdout)["counts"], receipts


def test_two_real_jobs_that_measure_themselves_at_one_time_are_counted_once(tmp_path, day):
    counts, receipts = followed_now(
        tmp_path, day, "ab", ("-m", "outweigh", "measure", "--hum", "0", "--", "sleep", "1")
    )

    assert counts["completed"] == 2
    measured = {dict(one.labels)[OF_JOB]: one for one in receipts if OF_JOB in dict(one.labels)}
    own = {one.run_id: one for one in receipts if OF_JOB not in dict(one.labels)}
    assert len(receipts) == 4
    assert set(measured) == set(own)
    added = add_up(receipts)  # and does not say that they hold the same joules
    for key, receipt in own.items():
        unmeasured_s = receipt.interval.seconds - float(dict(measured[key].labels)[OF_JOB_S])
        assert receipt.total.value.joules <= 1e4 * unmeasured_s  # 0 where the machine starts a command within 10 s
    assert added.receipts == 4


#: A job that measures, and kills who measures when something has been noted.
KILLS = """
import os, pathlib, signal, subprocess, sys, time
measured = subprocess.Popen([sys.executable, "-m", "outweigh", "measure", "--hum", "0", "--", "sleep", "60"])
running = pathlib.Path(".outweigh/running")
while not any(path.read_bytes().count(b"\\n") > 1 for path in running.glob("*.jsonl")):
    time.sleep(0.1)
children = pathlib.Path(f"/proc/{measured.pid}/task/{measured.pid}/children").read_text().split()
for pid in (measured.pid, *map(int, children)):
    os.kill(pid, signal.SIGKILL)
measured.wait()
sys.exit(3)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells processes apart by /proc")
def test_what_a_real_job_that_killed_its_measurement_had_drawn_is_counted_once(tmp_path, day):
    counts, receipts = followed_now(tmp_path, day, "a", ("-c", KILLS))

    assert counts["failed"] == 1
    (inside,) = (one for one in receipts if OF_JOB in dict(one.labels))
    (own,) = (one for one in receipts if OF_JOB not in dict(one.labels))
    assert inside.status is RunStatus.INTERRUPTED
    assert inside.total.value.joules > 0
    assert any("written inside it" in note for note in own.notes)
    assert own.total.value.joules == 0 or "that nobody measured" in own.total.source
