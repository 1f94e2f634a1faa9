"""`shrink --search` in a process of its own, on a small encoder: stopped, resumed, refused, on Ray."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from .conftest import parts_kept

pytest.importorskip("optuna")
pytest.importorskip("onnxruntime")

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
LEVERS = "quantize:int8-dynamic,threads:1,batch:8"
SEARCH = ("shrink", "small", "--search", "--levers", LEVERS, "--trials", "4", "--meter", "cpu-model", "--json")


def start(folder, *args):
    return subprocess.Popen(
        [OUTWEIGH, *args], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(folder, *args):
    done = start(folder, *args)
    out, err = done.communicate(timeout=200)
    assert "Traceback" not in err, err
    return done.returncode, [json.loads(line) for line in out.splitlines() if line.startswith("{")], err


def the_file(folder):
    return next((folder / ".outweigh" / "search").glob("*.sqlite"), None)


def wait_for_parts(folder, count):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if (path := the_file(folder)) and len(parts := parts_kept(path)) >= count:
                return parts
        except (sqlite3.Error, FileNotFoundError):
            pass  # it is being made
        time.sleep(0.02)
    pytest.fail("nothing was kept in two minutes")


def receipts(folder):
    from outweigh.ledger import open_ledger
    from outweigh.ports import ReceiptFilter

    store = open_ledger(folder / ".outweigh" / "ledger.sqlite", create=False)
    try:
        return [receipt for _, receipt in store.receipts(ReceiptFilter())]
    finally:
        store.close()


def round_counts(folder):
    counted = Counter()
    for receipt in receipts(folder):
        labels = dict(receipt.labels)
        if labels.get("step") == "rounds":
            counted[receipt.variant, labels["rung"], labels["part"], receipt.round_index] += 1
    return counted


def seen_in(objects):
    return {body["combination"]: (body["quality"], body["n_items"]) for body in objects if body["kind"] == "seen"}


@pytest.mark.slow
def test_a_search_that_is_killed_and_asked_for_again_loses_nothing_and_repeats_nothing(project):
    killed = start(project, *SEARCH)
    before_parts = wait_for_parts(project, 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    kept_then, counted_then = parts_kept(the_file(project)), round_counts(project)
    assert killed.returncode == -signal.SIGKILL
    assert before_parts <= kept_then

    code, objects, err = finish(project, *SEARCH)

    assert code in (0, 5), err
    assert kept_then <= parts_kept(the_file(project))
    counted = round_counts(project)
    whole = {
        ("small+" + combination, "held-out" if rung == -1 else str(rung), str(part))
        for combination, rung, part in kept_then
    }
    again = {key for key in counted if key[:3] in whole and counted[key] != counted_then[key]}
    assert not again
    assert all(counted[key] >= count for key, count in counted_then.items())

    code, once_more, _ = finish(project, *SEARCH)
    assert round_counts(project) == counted
    assert seen_in(once_more) == seen_in(objects)


@pytest.mark.slow
def test_an_interrupt_keeps_everything_and_says_how_to_go_on(project):
    running = start(project, *SEARCH)
    wait_for_parts(project, 1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "Go on with: outweigh shrink small --search" in err
    assert "Traceback" not in err
    assert parts_kept(the_file(project))


@pytest.mark.slow
def test_the_searchs_energy_is_on_receipts_of_the_development_phase_and_charged(project):
    code, objects, err = finish(project, *SEARCH)

    verdict = objects[-1]
    assert code == (0 if verdict["outcome"] == "pass" else 5), err
    kept = receipts(project)
    assert {receipt.phase.value for receipt in kept} == {"development"}
    assert {receipt.batch for receipt in kept} == {verdict["search"]}
    assert sum(receipt.total.value.joules for receipt in kept) == pytest.approx(verdict["search_energy_j"])
    steps = {dict(receipt.labels)["step"] for receipt in kept}
    assert steps >= {"reading the data", "applying levers", "loading, fit and warm-up", "rounds", "deciding"}
    for body in objects:
        if body["kind"] == "judged" and body["break_even_units_with_search"] is not None:
            assert body["break_even_units_with_search"] > (body["break_even_units"] or 0)


@pytest.mark.slow
def test_a_lever_that_does_not_apply_is_infeasible_with_its_reason_and_one_that_changes_nothing_too(project):
    levers = "quantize:int8-dynamic,threads:4096,threads:1"
    code, objects, err = finish(
        project, "shrink", "small", "--search", "--levers", levers, "--trials", "3", "--meter", "cpu-model", "--json"
    )

    reasons = {body["combination"]: body["reason"] for body in objects if body["kind"] == "infeasible"}
    assert code in (0, 5)
    assert "threads" in reasons["small+threads:4096"]
    assert "does what small does already" in reasons["small+threads:1"]
    assert "infeasible: threads:4096" in err
    assert "small+quantize:int8-dynamic" in seen_in(objects)


@pytest.mark.slow
def test_a_quality_that_nothing_reaches_is_inconclusive(project):
    code, objects, _ = finish(project, *SEARCH, "--at-least", "1.5")

    assert code == 5
    assert objects[-1]["outcome"] == "inconclusive"
    assert not [body for body in objects if body["kind"] == "judged"]


def test_options_of_a_search_are_refused_without_one(project):
    code, _, err = finish(project, "shrink", "small", "--trials", "3")

    assert code == 2
    assert "--trials goes with --search" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--energy", "50"), "unit"),
        (("--trials", "0"), "--trials 1 or more"),
        (("--levers", "quantize:int8-dynamik"), "Did you mean"),
        (("--held-out", "1.5"), "held-out share"),
        (("--seconds", "-1"), "above zero"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(project, options, said):
    code, _, err = finish(project, "shrink", "small", "--search", *options)

    assert code == 2
    assert said in err


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("OUTWEIGH_TEST_FRAMEWORKS"), reason="runs with `make test-frameworks`")
def test_on_ray_the_same_seed_tries_the_same_and_finds_the_same_quality(project):
    pytest.importorskip("ray")
    _, here, _ = finish(project, *SEARCH)
    (project / ".outweigh").rename(project / "here")
    code, on_ray, err = finish(project, *SEARCH, "--on", "ray")

    assert code in (0, 5), err
    first_looks = [
        {body["combination"]: body["quality"] for body in objects if body["kind"] == "seen"}
        for objects in (here, on_ray)
    ]
    assert set(first_looks[0]) == set(first_looks[1])
    both = [
        {body["combination"]: body["quality"] for body in objects if body["kind"] == "judged"}
        for objects in (here, on_ray)
    ]
    shared = both[0].keys() & both[1].keys()
    assert all(both[0][name] == both[1][name] for name in shared)
    assert {receipt.batch for receipt in receipts(project)} == {on_ray[-1]["search"]} == {here[-1]["search"]}
