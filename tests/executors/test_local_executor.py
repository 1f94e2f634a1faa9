from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from outweigh.core.errors import CommandNotRun, OutweighError, UsageError
from outweigh.ports import Executor
from outweigh.registry import executors

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawnp"), reason="needs POSIX processes")


@pytest.fixture
def executor():
    return executors.get("local")()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def outweigh_running(code: str) -> list[str]:
    """A Python process that runs `code` under the executor and prints what came of it."""
    return python(f"""
        from outweigh.registry import executors
        done = executors.get("local")().run({python(code)!r})
        print(done.exit_code, done.interrupted, flush=True)
    """)


def test_the_executor_is_found_by_its_name_and_keeps_the_port(executor):
    assert isinstance(executor, Executor)
    assert executor.name == "local"
    assert executor.probe().usable


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_passes_through(executor, code):
    done = executor.run(python(f"raise SystemExit({code})"))

    assert (done.exit_code, done.interrupted) == (code, False)


# POSIX.1-2017, XCU 2.8.2: greater than 128 for a signal; every shell gives 128 + its number.
@pytest.mark.parametrize(
    ("name", "code", "interrupted"), [("KILL", 137, False), ("TERM", 143, True), ("ABRT", 134, False)]
)
def test_a_command_ended_by_a_signal_has_128_and_its_number(executor, name, code, interrupted):
    done = executor.run(python(f"import os, signal; os.kill(os.getpid(), signal.SIG{name})"))

    assert (done.exit_code, done.interrupted) == (code, interrupted)


def test_standard_input_output_and_error_pass_through():
    code = "import sys; text = sys.stdin.read(); print(text.upper()); print(text, file=sys.stderr); sys.exit(4)"

    done = subprocess.run(outweigh_running(code), input="hello", capture_output=True, text=True, timeout=60)

    assert done.stdout == "HELLO\n4 False\n"
    assert done.stderr == "hello\n"


def test_cpu_time_is_that_of_the_command_and_the_children_it_waited_for(executor):
    burn = "import time\nwhile time.process_time() < {}: pass"
    tree = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn.format(0.3)!r}])\n{burn.format(0.2)}"

    alone, both = executor.run(python(burn.format(0.2))), executor.run([sys.executable, "-c", tree])

    assert 0.2 <= alone.cpu_s < 2
    assert 0.5 <= both.cpu_s < 4


def test_cpu_time_of_earlier_children_is_not_counted(executor):
    subprocess.run(python("import time\nwhile time.process_time() < 0.5: pass"), check=True)

    assert executor.run(["true"]).cpu_s < 0.3


def test_a_command_that_does_not_exist_ends_with_127(executor):
    with pytest.raises(CommandNotRun, match="no-such-command: command not found") as caught:
        executor.run(["no-such-command", "x"])

    assert caught.value.exit_code_hint == 127
    assert caught.value.remedy
    assert isinstance(caught.value, OutweighError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.exit_code_hint) == (str(caught.value), 127)


def test_a_file_that_cannot_be_executed_ends_with_126(executor, tmp_path):
    (tmp_path / "plain.txt").write_text("not a program")

    with pytest.raises(CommandNotRun) as caught:
        executor.run([str(tmp_path / "plain.txt")])
    with pytest.raises(CommandNotRun) as folder:
        executor.run([str(tmp_path)])

    assert caught.value.exit_code_hint == folder.value.exit_code_hint == 126


@pytest.mark.parametrize("command", [[], [""]])
def test_no_command_is_a_usage_error(executor, command):
    with pytest.raises(UsageError, match="no command"):
        executor.run(command)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_to_us_reaches_the_whole_tree_and_we_live_on_to_tell(name, code):
    # The grandchild holds the pipe open: end of file says that it has gone too.
    tree = """
        import signal, subprocess, sys
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sleeper = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        sleeper += "print('ready', flush=True); time.sleep(60)"
        subprocess.run([sys.executable, "-c", sleeper])
    """
    with subprocess.Popen(
        outweigh_running(tree), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as us:
        assert us.stdout is not None
        assert us.stdout.readline() == "ready\n"

        us.send_signal(signal.Signals[name])
        said, _ = us.communicate(timeout=30)

    assert us.returncode == 0
    assert said == f"{code} True\n"


def test_a_command_that_handles_the_signal_decides_how_it_ends():
    polite = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(outweigh_running(polite), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as us:
        assert us.stdout is not None
        us.stdout.readline()

        us.terminate()
        said, _ = us.communicate(timeout=30)

    assert said == "7 True\n"


def test_signal_handlers_are_as_before_afterwards(executor):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    executor.run(["true"])

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_it_runs_from_another_thread_too(executor):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(executor.run(python("raise SystemExit(5)")).exit_code))

    thread.start()
    thread.join(timeout=60)

    assert codes == [5]


def test_from_a_terminal_the_command_can_read_what_is_typed_and_ctrl_c_reaches_it_once():
    # What a shell does for a foreground job: a session with a terminal, and its keys.
    import pty

    code = """
        import signal, sys, time
        hits = []
        signal.signal(signal.SIGINT, lambda *_: hits.append(1))
        print("got", input(), flush=True)
        while not hits:
            time.sleep(0.01)
        time.sleep(0.2)  # a second delivery would come at once after the first
        sys.exit(len(hits))
    """
    child, terminal = pty.fork()
    if child == 0:
        command = outweigh_running(code)
        os.execv(command[0], command)
    said = b""

    def until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            said += os.read(terminal, 1024)

    try:
        os.write(terminal, b"typed\n")
        until(b"got typed")
        os.write(terminal, b"\x03")
        until(b"1 True")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
