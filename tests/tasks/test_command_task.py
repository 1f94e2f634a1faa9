from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from outweigh.core.errors import ModelError, TaskError
from outweigh.core.variant import Variant
from outweigh.registry import tasks


@pytest.fixture
def run(command_bench):
    """Runs a program given as Python source on items 0 to 5."""

    def go(source="", items=range(6), metrics="even", keep=None, **options):
        task = tasks.get("command")()
        task.load(command_bench.spec(metrics=metrics), command_bench.root)
        if source:
            (command_bench.root / "program.py").write_text(source)
            options.setdefault("command", f"{sys.executable} program.py")
        given = Variant.freeze_options(dict(command_bench.good.options) | options)
        runner = task.runner(Variant("v", command_bench.good.model, options=given))
        try:
            runner.fit()
            return runner.run(items)
        finally:
            if keep is not None:
                keep.append(runner)
            runner.close()

    return go


def test_both_protocols_give_the_same_scores_and_counts(run):
    once, kept = (run(protocol=protocol) for protocol in ("items", "stdin"))

    assert once.items == kept.items == tuple(range(6))
    assert once.scores == kept.scores
    assert once.counts == kept.counts
    assert set(once.scores["even"]) == {0.0, 1.0}
    assert once.counts["tokens_in"] != (0.0,) * 6


def test_a_command_that_stays_is_started_once_for_many_rounds(command_bench):
    source = command_bench.root / "answer.py"
    source.write_text("open('starts', 'a').write('x')\n" + source.read_text())
    task = tasks.get("command")()
    task.load(command_bench.spec(), command_bench.root)
    options = Variant.freeze_options(dict(command_bench.good.options) | {"protocol": "stdin"})
    runner = task.runner(Variant("v", command_bench.good.model, options=options))

    runner.fit()
    for start in range(0, 40, 10):
        runner.run(range(start, start + 10))
    process = runner._process
    runner.close()

    assert (command_bench.root / "starts").read_text() == "x"
    assert process.returncode == 0


HEAD = "import json, os, sys, time\nlines = open(sys.argv[-1]).readlines()\n"
EACH = HEAD + "for line in lines:\n    item = json.loads(line)['item']\n    "


def test_latency_is_what_the_command_says_else_its_share_of_the_round(run):
    said = run(EACH + "print(json.dumps({'item': item, 'scores': {'even': 1}, 'latency_ms': 2.5}))")
    unsaid = run(EACH + "print(json.dumps({'item': item, 'scores': {'even': 1}}))")

    assert said.latency_ms == (2.5,) * 6
    assert len(set(unsaid.latency_ms)) == 1
    assert unsaid.latency_ms[0] > 0


def test_several_metrics_can_be_printed_and_null_has_no_say(run):
    found = run(EACH + "print(json.dumps({'item': item, 'scores': {'a': True, 'b': None, 'c': 7}}))", metrics="a, b")

    assert found.scores == {"a": (1.0,) * 6, "b": (None,) * 6}


def test_threads_are_told_to_the_command(run):
    found = run(EACH + "print(json.dumps({'item': item, 'scores': {'even': int(os.environ['OMP_NUM_THREADS'])}}))",
                threads=3)  # fmt: skip

    assert found.scores["even"] == (3.0,) * 6


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (HEAD + "print('loading')", "'loading' is not JSON"),
        (HEAD + "print('{}')", "has no `scores`"),
        (HEAD + "pass", "no answer for 6 of 6 items, 0 the first"),
        (EACH + "print(json.dumps({'item': 0, 'scores': {'even': 1}}))", "item 0, not asked for or answered before"),
        (EACH + "print(json.dumps({'item': 99, 'scores': {'even': 1}}))", "item 99, not asked for"),
        (EACH + "print(json.dumps({'item': item, 'scores': {'odd': 1}}))", "item 0 has no 'even', only odd"),
        (EACH + "print(json.dumps({'item': item, 'scores': {'even': 'good'}}))", "even of item 0 is 'good'"),
        (EACH + "print(json.dumps({'item': item, 'scores': {'even': 1}, 'latency_ms': -1}))", "latency_ms of item 0"),
        (EACH + "print(json.dumps({'item': item, 'scores': {'even': float('inf')}}))", "not finite"),
        (HEAD + "sys.exit(3)", "ends with exit code 3"),
        (HEAD + "os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
    ],
)
def test_a_command_that_does_not_keep_to_the_protocol_is_a_model_error(run, source, problem):
    with pytest.raises(ModelError, match=problem) as caught:
        run(source)

    assert caught.value.remedy


def test_a_command_that_stays_and_dies_says_how(run):
    with pytest.raises(ModelError, match="ends with exit code 4"):
        run("import sys\nsys.stdin.readline()\nsys.exit(4)", protocol="stdin")


@pytest.mark.parametrize("protocol", ["items", "stdin"])
def test_a_command_that_takes_too_long_is_ended_with_all_it_started(run, command_bench, protocol):
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    began_s = time.monotonic()

    with pytest.raises(ModelError, match=r"took longer than 1\.5 s"):
        run(source, protocol=protocol, timeout_s=1.5)

    assert time.monotonic() - began_s < 30
    child = int((command_bench.root / "child").read_text())
    until = time.monotonic() + 10
    while time.monotonic() < until and alive(child):
        time.sleep(0.01)
    assert not alive(child)


def alive(pid):
    """Whether it still runs; one that only waits to be waited for does not."""
    with suppress(OSError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"command": ""}, "no option `command`"),
        ({"command": "'unclosed"}, "cannot be read"),
        ({"command": "no-such-program-anywhere"}, "there is no program"),
        ({"command": "./nothing-here"}, "cannot be started"),
    ],
)
def test_a_command_that_cannot_be_run_says_so(run, options, problem):
    with pytest.raises(ModelError, match=problem) as caught:
        run(**options)

    assert caught.value.remedy


@pytest.mark.parametrize("options", [{"protocol": "http"}, {"timeout_s": 0}, {"threads": -1}])
def test_options_that_cannot_be_are_refused(run, options):
    with pytest.raises(TaskError, match=f"option {next(iter(options))} is"):
        run(**options)


def test_lines_that_are_no_json_are_a_task_error(command_bench):
    (command_bench.root / "numbers.jsonl").write_text("1\n{\n")

    with pytest.raises(TaskError, match=r"numbers.jsonl:2 is not JSON"):
        tasks.get("command")().load(command_bench.spec(), command_bench.root)
