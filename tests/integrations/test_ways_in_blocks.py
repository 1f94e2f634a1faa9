"""`with outweigh.measuring(...)` and `@outweigh.measured`: one receipt however a stretch of a program ends."""

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

import outweigh
from outweigh.app import opened, sample_rows
from outweigh.app.keeping import keep_trace_of
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.receipt import RunStatus
from outweigh.measure import FakeClock, MeterSession, receipt_for
from outweigh.ports import ReceiptFilter


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def session(clock):
    """100 W, of which 40 W are hum."""
    with MeterSession(ReplayMeter([(0.0, 100.0)], now=clock.monotonic_s, hum_w=40.0), clock) as opened_session:
        yield opened_session


def kept(ledger):
    with opened(ledger) as store:
        return [receipt for _, receipt in store.receipts(ReceiptFilter())]


def test_a_block_leaves_one_receipt_with_its_hum_and_work(session, clock, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    with outweigh.measuring("fit", phase="training", unit="sample", session=session, ledger=ledger) as run:
        clock.sleep(3.0)
        run.units = 60
        so_far = run.energy
        clock.sleep(2.0)
    (receipt,) = kept(ledger)
    assert receipt == run.receipt
    assert receipt.content_hash == run.address
    assert so_far.joules == pytest.approx(300.0)
    assert run.energy.joules == pytest.approx(500.0)
    assert run.work.joules == pytest.approx(300.0)
    assert (receipt.units, receipt.unit, receipt.phase) == (60, "sample", "training")
    assert dict(receipt.labels)["name"] == "fit"
    assert not list(tmp_path.glob("*.running/*"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("diverged"), RunStatus.FAILED),
        (KeyboardInterrupt(), RunStatus.INTERRUPTED),
        (SystemExit(1), RunStatus.FAILED),
        (SystemExit(0), RunStatus.COMPLETED),
    ],
)
def test_a_block_that_an_exception_leaves_keeps_its_energy_and_lets_the_exception_pass(
    error, status, session, clock, tmp_path
):
    ledger = tmp_path / "ledger.sqlite"
    run = outweigh.measuring("x", session=session, ledger=ledger)

    def block():
        with run:
            clock.sleep(1.0)
            raise error

    with pytest.raises(type(error)) as caught:
        block()
    assert caught.value is error
    (receipt,) = kept(ledger)
    assert receipt.status is status
    assert receipt.total.value.joules == pytest.approx(100.0)


def test_nested_blocks_each_leave_a_receipt_and_the_outer_contains_the_inner(session, clock, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    with outweigh.measuring("outer", session=session, ledger=ledger):
        clock.sleep(1.0)
        with outweigh.measuring("inner", session=session, ledger=ledger):
            clock.sleep(2.0)
    energies = {dict(r.labels)["name"]: r.total.value.joules for r in kept(ledger)}
    assert energies == pytest.approx({"inner": 200.0, "outer": 300.0})


def test_a_decorated_function_keeps_its_result_and_leaves_a_receipt_a_call(session, clock, tmp_path):
    ledger = tmp_path / "ledger.sqlite"

    @outweigh.measured(phase="inference", session=session, ledger=ledger)
    def triage(seconds):
        """Sorts."""
        clock.sleep(seconds)
        return "urgent"

    assert [triage(1.0), triage(2.0)] == ["urgent", "urgent"]
    assert triage.__doc__ == "Sorts."
    receipts = kept(ledger)
    assert [r.total.value.joules for r in receipts] == pytest.approx([100.0, 200.0])
    assert dict(receipts[0].labels)["name"].endswith("triage")


def test_a_coroutine_is_measured_until_it_is_done_and_a_cancelled_one_is_interrupted(session, clock, tmp_path):
    ledger = tmp_path / "ledger.sqlite"

    @outweigh.measured("serve", session=session, ledger=ledger)
    async def serve(forever):
        clock.sleep(1.0)
        await asyncio.sleep(0)
        clock.sleep(1.0)
        if forever:
            await asyncio.Event().wait()
        return 7

    async def both():
        first = await serve(forever=False)
        task = asyncio.create_task(serve(forever=True))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return first

    assert asyncio.run(both()) == 7
    done, cancelled = kept(ledger)
    assert done.total.value.joules == pytest.approx(200.0)
    assert (done.status, cancelled.status) == (RunStatus.COMPLETED, RunStatus.INTERRUPTED)


def test_a_generator_is_refused_for_it_works_between_its_calls():
    with pytest.raises(UsageError, match="generator"):

        @outweigh.measured
        def batches():
            yield 1


def test_a_block_over_its_budget_warns_notes_it_and_stops_nothing(session, clock, tmp_path):
    with (
        pytest.warns(outweigh.EnergyBudgetWarning, match="over budget"),
        outweigh.measuring("x", budget="50 J", session=session, ledger=tmp_path / "ledger.sqlite") as run,
    ):
        clock.sleep(1.0)
    assert any("over budget" in note for note in run.receipt.notes)


def test_a_run_is_measured_once_and_has_no_receipt_before_it_ends(session, tmp_path):
    run = outweigh.measuring("x", session=session, ledger=tmp_path / "ledger.sqlite")
    with run, pytest.raises(UsageError, match="not ended"):
        _ = run.receipt
    with pytest.raises(UsageError, match="once"):
        run.start()


def test_a_run_may_end_where_it_was_last_marked(session, clock, tmp_path):
    run = outweigh.measuring("x", session=session, ledger=tmp_path / "ledger.sqlite").start()
    clock.sleep(2.0)
    run.mark()
    clock.sleep(50.0)
    run.finish(RunStatus.FAILED, at_last_mark=True)
    assert run.energy.joules == pytest.approx(200.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_leaves_the_block_keeps_no_receipt(tmp_path):
    program = """
        import os, outweigh
        with outweigh.measuring("x", meter="cpu-model", ledger="ledger.sqlite"):
            if (child := os.fork()):
                assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True, timeout=60)
    assert len(kept(tmp_path / "ledger.sqlite")) == 1


def test_a_killed_program_s_block_is_found_and_closed_by_the_next_one(tmp_path):
    program = """
        import os, signal, outweigh
        run = outweigh.measuring("victim", meter="cpu-model", ledger="ledger.sqlite").start()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=False, timeout=60)
    assert killed.returncode == -9
    after = "import outweigh\nwith outweigh.measuring('next', meter='cpu-model', ledger='ledger.sqlite'): pass"
    subprocess.run([sys.executable, "-c", after], cwd=tmp_path, check=True, timeout=60)
    victim, following = kept(tmp_path / "ledger.sqlite")
    assert dict(victim.labels)["name"] == "victim"
    # It was killed before its first note, and an energy nobody saw is not zero.
    assert victim.status is RunStatus.UNUSABLE
    assert following.status is RunStatus.COMPLETED


def test_what_a_run_has_seen_is_noted_while_it_lasts(session, clock, tmp_path):
    run = outweigh.measuring("x", session=session, ledger=tmp_path / "ledger.sqlite")
    run._every_s = 0.0  # the journal asks the real clock how long ago its last note was
    with run:
        clock.sleep(4.0)
        (journal,) = tmp_path.glob("*.running/*.jsonl")
        assert '"status":"interrupted"' in journal.read_text(encoding="utf-8")
    assert run.energy.joules == pytest.approx(400.0)


PROJECT_TOML = """
[project]
name = "p"
unit = "text"
volume = { per_month = 1_000_000 }
[task]
adapter = "text-classification"
dataset = "corpus"
primary = { metric = "accuracy" }
[variants.small]
model = "small.onnx"
[variants.large]
model = "large.onnx"
[gate]
incumbent = "small"
proposal = "large"
[budget.train]
phase = "training"
total = { limit = "1 kWh", per = "month" }
owner = "team-models"
[site.here]
zone = "DE"
capacity = "1 kW"
pue = { idle = 1.6, full = 1.2 }
"""


def test_a_receipt_says_who_owns_its_hum_and_what_it_is_made_of(session, clock, tmp_path, monkeypatch):
    (tmp_path / "energy.toml").write_text(PROJECT_TOML)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with outweigh.measuring("fit", phase="training", session=session, ledger=tmp_path / "ledger.sqlite"):
        clock.sleep(10.0)

    (receipt,) = kept(tmp_path / "ledger.sqlite")
    split = receipt.hum_split
    assert dict(receipt.labels)["owner"] == "team-models"
    # 40 W of a processor package for 10 s, shared out by hardware threads; PUE 1.6 adds 60 % of it
    assert split.allocated.joules + split.unallocated.joules == pytest.approx(400.0)
    assert split.cooling.joules == pytest.approx(240.0)
    assert split.host is None
    assert any("PUE of here when idle, 1.6" in note for note in receipt.notes)


def test_an_owner_who_is_named_comes_before_the_declared_one_and_other_phases_have_none(
    session, clock, tmp_path, monkeypatch
):
    (tmp_path / "energy.toml").write_text(PROJECT_TOML)
    monkeypatch.chdir(tmp_path)
    ledger = tmp_path / "ledger.sqlite"
    for options in ({"phase": "training", "owner": "me"}, {"phase": "inference"}):
        with outweigh.measuring(session=session, ledger=ledger, **options):
            clock.sleep(1.0)

    assert [dict(receipt.labels).get("owner") for receipt in kept(ledger)] == ["me", None]


def test_an_energy_toml_that_is_refused_stops_no_measurement(session, clock, tmp_path, monkeypatch):
    (tmp_path / "energy.toml").write_text("[project]\nnaem = 3\n")
    monkeypatch.chdir(tmp_path)
    with outweigh.measuring(session=session, ledger=tmp_path / "ledger.sqlite") as run:
        clock.sleep(1.0)

    assert run.receipt.hum_split.cooling is None


def test_a_block_of_some_seconds_leaves_its_power_beside_the_ledger(session, clock, tmp_path):
    pytest.importorskip("duckdb", reason="samples need the extra `samples`")
    ledger = tmp_path / "ledger.sqlite"
    with outweigh.measuring("fit", session=session, ledger=ledger) as run:
        clock.sleep(8.0)
    with outweigh.measuring("short", session=session, ledger=ledger) as short:
        clock.sleep(1.0)

    rows = sample_rows(run.address[:12], ledger)
    assert len(rows) == pytest.approx(80, abs=2)
    assert {round(row["power_w"]) for row in rows} == {100}
    assert 0 < rows[0]["t_s"] <= rows[-1]["t_s"] <= 8.0
    with pytest.raises(UsageError, match="no samples"):
        sample_rows(short.address, ledger)


def test_without_duckdb_a_block_keeps_its_receipt_and_says_nothing(session, clock, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with outweigh.measuring("fit", session=session, ledger=tmp_path / "ledger.sqlite") as run:
        clock.sleep(8.0)

    assert [receipt.content_hash for receipt in kept(tmp_path / "ledger.sqlite")] == [run.address]


def test_samples_of_a_sitting_are_found_from_each_of_its_receipts(session, clock, tmp_path):
    pytest.importorskip("duckdb", reason="samples need the extra `samples`")
    ledger = tmp_path / "ledger.sqlite"
    started = clock.utc()
    with opened(ledger, create=True) as store, session.window() as whole:
        for _ in range(2):
            with session.window() as window:
                clock.sleep(2.0)
            store.append(
                receipt_for(window.reading, meter="replay", project="p", phase=Phase.DEVELOPMENT, batch="b" * 32)
            )
    assert keep_trace_of(ledger, "b" * 32, session.trace(), started, whole.reading.total.interval)

    for receipt in kept(ledger):
        rows = sample_rows(receipt.content_hash, ledger)
        assert len(rows) == pytest.approx(20, abs=1)
        assert rows[-1]["t_s"] <= 2.0
