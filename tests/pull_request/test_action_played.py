"""The composite action itself, its steps run as a runner runs them: expressions filled in, bash, files in between."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.timeout(300)

ACTION = Path(__file__).parents[2] / "action" / "action.yml"
LARGE, SMALL = 400, 0


def played(runner, forge, token="t0ken", **inputs):
    """Run the action's steps for the event of `runner`; returns (name, exit code) of each, and what they printed."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    environment = runner.environment(forge, token)
    event = {
        "github.event.pull_request.base.sha": runner.git("rev-parse", "main"),
        "github.sha": environment["GITHUB_SHA"],
        "github.token": environment.pop("GITHUB_TOKEN"),
    }

    def filled(text, known):
        return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", lambda found: known[found[1]], str(text))

    known = {
        f"inputs.{name}": inputs.get(name, filled(one.get("default", ""), event))
        for name, one in action["inputs"].items()
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI_", "GH_"))}
    ran, printed, failed = [], [], False
    for step in action["runs"]["steps"]:
        asked = str(step.get("if", ""))
        if (failed and "always()" not in asked) or ("install != ''" in asked and not known["inputs.install"]):
            continue
        given = {name: filled(value, {**known, **event}) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=runner.clone, check=False,
            env={**kept, **environment, **given}, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        ran.append((step["name"], done.returncode))
        printed.append(done.stdout + done.stderr)
        failed = failed or done.returncode != 0
    return ran, "\n".join(printed)


@pytest.fixture
def ours():
    """What the action is told where outweigh is installed already."""
    return {"install": "", "python": sys.executable, "meter": "cpu-model", "out": "outweigh-gate"}


def test_the_action_weighs_and_comments_once_and_writes_over_its_comment_after(start, forge, ours):
    runner = start(wasted=SMALL)
    runner.propose(wasted=LARGE)

    first, said = played(runner, forge, **ours)
    runner.propose(wasted=LARGE + 1)
    second, _ = played(runner, forge, **ours)

    # Modelled evidence: a fail that is provisional blocks nothing.
    assert first == second == [("Weigh", 0), ("Comment", 0)], said
    assert forge.written == ["POST", "PATCH"]
    assert "FAIL: new in place of base" in forge.comments[0]["body"]
    left = {path.name for path in (runner.clone / "outweigh-gate").iterdir()}
    assert left >= {"comment.md", "gate.json", "junit.xml", "gate.sarif", "report.html"}
    assert "FAIL: new in place of base" in (runner.root / "summary.md").read_text()
    outputs = dict(line.split("=", 1) for line in (runner.root / "output").read_text().splitlines())
    assert (outputs["outcome"], outputs["exit-code"], outputs["may-block"]) == ("fail", "1", "false")


def test_where_the_gate_may_block_the_action_fails_and_comments_all_the_same(start, forge, ours):
    runner = start(('incumbent = "base"', 'incumbent = "base"\nmode = "enforce"\nmin_grade = "C"'), wasted=SMALL)
    runner.propose(wasted=LARGE)

    ran, said = played(runner, forge, **ours)

    assert ran == [("Weigh", 1), ("Comment", 0)], said
    assert len(forge.comments) == 1


def test_a_forks_token_leaves_the_comment_in_its_file_and_the_job_as_it_was(start, forge, ours):
    runner = start(wasted=LARGE)
    runner.propose(wasted=SMALL)
    forge.refuse_always = (403, {})

    ran, said = played(runner, forge, **ours)

    assert ran == [("Weigh", 0), ("Comment", 0)], said
    assert "::warning title=outweigh::The comment was not posted" in said
    assert (runner.clone / "outweigh-gate" / "comment.md").is_file()


def test_no_step_puts_an_input_or_the_event_into_the_text_of_its_script():
    for step in yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]:
        assert "${{" not in step["run"], step["name"]
