"""Machines for the further meters: trees of files, tools that print, servers that answer, an AMD SMI.

The executables written here (`ipmitool`, `scontrol`, `sstat`, `powermetrics`) and the AMD SMI object stand in for
hardware that no test machine has: they play output in the shape that real ones were recorded to give. The HTTP
servers are real ones on the loopback interface.
"""

import contextlib
import http.server
import json
import os
import plistlib
import struct
import threading

from outweigh.backends.meters.amdsmi import AmdsmiMeter
from outweigh.backends.meters.battery import BatteryMeter
from outweigh.backends.meters.dcgm import DcgmMeter
from outweigh.backends.meters.hwmon import HwmonMeter
from outweigh.backends.meters.ipmi import IpmiMeter
from outweigh.backends.meters.powermetrics import PowermetricsMeter
from outweigh.backends.meters.prometheus import PrometheusMeter
from outweigh.backends.meters.rapl import PerfRoute, RaplMeter
from outweigh.backends.meters.redfish import RedfishMeter
from outweigh.backends.meters.slurm import SlurmMeter

# As recorded in ceems-dev/ceems, pkg/collector/ipmi.go, 2024-02-15; the watts are put in.
IPMITOOL = """
    Instantaneous power reading:                    {watts} Watts
    Minimum during sampling period:                  6 Watts
    Maximum during sampling period:                304 Watts
    Average power reading over sample period:       49 Watts
    IPMI timestamp:                           Thu Feb 15 08:36:01 2024
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}

"""
# As recorded in ceems-dev/ceems, pkg/collector/ipmi_test.go, 2023-11-03.
IPMI_DCMI = """
Current Power                        : {watts} Watts
Minimum Power over sampling duration : 68 watts
Maximum Power over sampling duration : 504 watts
Average Power over sampling duration : 348 watts
Time Stamp                           : 11/03/2023 - 08:36:29
Statistics reporting time period     : 2685198000 milliseconds
Power Measurement                    : {state}
"""
# As recorded from dcgm-exporter on an L4, driver 580.105.08, cut to two metrics; board and figures are put in.
DCGM_BOARD = (
    'gpu="{gpu}",UUID="GPU-c2f76b33-0000-0000-0000-00000000000{gpu}",pci_bus_id="00000000:31:00.0",device="nvidia{gpu}",'
    'modelName="NVIDIA L4",Hostname="i-030791dc5a37cd257",DCGM_FI_DRIVER_VERSION="580.105.08"'
)


def dcgm_page(
    energies, powers_w, name="DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", said="Total energy consumption since boot (in mJ)."
):
    lines = ["# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).", "# TYPE DCGM_FI_DEV_POWER_USAGE gauge"]
    lines += [f"DCGM_FI_DEV_POWER_USAGE{{{DCGM_BOARD.format(gpu=i)}}} {w:f}" for i, w in enumerate(powers_w)]
    lines += [f"# HELP {name} {said}", f"# TYPE {name} counter"]
    lines += [f"{name}{{{DCGM_BOARD.format(gpu=i)}}} {e}" for i, e in enumerate(energies)]
    return "\n".join(lines) + "\n"


# What Slurm 22.05.8 printed in a job, cut to what is read.
SCONTROL_CONFIG = """Configuration data as of 2026-11-23T21:08:50
AcctGatherEnergyType    = {plugin}
AcctGatherNodeFreq      = 30 sec
JobAcctGatherFrequency  = {frequency}
JobAcctGatherType       = jobacct_gather/linux
"""
SCONTROL_JOB = "JobId=1 JobName=job.sh JobState=RUNNING NumNodes=1 NumCPUs=1 OverSubscribe={shared} Contiguous=0"

# The shape of DMTF's public-rackmount1 mock-up, cut short.
CHASSIS = "/redfish/v1/Chassis/1U"


def redfish_service(metrics=None, power=None):
    """Resources by path; without metrics and power, a chassis that gives neither."""
    chassis = {"@odata.id": CHASSIS, "Id": "1U", "ChassisType": "RackMount", "Links": {}}
    found = {
        "/redfish/v1/": {"@odata.id": "/redfish/v1/", "Chassis": {"@odata.id": "/redfish/v1/Chassis"}},
        "/redfish/v1/Chassis": {"Members@odata.count": 1, "Members": [{"@odata.id": CHASSIS}]},
        CHASSIS: chassis,
    }
    for key, resource in (("EnvironmentMetrics", metrics), ("Power", power)):
        if resource is not None:
            chassis[key] = {"@odata.id": f"{CHASSIS}/{key}"}
            found[f"{CHASSIS}/{key}"] = {"@odata.id": f"{CHASSIS}/{key}", **resource}
    return found


@contextlib.contextmanager
def serving(answer, tls=None):
    """A real HTTP server; `answer` takes (path, headers) and gives (status, body). Yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, body = answer(self.path, self.headers)
            body = body if isinstance(body, bytes) else body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            pass  # a client that breaks off, which is what some tests are about

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def json_of(resources):
    """An `answer` for `serving` that looks a path up; `resources` may be a callable that makes them anew."""

    def answer(path, _headers):
        found = (resources() if callable(resources) else resources).get(path)
        return (404, "{}") if found is None else (200, json.dumps(found))

    return answer


def executable(folder, name, script):
    """Write a shell script that stands in for a tool; gives its folder, to be put on the PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return folder


def put_on_path(monkeypatch, folder):
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


class FakeAmdError(Exception):
    pass


class FakeAmdsmi:
    """The part of the amdsmi package we call, answering from a list of dictionaries."""

    AmdSmiException = FakeAmdError

    def __init__(self, boards):
        self.boards, self.started, self.driver = boards, 0, True

    def amdsmi_init(self):
        if not self.driver:
            raise FakeAmdError("AMDSMI_STATUS_DRIVER_NOT_LOADED")
        self.started += 1

    def amdsmi_shut_down(self):
        self.started -= 1

    def amdsmi_get_processor_handles(self):
        return list(range(len(self.boards)))

    def amdsmi_get_energy_count(self, handle):
        energy_j = self.boards[handle].get("energy_j")
        if energy_j is None:
            raise FakeAmdError("AMDSMI_STATUS_NOT_SUPPORTED")
        # 15.259 uJ is the resolution MI200 and MI300 boards report (ROCm/amdsmi#38).
        return {"energy_accumulator": round(energy_j / 15.259e-6), "counter_resolution": 15.259, "timestamp": 1}

    def amdsmi_get_power_info(self, handle):
        watts = self.boards[handle].get("power_w")
        return {"current_socket_power": "N/A" if watts is None else watts, "average_socket_power": "N/A"}

    def amdsmi_get_gpu_device_uuid(self, handle):
        return f"{handle:02d}ff74a1-0000-1000-80c0-deb01d7b65f5"

    def amdsmi_get_gpu_asic_info(self, handle):
        return {"market_name": "AMD Instinct MI300X"}


def hwmon_chip(root, number, name, **files):
    folder = root / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    for key, value in files.items():
        (folder / key).write_text(f"{value}\n")
    return folder


def battery(root, name="BAT0", **files):
    folder = root / name
    folder.mkdir(parents=True)
    for key, value in {"type": "Battery", "status": "Discharging", **files}.items():
        (folder / key).write_text(f"{value}\n")
    return folder


def powermetrics_document(elapsed_s=1.0, **processor):
    """One document as `powermetrics -f plist` prints it: XML and then a NUL."""
    return plistlib.dumps({"elapsed_ns": round(elapsed_s * 1e9), "processor": processor}) + b"\n\0"


class FakeStream:
    """What a running powermetrics printed, put in by the test."""

    def __init__(self, printed=b""):
        self.printed, self.ended = printed, None

    def read(self, wait_s):
        if not self.printed and self.ended is not None:
            raise EOFError
        printed, self.printed = self.printed, b""
        return printed

    def close(self):
        return self.ended or ""


# --- one maker a meter, on a made machine that draws 50 W -------------------------------------------


def make_hwmon(request, clock):
    root = request.getfixturevalue("tmp_path") / "hwmon"
    gpu = hwmon_chip(root, 0, "amdgpu", power1_average=50_000_000)
    card = hwmon_chip(root, 1, "xe", energy1_input=0, energy1_label="card")
    clock.every(0.01, lambda: (card / "energy1_input").write_text(f"{round(50e6 * clock.monotonic_s())}\n"))
    assert gpu.exists()
    return HwmonMeter(root=root, now=clock.monotonic_s)


def make_battery(request, clock):
    root = request.getfixturevalue("tmp_path") / "power_supply"
    battery(root, power_now=50_000_000)
    return BatteryMeter(root=root, now=clock.monotonic_s)


def make_ipmi(request, clock):
    folder = request.getfixturevalue("tmp_path") / "bin"
    said = IPMITOOL.format(watts=50, state="activated")
    put_on_path(request.getfixturevalue("monkeypatch"), executable(folder, "ipmitool", f"cat <<'END'\n{said}\nEND"))
    return IpmiMeter("ipmitool", now=clock.monotonic_s)


def make_redfish(request, clock):
    service = redfish_service({"PowerWatts": {"Reading": 50}, "EnergykWh": {"Reading": 3638, "LifetimeReading": 6491}})
    return RedfishMeter(_served(request, json_of(service)), now=clock.monotonic_s)


def make_redfish_counter(request, clock):
    def now():
        return redfish_service({"EnergyJoules": {"Reading": 50 * clock.monotonic_s()}, "PowerWatts": {"Reading": 50}})

    return RedfishMeter(_served(request, json_of(now)), now=clock.monotonic_s)


def make_prometheus(request, clock):
    def answer(path, _headers):
        if "%5B10m%5D" in path:
            values = [[t, "0"] for t in range(4)]
            return 200, json.dumps({"data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}})
        now_s, name = 1e9 + clock.monotonic_s(), {"__name__": "node_energy_joules_total", "node": "n1"}
        value = {"metric": {**name, "_is": "value"}, "value": [now_s, str(50 * clock.monotonic_s())]}
        stamp = {"metric": {"node": "n1", "_is": "stamp"}, "value": [now_s, str(now_s)]}
        return 200, json.dumps({"data": {"resultType": "vector", "result": [value, stamp]}})

    address = _served(request, answer)
    return PrometheusMeter(f"{address}?query=node_energy_joules_total&unit=J&scope=node", now=clock.monotonic_s)


def make_dcgm(request, clock):
    def answer(_path, _headers):
        energy_mj = round(5e6 + 50e3 * clock.monotonic_s())
        return 200, dcgm_page([energy_mj, energy_mj], [50, 50])

    return DcgmMeter(f"{_served(request, answer)}/metrics?every=1", now=clock.monotonic_s)


def make_slurm(request, clock):
    folder = request.getfixturevalue("tmp_path") / "bin"
    energy = request.getfixturevalue("tmp_path") / "energy"
    slurm_tools(folder, energy)
    clock.every(0.01, lambda: energy.write_text(f"{round(50 * clock.monotonic_s())}"))
    put_on_path(request.getfixturevalue("monkeypatch"), folder)
    return SlurmMeter(environment={"SLURM_JOB_ID": "1"}, now=clock.monotonic_s)


def slurm_tools(folder, energy, plugin="acct_gather_energy/ipmi", frequency="task=1,energy=1", shared="NO"):
    energy.write_text("0")
    config, job = SCONTROL_CONFIG.format(plugin=plugin, frequency=frequency), SCONTROL_JOB.format(shared=shared)
    executable(folder, "scontrol", f'[ "$2" = config ] && cat <<A || cat <<B\n{config}A\n{job}\nB')
    executable(folder, "sstat", f'echo "1.batch|$(cat {energy})"; echo "1.0|7"')
    executable(folder, "squeue", f'cat {folder}/jobs 2>/dev/null || echo "1|1|1"')


def make_powermetrics(request, clock):
    stream = FakeStream(powermetrics_document(combined_power=50_000.0, cpu_power=30_000.0, gpu_power=20_000.0))

    def prints():
        stream.printed += powermetrics_document(combined_power=50_000.0, cpu_power=30_000.0, gpu_power=20_000.0)

    clock.every(1.0, prints)

    def start():
        prints()
        return stream

    return PowermetricsMeter(now=clock.monotonic_s, stream=start)


def make_amdsmi(request, clock, energy=True):
    boards = [{"power_w": 50}, {"power_w": 50}]

    def draw():
        for board in boards:
            board["energy_j"] = 1_000 + 50 * clock.monotonic_s() if energy else None

    draw()
    clock.every(0.01, draw)
    request.getfixturevalue("monkeypatch").delenv("HIP_VISIBLE_DEVICES", raising=False)
    request.getfixturevalue("monkeypatch").delenv("ROCR_VISIBLE_DEVICES", raising=False)
    return AmdsmiMeter(smi=FakeAmdsmi(boards), now=clock.monotonic_s, wait=clock.sleep)


# As the kernel writes them, arch/x86/events/rapl.c: 2^-32 J a count.
PERF_SCALE = "2.3283064365386962890625e-10"
PERF_EVENTS = {"energy-cores": 1, "energy-pkg": 2, "energy-ram": 3, "energy-gpu": 4, "energy-psys": 5}


class PerfMachine:
    """The `power` PMU of a made machine: sysfs as the kernel lays it out, and counters that are files of eight bytes.

    It is a door too. A file's counter is read where it stands, which is all that sets it apart from perf's.
    """

    def __init__(self, root, events=("energy-pkg", "energy-ram"), cpus="0,18", packages=(0, 1), level=2):
        self.root, self.refuse = root, None
        power = root / "bus/event_source/devices/power"
        (power / "events").mkdir(parents=True)
        (power / "type").write_text("23\n")
        (power / "cpumask").write_text(f"{cpus}\n")
        (power / "format").mkdir()
        (power / "format/event").write_text("config:0-7\n")
        for name in events:
            (power / "events" / name).write_text(f"event=0x{PERF_EVENTS[name]:02x}\n")
            (power / "events" / f"{name}.scale").write_text(f"{PERF_SCALE}\n")
            (power / "events" / f"{name}.unit").write_text("Joules\n")
        for die, (cpu, package) in enumerate(zip(cpus.split(","), packages, strict=True)):
            topology = root / f"devices/system/cpu/cpu{cpu}/topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text(f"{package}\n")
            (topology / "die_id").write_text(f"{die}\n")
        (root / "paranoid").write_text(f"{level}\n")
        self.route = PerfRoute(root, root / "paranoid", self)

    def counter(self, name, cpu):
        return self.root / f"count-{PERF_EVENTS[name]}-{cpu}"

    def set_j(self, name, cpu, energy_j):
        self.counter(name, cpu).write_bytes(struct.pack("=Q", round(energy_j / float(PERF_SCALE))))

    def open(self, pmu, event, cpu):
        assert pmu.type == 23
        assert event.config == PERF_EVENTS[event.name]
        if self.refuse is not None:
            raise self.refuse
        self.set_j(event.name, cpu, 0.0)
        return os.open(self.counter(event.name, cpu), os.O_RDONLY)

    def read(self, file):
        return os.pread(file, 8, 0)


def make_rapl_perf(request, clock):
    root = request.getfixturevalue("tmp_path") / "perf"
    machine, cpuinfo = PerfMachine(root), request.getfixturevalue("cpuinfo")()

    def draw():
        for name in ("energy-pkg", "energy-ram"):
            for cpu in (0, 18):
                if machine.counter(name, cpu).exists():
                    machine.set_j(name, cpu, 50 * clock.monotonic_s())

    clock.every(0.01, draw)
    return RaplMeter(root / "no-powercap", cpuinfo=cpuinfo, now=clock.monotonic_s, perf=machine.route)


def _served(request, answer):
    stack = contextlib.ExitStack()
    request.addfinalizer(stack.close)
    return stack.enter_context(serving(answer))


MAKERS = {
    "amdsmi": make_amdsmi,
    "amdsmi-power": lambda request, clock: make_amdsmi(request, clock, energy=False),
    "battery": make_battery,
    "dcgm": make_dcgm,
    "hwmon": make_hwmon,
    "ipmi": make_ipmi,
    "powermetrics": make_powermetrics,
    "prometheus": make_prometheus,
    "rapl-perf": make_rapl_perf,
    "redfish": make_redfish,
    "redfish-counter": make_redfish_counter,
    "slurm": make_slurm,
}
