"""What every importer shares: what the caller knows, how their record becomes our receipt, how a file is refused.

Nothing is made up to fill a gap. A record without a time or an energy is left out, and said so; a doubt the source
does not state is bounded by a wide interval that says that it is assumed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NoReturn

from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus

#: Label of a receipt: the number its scheduler gave the job.
JOB = "job"
RECTANGULAR = 3**0.5
# What the meters of this house state for the same counters (backends/meters/nvml.py and rapl.py).
NVML = (0.05, "NVML API reference, nvmlDeviceGetPowerUsage: +/- 5 % (stated for Fermi and Kepler), rectangular")
RAPL = (0.05, "5 % limit, rectangular: Khan et al. 2018, doi:10.1145/3177754, through HongyuHe/energat#4")
# Not knowledge but the lack of it: the source states no doubt about a modelled figure, and it is not without.
ASSUMED = {
    Grade.B: (0.10, "assumed: the source states none; rectangular, half-width 10 %"),
    Grade.C: (0.50, "assumed: the source states none; rectangular, half-width 50 %"),
    Grade.D: (1.00, "assumed: the source states none; rectangular, half-width 100 %"),
}
_LONGEST_S = 20 * 366 * 86_400.0
_YEARS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class About:
    """What the caller knows of a file.

    Attributes:
        source: what the file is called, for messages.
        project: project of the receipts; "" takes the file's own word, where it has one.
        phase: what the runs were for.
        zone: time zone of stamps that name none.
        ended: when the run ended, for formats that do not say it.
        plugin: for `sacct`, the AcctGatherEnergyType of the cluster ("rapl", "ipmi", ...), "" when unknown.
    """

    source: str
    project: str = ""
    phase: Phase = Phase.DEVELOPMENT
    zone: tzinfo = UTC
    ended: datetime | None = None
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Receipts made from a file, and one sentence for each record that could not become one."""

    receipts: tuple[Receipt, ...]
    left_out: tuple[str, ...] = ()


def refuse(about: About, line: int, problem: str, remedy: str) -> NoReturn:
    """Raise the UsageError of a file that cannot be read; `line` is 1-based, 0 for the whole file."""
    where = f"{about.source}, line {line}" if line else about.source
    raise UsageError(f"{where}: {problem}", remedy)


def energy(
    joules: float,
    interval: Interval,
    *,
    scope: Scope,
    grade: Grade,
    method: Method,
    source: str,
    doubt: tuple[float, str] | None = None,
    factors: tuple[Factor, ...] = (),
) -> Measurement:
    """A figure with the doubt of its kind: (half-width as a share, where that is from); the assumed one when None."""
    share, said = doubt or ASSUMED[grade]
    name = "assumed" if doubt is None else "calibration"
    components = (UncertaintyComponent(name, abs(joules) * share / RECTANGULAR, said),)
    return Measurement(Energy(joules), interval, scope, grade, method, source, components, factors)


def receipt(
    about: About,
    tool: str,
    identity: Mapping[str, Any],
    total: Measurement,
    *,
    hum: Measurement | None = None,
    work: Measurement | None = None,
    overlapping: tuple[Measurement, ...] = (),
    project: str = "",
    status: RunStatus = RunStatus.COMPLETED,
    batch: str = "",
    variant: str = "",
    units: float | None = None,
    unit: str = "",
    exit_code: int | None = None,
    versions: Sequence[tuple[str, str]] = (),
    labels: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Receipt:
    """Ours of theirs. The run id is made from `identity`, so that a file read twice gives the same receipts."""
    return Receipt(
        run_id=digest({"tool": tool, **identity})[:32],
        project=about.project or project or "imported",
        phase=about.phase,
        status=status,
        total=total,
        hum=hum,
        work=work,
        overlapping=overlapping,
        batch=batch,
        variant=variant,
        units=units,
        unit=unit,
        meter=f"import:{tool}",
        exit_code=exit_code,
        versions=tuple(sorted((("importer", f"{tool} 1"), *versions))),
        labels=tuple(sorted((labels or {}).items())),
        notes=(f"imported from {tool}; measured by it, not by outweigh", *notes),
    )


def digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def pseudonym(name: str) -> str:
    """A label that tells machines or devices apart without naming them: receipts hold no host names."""
    return digest({"name": name})[:12]


# --- reading ------------------------------------------------------------------------------------------


def table(about: About, text: str, required: Sequence[str], delimiter: str = ",") -> list[tuple[int, dict[str, str]]]:
    """Rows of a delimited text with the line each ends on. Unknown columns are kept; a missing one is refused."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="", restval="")
    try:
        columns = reader.fieldnames or ()
        if missing := [name for name in required if name not in columns]:
            refuse(about, 1, f"it has no column {', '.join(missing)}", f"Export it with {', '.join(required)}")
        return [(reader.line_num, {str(key): str(value) for key, value in row.items()}) for row in reader]
    except csv.Error as err:
        refuse(about, reader.line_num, f"it is not such a table ({err})", "Give the file as the tool wrote it")


def document(about: About, text: str) -> Any:
    """A JSON text; refused with the line it breaks on."""
    try:
        return json.loads(text)
    except ValueError as err:  # JSONDecodeError, or a number of thousands of digits
        refuse(about, getattr(err, "lineno", 0), f"it is not JSON ({err})", "Give the file as the tool wrote it")


def mapping(about: About, value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(about, 0, f"{what} is not a JSON object", "Give the file as the tool wrote it")
    return value


def number(about: About, line: int, name: str, given: Any, *, least: float = -math.inf) -> float:
    """A finite number at or above `least`; refused with its name otherwise."""
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(given, bool) or not math.isfinite(value) or value < least:
        refuse(about, line, f"{name} is {given!r}, which is no such number", "Mend the file, or leave this record out")
    return value


def moment(about: About, line: int, name: str, given: Any) -> datetime:
    """A stamp: seconds since the Unix epoch, or ISO 8601; in `about.zone` when it names no zone. Returns UTC."""
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            found = datetime.fromtimestamp(given, UTC)
        else:
            found = datetime.fromisoformat(str(given))
    except (ValueError, OverflowError, OSError):
        refuse(about, line, f"{name} is {given!r}, which is no time", "Mend the file, or leave this record out")
    found = (found if found.tzinfo else found.replace(tzinfo=about.zone)).astimezone(UTC)
    if not _YEARS[0] <= found < _YEARS[1]:
        refuse(about, line, f"{name} is {given!r}, which cannot be when it ran", "Check the unit: seconds, not ms")
    return found


def span(
    about: About, line: int, seconds: float, *, start: datetime | None = None, end: datetime | None = None
) -> Interval:
    """The interval of so many seconds from `start` or up to `end`; refused when no run can have lasted so long."""
    if not 0 <= seconds <= _LONGEST_S:
        refuse(about, line, f"it lasted {seconds:.4g} s, which no run does", "Check the unit: seconds, not ms")
    length = timedelta(seconds=seconds)
    if start is not None:
        return Interval(start, start + length)
    if end is not None:
        return Interval(end - length, end)
    raise TypeError("give the start or the end")
