"""`outweigh gate`, `review` and `compare` on a real project: each exit code once, and what is kept of a sitting."""

import json

import pytest

pytestmark = pytest.mark.timeout(300)

LARGE, SMALL = 400, 0
METER = ("--meter", "cpu-model")


@pytest.fixture
def proposing(start):
    """A project that proposes `new`; `wasted` says how large the model in service is, and how large the proposal."""

    def make(*changes, base=SMALL, new=SMALL, seed=7):
        runner = start(wasted=base)
        runner.propose(('incumbent = "base"', 'incumbent = "base"\nproposal = "new"'), *changes, wasted=new, seed=seed)
        return runner

    return make


def test_a_proposal_that_passes_ends_with_0(proposing):
    done = proposing(base=LARGE).outweigh("gate", ".", *METER)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS")


def test_a_rule_that_is_breached_ends_with_1(proposing):
    done = proposing(new=LARGE).outweigh("gate", ".", *METER)

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("FAIL")


def test_a_configuration_that_cannot_be_read_ends_with_2(proposing):
    done = proposing(('owner = "team"', 'ownr = "team"')).outweigh("gate", ".", *METER)

    assert done.returncode == 2
    assert "owner" in done.stderr


def test_a_measurement_that_cannot_be_used_ends_with_3(proposing):
    done = proposing(new=LARGE).outweigh("gate", ".", "--meter", "replay")

    assert done.returncode == 3
    assert "replay" in done.stderr


def test_a_factor_that_is_missing_ends_with_4_before_anything_is_measured(proposing):
    runner = proposing(("[protocol]", '[site.nowhere]\nzone = "XX"\ncapacity = "1 kW"\n\n[protocol]'))

    done = runner.outweigh("gate", ".", *METER)

    assert done.returncode == 4
    assert "XX" in done.stderr
    assert not (runner.clone / ".outweigh" / "ledger.sqlite").exists()


def test_what_cannot_be_told_ends_with_5(proposing):
    done = proposing(new=SMALL).outweigh("gate", ".", *METER)

    assert done.returncode == 5, done.stdout + done.stderr
    assert done.stdout.startswith("INCONCLUSIVE")


@pytest.mark.parametrize(
    ("mode", "code"),
    [('mode = "warn"', 0), ('mode = "enforce"\nmin_grade = "B"', 0), ('mode = "enforce"\nmin_grade = "C"', 1)],
)
def test_mode_and_grade_say_what_may_block_and_the_verdict_is_the_same(proposing, mode, code):
    runner = proposing(("[gate]", f"[gate]\n{mode}"), new=LARGE)

    done = runner.outweigh("review", ".", *METER, "--out", runner.out)
    asked = runner.outweigh("gate", "--from", runner.out / "review.json", "--only-blocking")
    told = runner.outweigh("gate", "--from", runner.out / "review.json")

    assert (done.returncode, told.returncode, asked.returncode) == (1, 1, code), done.stderr + asked.stderr
    assert asked.stdout == told.stdout
    assert asked.stdout.startswith("FAIL")


def test_an_open_verdict_says_what_this_evaluation_can_show_and_what_would_settle_it(proposing):
    done = proposing(new=LARGE // 40, seed=11).outweigh("gate", ".", "--explain", *METER)

    said = " ".join(done.stdout.split())
    assert "The smallest gain that 200 items like these show in 4 of 5 cases is a cut in error of" in said
    assert "The growth in energy asks for a cut of" in said
    assert ("would settle" in said) == (done.returncode == 5), done.stdout


def test_a_waiver_of_another_content_is_explained_and_counts_for_nothing(proposing):
    waiver = """
[[waiver]]
proposal = "new"
content = "000000000000"
verdict = "111111111111"
owner = "product"
reason = "an older model"
expires = 2999-01-31
"""
    runner = proposing(new=LARGE)
    runner.write(runner.text + waiver)

    done = runner.outweigh("review", ".", *METER, "--out", runner.out)
    explained = runner.outweigh("gate", "--from", runner.out / "review.json", "--explain")

    assert (done.returncode, explained.returncode) == (1, 1)
    assert "not what was weighed" in " ".join(explained.stdout.split())
    for report in ("report.html", "report.md"):
        text = (runner.out / report).read_text()
        assert "an older model" in text
        assert "not of what was weighed" in text


@pytest.mark.parametrize("verb", ["review", "compare"])
def test_the_power_over_a_sitting_is_kept_and_each_receipt_finds_its_own_part(proposing, verb):
    pytest.importorskip("duckdb", reason="samples are kept where the extra samples is installed")
    # Rounds long enough for the sampler to have looked while one lasted.
    runner = proposing(('window = "0.02 s"', 'window = "0.5 s"'), new=SMALL)
    more = (".", "--out", runner.out) if verb == "review" else ()

    done = runner.outweigh(verb, *more, *METER)

    assert done.returncode in (0, 1, 5), done.stderr
    rows = [json.loads(line) for line in runner.outweigh("ledger", "list", "--json").stdout.splitlines()]
    longest = max(rows, key=lambda row: row["duration_s"])
    samples = runner.outweigh("ledger", "samples", longest["receipt"], "--json")
    assert samples.returncode == 0, samples.stderr
    found = [json.loads(line) for line in samples.stdout.splitlines()]
    assert found
    assert all(0 < one["t_s"] <= longest["duration_s"] + 1e-3 and one["power_w"] >= 0 for one in found)
