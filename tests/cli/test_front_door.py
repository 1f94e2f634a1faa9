"""The command line's front door: every verb is there, errors teach, pipes work, nothing shows a traceback."""

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.cli.verbs import VERBS

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
# DESIGN section 2, in its order.
DESIGNED = (
    "init doctor measure compare shrink gate review estimate grid plan run whatif budget ledger report serve".split()  # noqa: SIM905
)


def outweigh(*args, **kwargs):
    return subprocess.run([OUTWEIGH, *args], capture_output=True, text=True, timeout=60, **kwargs)


def test_every_verb_of_the_design_is_registered_in_its_order():
    assert [verb.name for verb in VERBS] == DESIGNED


def test_help_lists_every_verb_with_what_it_does(capsys):
    run(["--help"])
    shown = capsys.readouterr().out
    for verb in VERBS:
        line = next(line for line in shown.splitlines() if line.strip().startswith(verb.name + " "))
        assert verb.summary[:20] in line


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.name)
def test_every_verb_has_help_with_an_example_to_paste(verb, capsys):
    assert run([verb.name, "--help"]) == 0
    assert f"outweigh {verb.name}" in capsys.readouterr().out.split("Example")[1]


def test_a_mistyped_verb_gets_the_nearest_one(capsys):
    assert run(["reveiw"]) == 2
    assert "'review'" in capsys.readouterr().err


def test_an_unknown_option_exits_2_without_a_traceback():
    done = outweigh("doctor", "--nope")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_it_as_sigpipe_does_and_is_no_verdict():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([OUTWEIGH, "doctor", "--json"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""


def test_a_command_is_measured_though_nobody_gave_us_an_output(tmp_path):
    ran = tmp_path / "ran"
    command = f'"{OUTWEIGH}" measure --hum 0 -- touch "{ran}" >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert ran.exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_minus_stays_a_minus_where_the_output_s_encoding_has_none_of_ours(encoding):
    case = Path(__file__).parents[2] / "examples" / "finance" / "case.toml"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([OUTWEIGH, "whatif", "finance", case], capture_output=True, timeout=60, env=environment)

    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click takes ASCII for a slip
    assert re.search(r"present value, EUR .*-[\d,]+ ", shown)


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 160])
def test_no_figure_is_cut_on_a_terminal_however_narrow(columns):
    sheet = Path(__file__).parents[2] / "examples" / "negotiation" / "sheet.toml"
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    with subprocess.Popen([OUTWEIGH, "whatif", "negotiate", sheet], stdout=theirs, stderr=subprocess.DEVNULL,
                          env=environment):  # fmt: skip
        os.close(theirs)
        shown = read_all(ours)

    assert "\u2026" not in shown
    for figure in ("6,235,963.50", "6,203,079.00", "0.13194"):
        assert figure in shown


def read_all(terminal):
    parts = []
    with contextlib.suppress(OSError):  # a terminal that nobody writes to any longer ends with an error
        while part := os.read(terminal, 65_536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    "question", ["--check", "--replay", "--scenarios", "--emit", "--energy", "--place", "--backtest"]
)
def test_every_question_of_plan_has_help_wherever_it_is_asked_for(question):
    ask = outweigh("plan", question, "--help")
    before = outweigh("plan", "-h", question)

    assert ask.returncode == 0
    assert ask.stdout == before.stdout != outweigh("plan", "--help").stdout


def test_the_command_line_pages_are_those_of_help():
    script = Path(__file__).parents[2] / "scripts" / "write_cli_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_importing_outweigh_imports_nothing_heavy():
    program = (
        "import outweigh, outweigh.measure, sys;"
        "heavy = {'numpy', 'scipy', 'pydantic', 'sqlalchemy', 'rich', 'click', 'jinja2', 'onnxruntime', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_error_shows_what_was_typed_and_no_terminal_obeys_it():
    done = outweigh("grid", "show", "DE\x1b[31mX")

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert r"DE\x1b[31mX" in done.stderr
