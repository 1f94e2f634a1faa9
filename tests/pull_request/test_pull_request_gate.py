"""`outweigh gate pull-request` end to end: two revisions of a real repository, real models, a forge on localhost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.timeout(300)

LARGE, SMALL = 400, 0
OUTWEIGH = Path(sys.executable).with_name("outweigh")


def test_the_comment_is_created_once_and_written_over_after(start, forge):
    runner = start(wasted=SMALL)
    runner.propose(wasted=LARGE)
    first = runner.gate("--comment", environment=runner.environment(forge))
    first_body = forge.comments[0]["body"]
    runner.propose(wasted=LARGE + 1)

    second = runner.gate("--comment", environment=runner.environment(forge))

    assert first.returncode == second.returncode == 1, first.stderr + second.stderr
    assert forge.written == ["POST", "PATCH"]
    assert len(forge.comments) == 1
    body = forge.comments[0]["body"]
    assert body != first_body
    assert body.startswith("<!-- outweigh-gate: triage -->\n")
    assert runner.git("rev-parse", "feature")[:10] in body
    assert "FAIL: new in place of base" in body
    assert "**PROVISIONAL" in body
    summary = (runner.root / "summary.md").read_text()
    assert "FAIL: new in place of base" in summary
    assert "<!--" not in summary
    outputs = (runner.root / "output").read_text().splitlines()
    assert "outcome=fail" in outputs
    assert "may-block=false" in outputs
    assert "posted=true" in outputs


def test_a_comment_of_somebody_else_is_never_taken_for_ours(start, forge):
    runner = start()
    runner.propose(wasted=LARGE)
    forge.comments.append(
        {
            "id": 1,
            "body": "<!-- outweigh-gate: triage -->\nPASS, says its author",
            "user": {"login": "x", "type": "User"},
        }
    )

    runner.gate("--comment", environment=runner.environment(forge))

    assert forge.written == ["POST"]
    assert forge.comments[0]["body"].endswith("PASS, says its author")


def test_a_pull_request_that_raises_its_own_budget_is_held_to_the_bases(start):
    runner = start(('per_unit = "500 J"', 'per_unit = "0.000001 J"'), wasted=LARGE)
    runner.propose(
        ('per_unit = "0.000001 J"', 'per_unit = "500 J"'), ('incumbent = "base"', 'incumbent = "base"\neta = 0.01'),
        wasted=SMALL,
    )  # fmt: skip

    done = runner.gate()

    assert done.returncode == 1, done.stderr
    document = runner.document
    assert document["verdict"]["decided_by"] == "caps: serve"
    assert document["verdict"]["eta"] == 0.15
    tried = {one["key"]: (one["base"], one["head"]) for one in document["pull_request"]["policy_changes"]}
    assert tried == {"budget.serve.per_unit": ("0.000001 J", "500 J"), "gate.eta": ("", "0.01")}
    assert "The head changes the policy it is held to" in runner.comment
    assert "`budget.serve.per_unit`: 0.000001 J → 500 J" in runner.comment


def test_a_pull_request_that_edits_the_baseline_and_the_data_is_weighed_against_the_bases_and_does_not_pass(start):
    runner = start(wasted=LARGE)
    # The proposal itself would pass. What the head would put in service is another, unweighed model.
    runner.propose(('incumbent = "base"', 'incumbent = "base"\nproposal = "new"'), wasted=SMALL)
    runner.encoder("base", 3 * LARGE)
    items = runner.clone / "eval" / "items.csv"
    items.write_text("\n".join(items.read_text().splitlines()[:-20]) + "\n")
    runner.commit("a baseline that is easy to beat")

    done = runner.gate("--base", "main", "--head", "HEAD")

    document = runner.document
    assert done.returncode == 5, done.stdout + done.stderr
    assert document["verdict"]["decided_by"] == "baseline"
    assert document["verdict"]["incumbent"] == "base@base"
    assert document["project"]["n_items"] == 200  # of the base's 240, 40 of which fit the head
    assert "task.dataset" in {one["key"] for one in document["pull_request"]["policy_changes"]}
    proportion = next(part for part in document["verdict"]["parts"] if part["part"] == "proportion")
    assert proportion["outcome"] == "pass"
    assert "has not been weighed" in runner.comment


def test_a_cheaper_model_that_is_as_good_passes_with_code_0(start):
    runner = start(wasted=LARGE)
    runner.propose(wasted=SMALL)

    done = runner.gate("--record")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS  (provisional)")
    listed = runner.outweigh("gate", "log", "--json")
    line = json.loads(listed.stdout)
    assert (line["outcome"], line["proposal"], line["incumbent"]) == ("pass", "new", "base")
    assert line["verdict_id"] == runner.document["weighing"]["verdict_id"]
    page = (runner.clone / "decisions" / line["page"]).read_text()
    assert all(receipt in page for receipt in runner.document["receipts"])
    kept = runner.outweigh("ledger", "list", "--json")
    assert {json.loads(row)["receipt"] for row in kept.stdout.splitlines()} >= set(runner.document["receipts"])


def test_what_is_the_same_thing_is_inconclusive_with_code_5(start):
    runner = start(wasted=SMALL)
    runner.propose(wasted=SMALL)

    done = runner.gate()

    assert done.returncode == 5, done.stdout + done.stderr
    assert runner.document["verdict"]["decided_by"] == "identity"


def test_a_policy_that_cannot_be_read_ends_with_code_2_and_says_whose_it_is(start):
    runner = start(('owner = "team"', 'ownr = "team"'))
    runner.propose(('ownr = "team"', 'owner = "team"'))

    done = runner.gate()

    assert done.returncode == 2
    assert "energy.toml (base " in done.stderr
    assert "NO VERDICT" in runner.comment


def test_a_meter_that_cannot_be_read_ends_with_code_3_and_takes_an_older_verdict_off_the_page(start, forge):
    runner = start()
    runner.propose()
    forge.comments.append(
        {"id": 5, "body": "<!-- outweigh-gate: triage -->\n<!-- {} -->\nPASS", "user": dict(forge.writes_as),
         "html_url": "there"}
    )  # fmt: skip

    done = runner.gate("--meter", "replay", "--comment", environment=runner.environment(forge))

    assert done.returncode == 3
    assert "NO VERDICT" in forge.comments[0]["body"]
    assert "PASS" not in forge.comments[0]["body"]
    cases = ET.parse(runner.out / "junit.xml").getroot()
    assert cases.find("testsuite/testcase/error") is not None


def test_a_missing_factor_of_the_base_ends_with_code_4(start):
    runner = start(("[protocol]", '[site.nowhere]\nzone = "XX"\ncapacity = "1 kW"\n\n[protocol]'))
    runner.propose()

    done = runner.gate()

    assert done.returncode == 4
    assert "XX" in done.stderr


def test_a_token_that_may_only_read_leaves_the_comment_to_a_second_step(start, forge):
    runner = start()
    runner.propose(wasted=LARGE)
    forge.refuse_always = (403, {})
    environment = runner.environment(forge)

    done = runner.gate("--comment", environment=environment)

    assert done.returncode == 1  # the verdict's
    assert "403" in done.stderr
    assert "comment.md" in done.stderr
    assert forge.comments == []
    forge.refuse_always = None
    event = runner.root / "finished.json"
    event.write_text(json.dumps({"workflow_run": {"head_sha": forge.head}}))
    second = {**environment, "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_EVENT_PATH": str(event)}
    posted = runner.outweigh("gate", "comment", "--file", runner.out / "comment.md", environment=second)
    assert posted.returncode == 0, posted.stderr
    assert forge.comments[0]["body"].startswith("<!-- outweigh-gate: triage -->")
    event.write_text(json.dumps({"workflow_run": {"head_sha": "0" * 40}}))
    refused = runner.outweigh("gate", "comment", "--file", runner.out / "comment.md", environment=second)
    assert refused.returncode == 2
    assert "is not at 0000000000" in refused.stderr
    assert len(forge.comments) == 1


def test_an_api_that_is_down_changes_no_exit_code_and_loses_no_comment(start, forge):
    runner = start()
    runner.propose(wasted=LARGE)
    environment = {**runner.environment(forge), "GITHUB_API_URL": "http://127.0.0.1:1"}

    done = runner.gate("--comment", environment=environment)

    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert runner.comment.startswith("<!-- outweigh-gate: triage -->")


def test_new_factors_alone_are_no_proposal_and_change_nothing(start):
    site = '[site.here]\nzone = "DE"\npue = 1.25\nprice = "0.20 EUR/kWh"\ncapacity = "1 kW"\n\n[protocol]'
    runner = start(("[protocol]", site))
    runner.propose(("pue = 1.25", "pue = 3.0"), added="", wasted=None)

    done = runner.gate()

    assert done.returncode == 0
    assert "NOTHING TO WEIGH" in done.stdout
    assert "`site.here.pue`: 1.25 → 3.0" in runner.comment


def test_new_factors_beside_a_proposal_leave_every_figure_on_the_bases(start):
    site = '[site.here]\nzone = "DE"\npue = 1.25\nprice = "0.20 EUR/kWh"\ncapacity = "1 kW"\n\n[protocol]'
    runner = start(("[protocol]", site), wasted=LARGE)
    runner.propose(("pue = 1.25", "pue = 3.0"), ("0.20 EUR/kWh", "9.00 EUR/kWh"), wasted=SMALL)

    done = runner.gate()

    assert done.returncode == 0, done.stdout
    factors = {one["name"]: one["value"] for one in runner.document["factors"]}
    assert factors["PUE of here at full load"] == 1.25
    assert factors["electricity price at here"] == 0.20
    assert any("at PUE 1.25 of here" in note for note in runner.document["notes"])


def test_modelled_evidence_and_proxies_warn_and_never_fail_a_job(start):
    runner = start(("[gate]", '[gate]\nmode = "enforce"'), wasted=SMALL)
    runner.propose(wasted=LARGE)

    done = runner.gate("--only-blocking")

    assert done.returncode == 0  # a fail, on evidence of grade C where B is asked for
    assert runner.document["verdict"]["outcome"] == "fail"
    assert any(one["warns"] for one in runner.document["pull_request"]["proxies"])
    assert "counted, not energy; they never fail a gate" in runner.comment
    suite = ET.parse(runner.out / "junit.xml").getroot().find("testsuite")
    assert suite.get("failures") == "0"
    sarif = json.loads((runner.out / "gate.sarif").read_text())
    levels = {one["level"] for one in sarif["runs"][0]["results"]}
    assert levels <= {"warning", "note"}
    assert "warning" in levels


def test_an_enforcing_gate_whose_evidence_will_do_fails_the_job(start):
    runner = start(("[gate]", '[gate]\nmode = "enforce"\nmin_grade = "C"'), wasted=SMALL)
    runner.propose(wasted=LARGE)

    done = runner.gate("--only-blocking")

    assert done.returncode == 1
    suite = ET.parse(runner.out / "junit.xml").getroot().find("testsuite")
    assert int(suite.get("failures")) >= 1
    assert suite.get("tests") == str(len(suite.findall("testcase")))
    sarif = json.loads((runner.out / "gate.sarif").read_text())
    error = next(one for one in sarif["runs"][0]["results"] if one["level"] == "error")
    place = error["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "energy.toml"
    assert runner.text.splitlines()[place["region"]["startLine"] - 1] == "[gate]"


def test_an_interrupt_leaves_no_checkout_behind(start):
    runner = start(("rounds = 4", "rounds = 4000"))
    runner.propose(wasted=LARGE)
    temporary = runner.root / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [OUTWEIGH, "gate", "pull-request", "--base", "main", "--head", "feature", "--meter", "cpu-model",
         "--out", runner.out],
        cwd=runner.clone, env={**os.environ, "TMPDIR": str(temporary)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(temporary.glob("outweigh-pull-request-*/head/energy.toml")):
        time.sleep(0.1)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130, stderr
    assert list(temporary.iterdir()) == []
    assert len(runner.git("worktree", "list", "--porcelain").split("\n\n")) == 1


def test_no_checkout_is_left_after_a_verdict_and_the_clone_is_as_it_was(start):
    runner = start()
    runner.propose(wasted=SMALL)
    before = runner.git("status", "--porcelain")

    runner.gate()

    assert runner.git("status", "--porcelain") == before
    assert len(runner.git("worktree", "list", "--porcelain").split("\n\n")) == 1


def test_a_revision_that_is_not_there_is_told_with_what_to_do(start):
    runner = start()
    runner.propose()

    done = runner.outweigh(
        "gate", "pull-request", "--base", "--upload-pack=x", "--head", "nothing", "--out", runner.out
    )

    assert done.returncode == 2
    assert "whole history" in done.stderr
