"""What looking costs: a measured block, background sampling, import and size, beside CodeCarbon and Zeus.

All three read the same simulated powercap tree in the same run, laid over /sys/class in a mount namespace of its own
(which needs root); nothing of the machine is changed. Each peer is installed from PyPI into a throw-away environment
and measured by its own interpreter; its block is the cheapest it offers (CodeCarbon's task, Zeus's window).

Goals: a block under 20 µs and at most a quarter of Zeus's; sampling at 10 Hz under 0.2 % of one core; the measuring
core imported in under 25 ms over bare Python. `--no-peers` leaves the peers out.

Sampling and imports are CPU time, the least of several repeats: a busy machine adds to it and takes nothing away.
Imports are those of an installed package, whose bytecode is there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from shape import Row, finish

SAMPLING_S = 20.0

OURS = """
import json, os, statistics, sys, time
from outweigh.backends.meters.rapl import RaplMeter
from outweigh.measure import MeterSession, SystemClock

def least(seconds, slices=5):
    # CPU seconds in so many seconds, by the cheapest of some slices.
    taken = []
    for _ in range(slices):
        before, since = time.process_time(), time.perf_counter()
        time.sleep(seconds / slices)
        taken.append((time.process_time() - before) / (time.perf_counter() - since))
    return min(taken) * seconds

meter = RaplMeter()
session = MeterSession(meter, sample_hz=10.0)
times = []
with session:
    for _ in range(5000):
        start = time.perf_counter()
        with session.window():
            pass
        times.append(time.perf_counter() - start)
    sampling = least(float(sys.argv[1]))
with MeterSession(meter, sample_hz=0) as bare:
    floor = least(float(sys.argv[1]) / 4)
ticker = SystemClock().every(0.1, lambda: None)
empty = least(float(sys.argv[1]))
print(json.dumps({"block_s": statistics.median(times), "sampling_s": max(0.0, sampling - 4 * floor), "empty_s": empty}))
"""

ZEUS = """
import json, statistics, sys, time, logging
logging.disable(logging.CRITICAL)
from zeus.monitor import ZeusMonitor
def main():
    monitor = ZeusMonitor(gpu_indices=[], cpu_indices=[0, 1])
    times = []
    for _ in range(1000):
        start = time.perf_counter()
        monitor.begin_window("b", sync_execution=False)
        seen = monitor.end_window("b", sync_execution=False)
        times.append(time.perf_counter() - start)
    assert seen.cpu_energy, seen
    print(json.dumps({"block_s": statistics.median(times)}))
if __name__ == "__main__":
    main()
"""

CODECARBON = """
import json, os, statistics, sys, time, logging
logging.disable(logging.CRITICAL)
from codecarbon import OfflineEmissionsTracker
options = dict(country_iso_code="DEU", save_to_file=False, log_level="critical", allow_multiple_runs=True)
tracker = OfflineEmissionsTracker(measure_power_secs=3600, **options)
times = []
for number in range(200):
    start = time.perf_counter()
    tracker.start_task(f"t{number}")
    tracker.stop_task()
    times.append(time.perf_counter() - start)
whole = []
for number in range(20):
    start = time.perf_counter()
    one = OfflineEmissionsTracker(measure_power_secs=3600, **options)
    one.start()
    one.stop()
    whole.append(time.perf_counter() - start)
sampled = OfflineEmissionsTracker(measure_power_secs=0.1, **options)
sampled.start()
time.sleep(1.0)
taken = []
for _ in range(5):
    before = time.process_time()
    time.sleep(float(sys.argv[1]) / 5)
    taken.append(time.process_time() - before)
sampling = 5 * min(taken)
sampled.stop()
rapl = "rapl" in str([type(h).__name__ + repr(getattr(h, "_mode", "")) for h in tracker._hardware]).lower()
print(json.dumps({"block_s": statistics.median(times), "tracker_s": statistics.median(whole), "sampling_s": sampling,
                  "rapl": rapl}))
"""

PEERS = {"zeus": ("zeus", "zeus.monitor", ZEUS), "codecarbon": ("codecarbon", "codecarbon", CODECARBON)}


def made_tree(folder: Path) -> Path:
    """A /sys/class with a powercap tree of two packages, nested and flat as the kernel shows it."""
    powercap = folder / "class" / "powercap"
    control = powercap / "intel-rapl"
    control.mkdir(parents=True)
    (control / "subsystem").symlink_to("..")
    (control / "enabled").write_text("1\n")
    for socket in range(2):
        zone = control / f"intel-rapl:{socket}"
        zone.mkdir()
        (zone / "name").write_text(f"package-{socket}\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        (zone / "energy_uj").write_text(f"{(socket + 1) * 1_000_000_000}\n")
        (powercap / zone.name).symlink_to(Path("intel-rapl") / zone.name)
    return folder / "class"


def measured(python: Path, program: str, sys_class: Path, folder: Path) -> dict[str, float]:
    """What the program prints, run with the made tree in place of /sys/class."""
    script = folder / "measured.py"
    script.write_text(program)
    inside = 'mount --bind "$0" /sys/class && exec "$1" "$2" "$3"'
    command = ["unshare", "-m", "sh", "-c", inside, str(sys_class), str(python), str(script), str(SAMPLING_S)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, timeout=300)
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def import_ms(python: Path, statement: str, folder: Path, runs: int = 15) -> float:
    """CPU time of a process with the import, over one without [ms]: the least of each, taken in turn."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    least = {"pass": float("inf"), statement: float("inf")}
    for run in range(runs + 1):
        for code in least:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([python, "-c", code], check=True, capture_output=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            if run:  # the first one writes the bytecode
                least[code] = min(least[code], taken_s)
    return (least[statement] - least["pass"]) * 1e3


def size_mb(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts) / 1e6


def install(name: str, folder: Path) -> tuple[Path, float, str]:
    """(interpreter, installed size with what it needs [MB], version) of a peer in an environment of its own."""
    environment = folder / name
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, capture_output=True)
    python = environment / "bin" / "python"
    packages = next((environment / "lib").glob("python*/site-packages"))
    before = size_mb(packages)
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", name],
        check=True,
        capture_output=True,
        timeout=600,
    )
    done = subprocess.run(
        [python, "-c", f"from importlib.metadata import version; print(version({name!r}))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return python, size_mb(packages) - before, done.stdout.strip()


def why(err: Exception) -> str:
    told = getattr(err, "stderr", None) or str(err)
    text = told.decode(errors="replace") if isinstance(told, bytes) else told
    return (text.strip().splitlines() or [type(err).__name__])[-1][:160]


def peer_figures(name: str, folder: Path, sys_class: Path | None) -> tuple[dict[str, float], str]:
    """What a peer costs, and a note: its version, or why it could not be measured."""
    package, module, program = PEERS[name]
    try:
        python, mb, version = install(package, folder)
        found = {"size_mb": mb, "import_ms": import_ms(python, f"import {module}", folder, runs=3)}
        if sys_class is None:
            return found, f"{name} {version}; no mount namespace here, its blocks were not measured"
        return {**found, **measured(python, program, sys_class, folder)}, f"{name} {version}"
    except (subprocess.SubprocessError, OSError, ValueError) as err:
        return {}, f"{name} could not be measured: {why(err)}"


def main(arguments: list[str]) -> int:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        namespace = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("unshare") is not None
        sys_class = made_tree(folder) if namespace else None
        peers = {
            name: ({}, "left out by --no-peers") if "--no-peers" in arguments else peer_figures(name, folder, sys_class)
            for name in PEERS
        }
        ours: dict[str, float] = {}
        if sys_class is not None:
            ours = measured(Path(sys.executable), OURS, sys_class, folder)
        bare_ms = import_ms(Path(sys.executable), "import outweigh.measure", folder)
        core_ms = import_ms(Path(sys.executable), "from outweigh.measure import MeterSession", folder)
    zeus, zeus_note = peers["zeus"]
    carbon, carbon_note = peers["codecarbon"]

    def us(found: dict[str, float], key: str) -> float | None:
        return found[key] * 1e6 if key in found else None

    no_root = "" if ours else "needs root for a mount namespace"
    block, zeus_block = us(ours, "block_s"), us(zeus, "block_s")
    rows.append(Row("a measured block", block, "µs", None, "< 20", None if block is None else block < 20, no_root))
    quarter = None if block is None or zeus_block is None else block / zeus_block
    rows.append(
        Row(
            "a measured block, share of Zeus's",
            quarter,
            "x",
            None if zeus_block is None else f"{zeus_block:.4g} µs",
            "<= 0.25",
            None if quarter is None else quarter <= 0.25,
            zeus_note,
        )
    )
    rows.append(Row("  Zeus: begin and end of a window", zeus_block, "µs", note=zeus_note))
    rows.append(Row("  CodeCarbon: a task", us(carbon, "block_s"), "µs", note=carbon_note))
    rows.append(Row("  CodeCarbon: a tracker of its own", us(carbon, "tracker_s"), "µs", note=carbon_note))

    def core(found: dict[str, float]) -> float | None:
        return 100 * found["sampling_s"] / SAMPLING_S if "sampling_s" in found else None

    sampling = core(ours)
    rows.append(
        Row(
            "sampling at 10 Hz, of one core",
            sampling,
            "%",
            core(carbon),
            "< 0.2",
            None if sampling is None else sampling < 0.2,
            no_root or "beside CodeCarbon's",
        )
    )
    if "empty_s" in ours:
        empty = 100 * ours["empty_s"] / SAMPLING_S
        rows.append(
            Row("  a thread that wakes at 10 Hz and does nothing", empty, "%", note="what waking up costs here")
        )
    rows.append(Row("  CodeCarbon: sampling every 0.1 s", core(carbon), "%", note=carbon_note))
    rows.append(
        Row("  Zeus: sampling", None, "%", note="samples boards only; its processor helper wakes to count wraps")
    )
    rows.append(Row("import outweigh.measure", bare_ms, "ms over bare Python", goal="< 25", holds=bare_ms < 25))
    rows.append(
        Row("from outweigh.measure import MeterSession", core_ms, "ms over bare Python", None, "< 25", core_ms < 25)
    )
    for name, (found, note) in peers.items():
        rows.append(Row(f"  {name}: import", found.get("import_ms"), "ms over bare Python", note=note))
    import outweigh

    own_mb = size_mb(Path(outweigh.__file__).parent)
    core_mb = sum(size_mb(Path(outweigh.__file__).parent / part) for part in ("core", "measure"))
    rows.append(Row("installed: measuring core, no dependency", core_mb, "MB"))
    rows.append(Row("installed: the whole package without its dependencies", own_mb, "MB"))
    for name, (found, note) in peers.items():
        rows.append(Row(f"  {name}: installed with what it needs", found.get("size_mb"), "MB", note=note))
    return finish("meter_overhead", rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
