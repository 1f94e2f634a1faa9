"""Slurm's energy accounting: a real Slurm with a made energy counter, and recorded output for what one cluster is not.

The real one is slurmctld and one slurmd, whose /dev/cpu/0/msr is a file in a mount namespace of its own that counts
50 W: no test machine passes processor counters through, so the joules are synthetic and the reading of them is real.
`scontrol` and `sstat` elsewhere are scripts that print what Slurm 22.05.8 printed.
"""

import contextlib
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.slurm import SlurmMeter
from outweigh.core.budget import Phase
from outweigh.core.errors import MeterUnavailable
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure import merge_receipts, node_labels

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
JOB = {"SLURM_JOB_ID": "1"}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Call it to put `scontrol` and `sstat` on the PATH; gives the file that holds the energy [J]."""
    further.put_on_path(monkeypatch, tmp_path / "bin")

    def put(**settings):
        further.slurm_tools(tmp_path / "bin", tmp_path / "energy", **settings)
        return tmp_path / "energy"

    return put


def opened(environment=JOB, **options):
    meter = SlurmMeter(environment=environment, **options)
    meter.open()
    return meter


def test_the_batch_step_is_read_and_steps_inside_it_are_not_added(tools):
    tools().write_text("561")
    meter = opened()
    assert meter.read().values == (561.0,)
    assert meter.channels[0].device == "job step 1.batch"


def test_a_process_in_a_step_reads_that_step(tools):
    tools().write_text("561")
    assert opened({**JOB, "SLURM_STEP_ID": "0"}).read().values == (7.0,)


@pytest.mark.parametrize(
    ("plugin", "scope"),
    [("ipmi", Scope.NODE), ("pm_counters", Scope.NODE), ("rapl", Scope.PSYS), ("gpu", Scope.GPU)],
)
def test_what_is_seen_is_what_the_plugin_sees(tools, plugin, scope):
    tools(plugin=f"acct_gather_energy/{plugin}")
    assert opened().channels[0].scope is scope


@pytest.mark.parametrize(("shared", "grade"), [("NO", Grade.B), ("OK", Grade.C), ("YES:4", Grade.C)])
def test_a_shared_node_is_a_grade_lower_for_slurm_splits_nothing(tools, shared, grade):
    tools(shared=shared)
    meter = opened()
    assert meter.grade is grade
    assert any("does not split" in note for note in meter.notes) is (grade is Grade.C)


def test_two_jobs_on_one_node_get_their_parts_of_it_and_not_twice_the_whole(tools, tmp_path):
    energy, jobs = tools(shared="OK"), tmp_path / "bin" / "jobs"
    jobs.write_text("1|1|1\n2|3|1\n")  # id, CPUs, nodes
    now = [0.0]
    one = opened(now=lambda: now[0])
    (tmp_path / "bin" / "sstat").write_text(
        f'#!/bin/sh\necho "1.batch|$(cat {energy})"; echo "2.batch|$(cat {energy})"\n'
    )
    other = opened({"SLURM_JOB_ID": "2"}, now=lambda: now[0])
    before = [one.read().values[0], other.read().values[0]]

    energy.write_text("1000")
    now[0] = 10.0
    parts = [one.read().values[0] - before[0], other.read().values[0] - before[1]]

    assert parts == [250.0, 750.0]
    assert one.method is Method.MODELLED
    assert {component.name for component in one.components()} == {"calibration", "split"}


def test_a_job_alone_on_a_node_that_may_be_shared_gets_all_of_it(tools, tmp_path):
    energy = tools(shared="OK")
    now = [0.0]
    meter = opened(now=lambda: now[0])
    energy.write_text("1000")
    now[0] = 10.0

    assert meter.read().values == (1000.0,)
    assert [component.name for component in meter.components()] == ["calibration"]


def test_a_job_that_comes_in_between_is_charged_for_half_of_that_time(tools, tmp_path):
    energy, jobs = tools(shared="OK"), tmp_path / "bin" / "jobs"
    now = [0.0]
    meter = opened(now=lambda: now[0])
    jobs.write_text("1|1|1\n2|1|1\n")
    energy.write_text("1000")
    now[0] = 10.0

    assert meter.read().values == (750.0,)  # the mean of a whole and a half


def test_ranks_on_two_nodes_that_read_one_step_are_one_receipt_with_its_joules_once(tools, tmp_path):
    tools()
    step = opened({**JOB, "SLURM_CLUSTER_NAME": "t"})
    interval = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 60.0)
    total = Measurement(Energy(6_000.0), interval, Scope.NODE, Grade.B, Method.COUNTER, "slurm")
    receipts = []
    for node in ("here", "there"):
        (tmp_path / node).write_text(f"boot id of {node}")
        labels = tuple(sorted(node_labels(step, tmp_path / node).items()))
        receipts.append(Receipt(node, "p", Phase.TRAINING, RunStatus.COMPLETED, total, None, None, labels=labels))

    assert merge_receipts(receipts).total.value.joules == pytest.approx(6_000.0)


@pytest.mark.parametrize(
    ("frequency", "every_s"), [("task=1,energy=10", 10.0), ("30", 30.0), ("energy=0", 30.0), ("task=30", 30.0)]
)
def test_the_refresh_is_the_jobs_own_or_the_nodes(tools, frequency, every_s):
    tools(frequency=frequency)
    assert opened().channels[0].update_s == every_s + 5.0


@pytest.mark.parametrize("plugin", ["(null)", "acct_gather_energy/none", ""])
def test_a_cluster_that_gathers_nothing_says_so_instead_of_zero(tools, plugin):
    tools(plugin=plugin)
    with pytest.raises(MeterUnavailable, match="gathers no energy"):
        opened()


@pytest.mark.parametrize("energy", ["18446744073709551614", "", "n/a"])
def test_an_energy_that_slurm_does_not_know_is_no_number(tools, tmp_path, energy):
    tools()
    further.executable(tmp_path / "bin", "sstat", f'echo "1.batch|{energy}"')
    with pytest.raises(MeterUnavailable):
        opened()


def test_outside_a_job_and_without_the_commands_it_says_why(tools, tmp_path, monkeypatch):
    with pytest.raises(MeterUnavailable, match="not in a Slurm job"):
        opened({})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeterUnavailable, match="not on the PATH"):
        opened()


def test_what_slurm_complains_of_is_passed_on(tools, tmp_path):
    tools()
    further.executable(tmp_path / "bin", "sstat", "echo 'sstat: error: no steps running for job 1' >&2; exit 1")
    with pytest.raises(MeterUnavailable, match="no steps running"):
        opened()


def test_slurm_is_asked_at_most_every_five_seconds(tools, tmp_path):
    energy, now = tools(), [0.0]
    meter = opened(now=lambda: now[0])
    energy.write_text("100")
    now[0] = 4.9
    assert meter.read().values == (0.0,)
    now[0] = 5.0
    assert meter.read().values == (100.0,)


# --- a real Slurm -------------------------------------------------------------------------------------

COUNTER = """
    import os, struct, time
    file = os.open("/dev/cpu/0/msr", os.O_RDWR | os.O_CREAT)
    os.pwrite(file, struct.pack("<Q", 0x000A0E03), 0x606)  # units: 2^-14 J
    start_s = time.time() - 100
    while os.getppid() != 1:
        os.pwrite(file, struct.pack("<Q", int(50 * (time.time() - start_s) * 2**14) & 0xFFFFFFFF), 0x611)
        time.sleep(0.05)
"""
CONF = """
    ClusterName=t
    SlurmctldHost={host}(127.0.0.1)
    SlurmctldPort={ctld}
    SlurmUser=root
    AuthType=auth/munge
    AuthInfo=socket={b}/munge.sock
    StateSaveLocation={b}/ctld
    SlurmdSpoolDir={b}/spool.%n
    SlurmctldPidFile={b}/slurmctld.pid
    SlurmdPidFile={b}/slurmd.%n.pid
    SlurmctldLogFile={b}/slurmctld.log
    SlurmdLogFile={b}/slurmd.%n.log
    ProctrackType=proctrack/linuxproc
    JobAcctGatherType=jobacct_gather/linux
    JobAcctGatherFrequency=task=1,energy=1
    AcctGatherEnergyType=acct_gather_energy/rapl
    AcctGatherNodeFreq=1
    SelectType=select/cons_tres
    SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
    SlurmdParameters=config_overrides
    MailProg=/bin/true
    NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=2 RealMemory=2000
    PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Reads the counter twice in the job, some seconds apart, and once in a step inside it.
JOB_SCRIPT = """
    import json, subprocess, sys, time
    from outweigh.backends.meters.slurm import SlurmMeter

    if sys.argv[1:] == ["step"]:
        meter = SlurmMeter()
        meter.open()
        print(meter.channels[0].device)
        raise SystemExit
    now = [0.0]
    meter = SlurmMeter(now=lambda: now[0])
    meter.open()
    first_s, first = time.monotonic(), meter.read().values[0]
    time.sleep(6.0)
    now[0] = 6.0
    second_s, second = time.monotonic(), meter.read().values[0]
    step = subprocess.run(["srun", "-n1", sys.executable, __file__, "step"], capture_output=True, text=True)
    print(json.dumps({
        "watts": (second - first) / (second_s - first_s), "grade": meter.grade, "notes": meter.notes,
        "device": meter.channels[0].device, "scope": meter.channels[0].scope, "step": step.stdout + step.stderr,
        "usable": SlurmMeter.probe().usable,
    }))
"""
# Waits until both jobs run, and measures for some seconds in which neither ends.
PART_SCRIPT = """
    import json, subprocess, time
    from outweigh.backends.meters.slurm import SlurmMeter

    while len(subprocess.run(["squeue", "-h", "-t", "R"], capture_output=True, text=True).stdout.split("\\n")) < 3:
        time.sleep(0.2)
    time.sleep(2.0)
    meter = SlurmMeter()
    meter.open()
    first_s, first = time.monotonic(), meter.read().values[0]
    time.sleep(9.0)
    second_s, second = time.monotonic(), meter.read().values[0]
    time.sleep(8.0)
    print(json.dumps({"watts": (second - first) / (second_s - first_s), "method": meter.method}))
"""


@contextlib.contextmanager
def cluster(b):
    """One slurmctld, one slurmd with a made counter, and a munged of their own; yields how to run a command there."""
    for name in ("ctld", "key"):
        (b / name).mkdir(mode=0o700)
    (b / "key" / "k").write_bytes(os.urandom(1024))
    (b / "key" / "k").chmod(0o600)
    (b / "counter.py").write_text(textwrap.dedent(COUNTER))
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = {"ctld": one.getsockname()[1], "node": two.getsockname()[1]}
    host = socket.gethostname().partition(".")[0]
    (b / "slurm.conf").write_text(textwrap.dedent(CONF).format(b=b, host=host, **ports))
    environment = {**os.environ, "SLURM_CONF": str(b / "slurm.conf")}
    node = (
        f"mkdir -p /dev/cpu && mount -t tmpfs tmpfs /dev/cpu && mkdir /dev/cpu/0 && {sys.executable} {b}/counter.py & "
        f"while [ ! -s /dev/cpu/0/msr ]; do sleep 0.05; done; exec slurmd -D -N n1 -f {b}/slurm.conf"
    )
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((b / "out").open("w"))

        def start(*command):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            stack.callback(process.wait, 20)
            stack.callback(os.killpg, process.pid, 15)

        def run(*command):
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=90, check=True
            ).stdout

        start(
            "munged", "--foreground", "--force", "--num-threads=2", f"--key-file={b}/key/k", f"--seed-file={b}/seed",
            f"--socket={b}/munge.sock", f"--pid-file={b}/munged.pid", f"--log-file={b}/munged.log",
        )  # fmt: skip
        until(lambda: (b / "munge.sock").exists())
        start("slurmctld", "-D", "-f", f"{b}/slurm.conf")
        start("unshare", "--mount", "sh", "-c", node)

        def idle():
            with contextlib.suppress(subprocess.CalledProcessError):
                return run("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"]

        until(idle)
        yield run


def until(holds, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.1)


@pytest.fixture
def slurm_folder(tmp_path_factory):
    missing = [tool for tool in ("slurmctld", "slurmd", "munged", "unshare") if shutil.which(tool) is None]
    if missing:
        remedy = f"there is no {missing[0]} here: apt-get install slurm-wlm munge"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    if os.geteuid() != 0:
        pytest.skip("a mount namespace and slurmd need root")
    return tmp_path_factory.mktemp("slurm")


@pytest.mark.slow
def test_a_real_slurm_job_reads_its_own_step(slurm_folder):
    b = slurm_folder
    (b / "job.py").write_text(textwrap.dedent(JOB_SCRIPT))
    with cluster(b) as run:
        run("sbatch", "--wait", "--chdir", str(b), "-o", f"{b}/said", "--wrap", f"{sys.executable} {b}/job.py")
        said = (b / "said").read_text()
    told = json.loads(said.splitlines()[-1])
    assert told["watts"] == pytest.approx(50.0, abs=12.0)  # whole seconds of a counter that is refreshed each second
    assert (told["device"], told["scope"]) == ("job step 1.batch", "psys")
    assert told["step"].strip() == "job step 1.0"
    assert told["grade"] == "C"
    assert any("does not split" in note for note in told["notes"])
    assert told["usable"]


@pytest.mark.slow
def test_two_jobs_on_a_real_node_of_50_w_are_charged_50_w_together(slurm_folder):
    b = slurm_folder
    (b / "job.py").write_text(textwrap.dedent(PART_SCRIPT))
    with cluster(b) as run:
        for name in ("one", "two"):
            run("sbatch", "--mem=100", "--chdir", str(b), "-o", f"{b}/{name}", "--wrap", f"{sys.executable} {b}/job.py")
        until(lambda: all((b / name).exists() and "watts" in (b / name).read_text() for name in ("one", "two")), 120)
    told = [json.loads((b / name).read_text().splitlines()[-1]) for name in ("one", "two")]
    # Half of a synthetic 50 W each, by whole seconds of a counter; a doubled charge would be 100 W together.
    assert [each["watts"] for each in told] == pytest.approx([25.0, 25.0], abs=8.0)
    assert sum(each["watts"] for each in told) == pytest.approx(50.0, abs=12.0)
    assert {each["method"] for each in told} == {"modelled"}
