"""A waiver changes what a verdict ends with and never what it says; the base's alone count."""

import json

import pytest

pytestmark = pytest.mark.timeout(300)

LARGE, SMALL = 400, 0


def filled_in(document, expires="2999-01-31"):
    """The waiver that the verdict itself prints, as somebody would fill it in."""
    lines = []
    for line in document["weighing"]["waiver_to_paste"].splitlines():
        key = line.split("=")[0].strip()
        answers = {"owner": '"product"', "reason": '"the contract names it"', "expires": expires}
        lines.append(f"{key} = {answers[key]}" if key in answers else line)
    return "\n" + "\n".join(lines) + "\n"


@pytest.fixture
def failed(start):
    """A proposal that draws more for nothing, weighed once."""
    runner = start(wasted=SMALL)
    runner.propose(wasted=LARGE)
    assert runner.gate().returncode == 1
    return runner


def test_a_waiver_of_the_base_lets_the_proposal_go_ahead_and_the_verdict_stays_a_fail(failed):
    waiver = filled_in(failed.document)
    failed.git("checkout", "--quiet", "main")
    failed.write(failed.text + waiver)
    failed.commit("waive it")
    failed.propose(wasted=LARGE)

    done = failed.gate("--record")

    document = failed.document
    assert done.returncode == 0, done.stdout + done.stderr
    assert document["verdict"]["outcome"] == "fail"
    assert "WAIVED" in done.stdout
    assert "by product until 2999-01-31: the contract names it" in done.stdout
    assert "**Waived:** by product until 2999-01-31" in failed.comment
    report = (failed.out / "report.html").read_text()
    assert "Fail, waived" in report
    assert "Waived by product until 2999-01-31: the contract names it." in report
    line = json.loads(failed.outweigh("gate", "log", "--json").stdout)
    assert line["waived"] is True
    assert line["waivers"][0]["owner"] == "product"


def test_a_waiver_that_the_head_writes_for_itself_counts_for_nothing(failed):
    failed.propose(added='\n[variants.new]\nmodel = "models/new.onnx"\n' + filled_in(failed.document), wasted=LARGE)

    done = failed.gate()

    assert done.returncode == 1, done.stdout + done.stderr
    assert failed.document["weighing"]["waivers"] == []
    assert "waiver" in {one["key"].partition("[")[0].partition(".")[0] for one in
                        failed.document["pull_request"]["policy_changes"]}  # fmt: skip


def test_a_waiver_that_ran_out_no_longer_counts_and_is_shown(failed):
    waiver = filled_in(failed.document, expires="2020-01-31")
    failed.git("checkout", "--quiet", "main")
    failed.write(failed.text + waiver)
    failed.commit("waived once")
    failed.propose(wasted=LARGE)

    done = failed.gate()

    assert done.returncode == 1, done.stdout + done.stderr
    assert "ran out on 2020-01-31 and no longer counts" in done.stdout


def test_gate_explains_a_fail_with_a_waiver_to_fill_in_and_heeds_it(failed):
    failed.git("checkout", "--quiet", "feature")
    proposed = failed.text.replace('incumbent = "base"', 'incumbent = "base"\nproposal = "new"')
    failed.write(proposed)
    arguments = ("gate", ".", "--meter", "cpu-model", "--explain")
    before = failed.outweigh(*arguments)
    shown = before.stdout[before.stdout.index("[[waiver]]") :]
    failed.write(proposed + filled_in({"weighing": {"waiver_to_paste": shown.strip()}}))

    after = failed.outweigh(*arguments)

    assert (before.returncode, after.returncode) == (1, 0), after.stdout + after.stderr
    assert "what it hangs on, one number moved at a time" in before.stdout
    assert "smallest gain" in before.stdout
    assert after.stdout.startswith("FAIL  (provisional)  WAIVED")
