"""What `outweigh doctor --calibrate` found out about this machine, kept between runs.

One JSON file of the user's, `$OUTWEIGH_CALIBRATION` or `outweigh/calibration.json` below `$XDG_CONFIG_HOME`
(~/.config without it), holds one calibration per processor: identity, hardware threads and microcode revision.
There is no host name in it. It lies beside the published table (`outweigh.data.cpu_power`) because that is what it
stands in for: `cpu-model` reads it, `doctor` writes it.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from outweigh.core.errors import ConfigError, OutputError
from outweigh.core.measurement import Grade, UncertaintyComponent
from outweigh.data.cpu_power import IDLE_INTERCEPT, POWER_CURVE, CpuPower
from outweigh.data.whole_file import make_folder, write_whole

if TYPE_CHECKING:
    from datetime import datetime

SCHEMA = 1

#: A calibration older than this is not used [days]. Our choice, not a standard's: it takes in one round of seasons,
#: firmware and dust; `doctor` says so when it is why.
LONGEST_DAYS = 365

#: Component: the load curve bends, and a straight line stands for it.
STRAIGHTNESS = "curve not straight"

#: Component: what the reference meter doubts of itself, handed on.
REFERENCE = "reference meter"

_REMEDY = "Run `outweigh doctor --calibrate` again"


class ProcessorKey(NamedTuple):
    """Which machines a calibration speaks of: same processor, as many hardware threads, same microcode.

    The microcode is part of it because an update can change both the power drawn and what the counters show of it.
    """

    processor: str
    threads: int
    microcode: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted power curve, P = idle + per_thread x busy threads, and how it was come by.

    Attributes:
        at: when it ended, ISO 8601 in UTC.
        reference, reference_grade, reference_scope: the meter it was fitted to, its grade and what it sees.
        reference_relative: relative standard uncertainty the reference states of itself (k = 1).
        idle_w, idle_standard_w: draw of the whole machine, in the reference's scope, with no thread busy [W].
        per_thread_w, per_thread_standard_w: what one busy hardware thread adds [W].
        bend_w_per_thread, bend_idle_w: standard uncertainty from a curve that is not straight [W]; 0 when it is.
        curvature_w, curvature_standard_w: quadratic term [W per busy thread squared].
        straight: whether the curvature cannot be told from nothing at 95 %.
        residual_sd_w, residual_max_w: what the line leaves over, per step of the staircase [W].
        steps: steps of the staircase that were used.
        seconds: how long it took [s].
        lag_s, update_s: by how much the reference lags the load, and how often it refreshes [s].
        other_threads: threads that other programs kept busy meanwhile, on average.
        conditions: what the machine says of itself (frequency governor); `note` is what a person said (the room).
    """

    key: ProcessorKey
    at: str
    reference: str
    reference_grade: Grade
    reference_scope: str
    reference_relative: float
    idle_w: float
    idle_standard_w: float
    per_thread_w: float
    per_thread_standard_w: float
    bend_w_per_thread: float
    bend_idle_w: float
    curvature_w: float
    curvature_standard_w: float
    straight: bool
    residual_sd_w: float
    residual_max_w: float
    r_squared: float
    steps: int
    seconds: float
    seed: int
    lag_s: float
    update_s: float
    other_threads: float
    method: str
    conditions: str = ""
    note: str = ""

    @property
    def told(self) -> str:
        """How a source names it.

        "calibrated against rapl (package + dram) on 2026-11-23"
        """
        return f"calibrated against {self.reference} ({self.reference_scope}) on {self.at[:10]}"

    @property
    def idle_relative(self) -> float:
        """Relative standard uncertainty of the idle draw: fit, bend and reference."""
        own_w = math.hypot(self.idle_standard_w, self.bend_idle_w)
        return math.hypot(own_w / self.idle_w if self.idle_w > 0 else 0.0, self.reference_relative)

    @property
    def per_thread_relative(self) -> float:
        """Relative standard uncertainty of what a busy thread adds: fit, bend and reference."""
        own_w = math.hypot(self.per_thread_standard_w, self.bend_w_per_thread)
        return math.hypot(own_w / self.per_thread_w, self.reference_relative)

    def row(self) -> CpuPower:
        """The calibration in the shape of a row of the published table, per hardware thread of the machine."""
        idle_w = self.idle_w / self.key.threads
        return CpuPower(
            vendor="",
            family=None,
            models="",
            steppings="",
            microarchitecture=self.key.processor,
            idle_w_per_thread=idle_w,
            max_w_per_thread=idle_w + self.per_thread_w,
            results=None,
            idle_relative_sd=self.idle_relative,
            dynamic_relative_sd=self.per_thread_relative,
            source=f"{self.told}, {self.steps} load steps in {self.seconds:.0f} s; {self.method}",
            year=self.at[:10],
            licence="own measurement",
            model_source="",
        )

    def components(self) -> tuple[UncertaintyComponent, ...]:
        """Relative standard uncertainties of a meter that runs on it.

        Fit of slope and intercept are correlated, and negatively, since one line carries both: taken as
        uncorrelated, what they add to a total is overstated and not understated (JCGM 100:2008, 5.2.2).
        """
        found = [UncertaintyComponent(POWER_CURVE, self.per_thread_standard_w / self.per_thread_w, self.method)]
        if self.bend_w_per_thread > 0:
            found.append(
                UncertaintyComponent(
                    STRAIGHTNESS,
                    self.bend_w_per_thread / self.per_thread_w,
                    "slopes of the fitted parabola between idle and full load, rectangular",
                )
            )
        if self.reference_relative > 0:
            found.append(UncertaintyComponent(REFERENCE, self.reference_relative, f"what {self.reference} states"))
        found.append(
            UncertaintyComponent(IDLE_INTERCEPT, self.idle_relative, f"{self.method}; bend and reference included")
        )
        return tuple(found)


class Found(NamedTuple):
    """What there is for a processor: the calibration when it can be used, and otherwise why there is none."""

    calibration: Calibration | None
    reason: str = ""


def calibration_path() -> Path | None:
    """Where calibrations are kept: OUTWEIGH_CALIBRATION, else outweigh/calibration.json in the configuration folder.

    None for a user without a home folder, as some containers have.
    """
    given = os.environ.get("OUTWEIGH_CALIBRATION", "")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification: a relative path in the variable is to be ignored.
    try:
        folder = Path(home) if home and Path(home).is_absolute() else Path("~/.config").expanduser()
    except RuntimeError:
        return None
    return folder / "outweigh" / "calibration.json"


def processor_key(cpuinfo: Path = Path("/proc/cpuinfo")) -> ProcessorKey | None:
    """The processor as /proc/cpuinfo names it (x86 and Arm); None where it does not."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    threads, first = 0, dict[str, str]()
    for line in text.splitlines():
        name, colon, value = (part.strip() for part in line.partition(":"))
        threads += name == "processor" and bool(colon)
        first.setdefault(name, value)
    if "vendor_id" in first:
        parts = (first["vendor_id"], *(f"{n} {first.get(n, '?')}" for n in ("cpu family", "model", "stepping")))
    elif "CPU implementer" in first:
        parts = tuple(f"{n} {first.get(f'CPU {n}', '?')}" for n in ("implementer", "part", "variant", "revision"))
    else:
        return None
    named = f" ({first['model name']})" if first.get("model name") else ""
    return ProcessorKey(" ".join(parts) + named, threads, first.get("microcode", ""))


def kept_calibrations(path: Path | None = None) -> tuple[Calibration, ...]:
    """All calibrations of the file; none when there is no file.

    Raises:
        ConfigError: it cannot be read, is not what we write, or was written by a newer outweigh.
    """
    path = path if path is not None else calibration_path()
    if path is None:
        return ()
    try:
        text = path.read_text(encoding="utf-8")
        import json  # here, because most sessions find no such file

        body = json.loads(text)
        schema, rows = body["schema"], body["calibrations"]
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise ConfigError(
                str(path), 0, f"it is of schema {schema!r} and this outweigh reads up to {SCHEMA}", "Update outweigh"
            )
        return tuple(_calibration(row) for row in rows)
    except FileNotFoundError:
        return ()
    except OSError as err:
        problem = f"the calibration cannot be read ({err.strerror})"
        raise ConfigError(str(path), 0, problem, "Check its permissions") from err
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        problem = f"this is no calibration of ours ({type(err).__name__}: {err})"
        raise ConfigError(str(path), 0, problem, f"Move it away. {_REMEDY}") from err


def find_calibration(cpuinfo: Path, now: datetime, path: Path | None = None) -> Found:
    """The calibration that holds for a processor now, or why none does. Never raises: a broken file is a reason.

    The reason is empty when nobody ever calibrated: then there is nothing to explain.
    """
    try:
        kept = kept_calibrations(path)
    except ConfigError as err:
        return Found(None, f"the kept calibration is not used: {err}")
    if not kept:
        return Found(None)
    key = processor_key(cpuinfo)
    if key is None:
        return Found(None, "the kept calibration is not used: this platform does not name its processor")
    from datetime import datetime as stamps

    for one in kept:
        if one.key == key:
            days = (now - stamps.fromisoformat(one.at)).total_seconds() / 86_400
            if days > LONGEST_DAYS:
                reason = f"it is of {one.at[:10]}, {days:.0f} days old, and {LONGEST_DAYS} is the most"
                return Found(None, f"the kept calibration is not used: {reason}. {_REMEDY}")
            if days < -1:
                return Found(None, f"the kept calibration is not used: it is dated {one.at[:10]}, which is yet to come")
            return Found(one)
    return Found(None, f"the kept calibration is not used: {_difference(kept[-1].key, key)}. {_REMEDY}")


def keep_calibration(calibration: Calibration, path: Path | None = None) -> Path:
    """Keep it in the place of an earlier one of the same processor; the file is replaced whole or not at all.

    Returns:
        where it is.

    Raises:
        ConfigError: the file that is there cannot be read; it is left as it is.
        OutputError: it cannot be written.
    """
    import json

    path = path if path is not None else calibration_path()
    if path is None:
        raise OutputError("the calibration", "there is no home folder", "Name a file in OUTWEIGH_CALIBRATION")
    rows = [one for one in kept_calibrations(path) if one.key != calibration.key]
    body = {"schema": SCHEMA, "calibrations": [_plain(one) for one in (*rows, calibration)]}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    remedy = "Name another file in OUTWEIGH_CALIBRATION, or use --no-save"
    make_folder(path.parent, remedy)
    write_whole(path, text, remedy=remedy)
    return path


def _plain(calibration: Calibration) -> dict[str, Any]:
    return {**asdict(calibration), "key": calibration.key._asdict()}


def _calibration(row: dict[str, Any]) -> Calibration:
    """One row of the file, every field of the kind it should be. Raises KeyError, TypeError or ValueError."""
    values: dict[str, Any] = {}
    kinds: dict[str, tuple[type, ...]] = {"float": (int, float), "int": (int,), "bool": (bool,)}
    for field in fields(Calibration):
        value = row[field.name]
        wanted = kinds.get(str(field.type), (str,))
        if field.name == "key":
            value = ProcessorKey(str(value["processor"]), int(value["threads"]), str(value["microcode"]))
        elif not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise TypeError(f"{field.name} is {value!r}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value!r}")
        values[field.name] = value
    values["reference_grade"] = Grade(values["reference_grade"])
    one = Calibration(**values)
    if one.key.threads < 1 or one.per_thread_w <= 0 or one.idle_w < 0:
        raise ValueError("a power or a number of threads that cannot be")
    if _is_naive(one.at):
        raise ValueError(f"at is {one.at!r}, without a time zone")
    return one


def _is_naive(stamp: str) -> bool:
    from datetime import datetime as stamps

    return stamps.fromisoformat(stamp).tzinfo is None


def _difference(then: ProcessorKey, now: ProcessorKey) -> str:
    told = [
        f"{name} {was or 'unknown'!r} then, {is_ or 'unknown'!r} now"
        for name, was, is_ in zip(("processor", "threads", "microcode"), then, now, strict=True)
        if was != is_
    ]
    return f"it is of another machine ({'; '.join(told)})"
