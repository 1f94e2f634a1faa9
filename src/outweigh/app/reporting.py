"""`outweigh report`: receipts and declared facts in the forms that standards ask for, and as sheets for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from outweigh import __version__
from outweigh.app.files import find_ledger, opened
from outweigh.core.constants import S_PER_HOUR
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.meaning import CarbonKind, Gap
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonIntensity
from outweigh.core.receipt import Receipt
from outweigh.ports import ReceiptFilter, RendersText
from outweigh.registry import exporters
from outweigh.report.declared import Given
from outweigh.report.sheet import Asked, Sheet
from outweigh.report.standards import asking
from outweigh.report.standards.annex_xi import annex_xi
from outweigh.report.standards.focus import COLUMNS, focus_rows
from outweigh.report.standards.mlperf import Sampled, mlperf_check
from outweigh.report.standards.model_energy import asks_for_card, asks_for_spdx, model_energy
from outweigh.report.standards.otel import otlp
from outweigh.report.standards.sci import sci
from outweigh.report.standards.sci_ai import sci_ai
from outweigh.report.standards.scope2 import scope2
from outweigh.report.totals import total

#: Format as typed -> exporter of a sheet.
SHEET_FORMATS = {"markdown": "sheet-markdown", "html": "sheet-html", "csv": "sheet-csv", "json": "json"}
_FACTS = "report-facts.toml"
_JSON = ("json", "spdx")  # exporters whose text is JSON


@dataclass(frozen=True, slots=True)
class Selection:
    """Which receipts, and what is known beside them.

    Attributes:
        project: energy.toml or its folder; its name, ledger and first site are taken where there is one.
        facts: a file of declared facts; `report-facts.toml` beside energy.toml where it is None and there is one.
        since, until: ISO 8601; a run belongs to the time it began in. "" is open.
        phases: only these; () takes those the standard is about.
        carbon: files with carbon by hour (CSV or Parquet, docs/grid.md), for the zone.
    """

    project: Path = Path()
    ledger: Path | str | None = None
    facts: Path | None = None
    since: str = ""
    until: str = ""
    phases: tuple[str, ...] = ()
    variant: str = ""
    batch: str = ""
    carbon: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Reported:
    """A report ready to be written.

    Attributes:
        exporter: name of what writes it, and `model` what it is given.
        missing: facts nobody declared, to ask for.
        complete: False where the figure the report is about could not be given.
    """

    exporter: str
    model: Mapping[str, Any]
    missing: tuple[Asked, ...] = ()
    complete: bool = True

    def text(self) -> str:
        """The report as text. Raises UsageError for a table the report does not have."""
        found = exporters.get(self.exporter)()
        if not isinstance(found, RendersText):
            raise UsageError(f"exporter {self.exporter} writes files alone", "Give --out")
        return found.text(self.model)

    def objects(self) -> Sequence[Mapping[str, Any]]:
        """The report as JSON objects, one a line at the command line: a row each where it is nothing but rows."""
        rows: Sequence[Mapping[str, Any]] = self.model["rows"] if self.exporter == "focus" else ()
        return rows or [json.loads(self.text()) if self.exporter in _JSON else self.model]

    def write(self, path: Path) -> None:
        """Write it whole or not at all. Raises OutputError, UsageError as `text` does."""
        exporters.get(self.exporter)().write(self.model, path)


Addressed = list[tuple[str, Receipt]]
Told = Callable[[str, float], None]


def standard_report(
    standard: str, selection: Selection, form: str, *, table: str = "", now: datetime | None = None,
    told: Told = lambda _what, _fraction: None,
) -> Reported:  # fmt: skip
    """The report of a standard.

    Args:
        form: one of `SHEET_FORMATS`; a standard with a format of its own is written in that, or as plain JSON.
        table: of a sheet, for CSV.
        told: what is being done, and how far it is in [0, 1].

    Raises:
        ConfigError, UsageError: the project, the facts, the selection or the standard's own needs.
        LedgerError: the ledger cannot be read.
        UnknownZone, FactorMissing: a zone nobody knows.
    """
    created = now or datetime.now(UTC)
    name, given, receipts = _gathered(standard, selection)
    if standard in _SHEETS:
        return sheet_report(_SHEETS[standard](receipts, given), form, created, table=table)
    if standard == _CHECK:
        sheet = mlperf_check(receipts, given, _samples(receipts, selection, told))
        return sheet_report(sheet, form, created, table=table)
    if standard == "focus":
        model = {"schema": "outweigh.focus/1", "columns": COLUMNS, "rows": focus_rows(receipts, given)}
        missing = () if given.pue is not None else (asking.PUE,)
        return Reported("json" if form == "json" else "focus", model, missing)
    if standard == "otel":
        return Reported("json", otlp(receipts, __version__))
    document = model_energy(receipts, given, name, created, __version__)
    if standard == "spdx":
        return Reported("spdx", document, tuple(asks_for_spdx(given)))
    asks = tuple(asks_for_card(given))
    return Reported("json" if form == "json" else "hf-card", document, asks, document["carbon_of_making"] is not None)


def sheet_report(sheet: Sheet, form: str, created: datetime, *, table: str = "") -> Reported:
    """A sheet in one of `SHEET_FORMATS`."""
    model = {**sheet.document(created, __version__), **({"table": table} if form == "csv" else {})}
    return Reported(SHEET_FORMATS[form], model, sheet.missing, sheet.complete)


def facts_example() -> str:
    """A file of declared facts to fill in."""
    from outweigh.config.report_facts import EXAMPLE

    return EXAMPLE


def _gathered(standard: str, selection: Selection) -> tuple[str, Given, Addressed]:
    project = _project(selection.project)
    given, zone = _declared(selection, None if project is None else Path(project.root))
    given, zone = _sited(given, zone, project)
    name = "" if project is None else project.name
    receipts = _receipts(selection, name, project, standard)
    if zone:
        given = _looked_up(given, zone)
        if standard == "scope2":
            given = _hourly(given, zone, selection, receipts)
    elif selection.carbon:
        raise UsageError("carbon by hour needs to know of which zone", '[grid]\nzone = "DE"    # in the file of facts')
    return name or (receipts[0][1].project if receipts else ""), given, receipts


def _project(path: Path) -> Any:
    """The project, or None where the folder holds none and none was named."""
    from outweigh.config import FILE_NAME, load_project

    if path == Path() and not (path / FILE_NAME).exists():
        return None
    return load_project(path)


def _declared(selection: Selection, root: Path | None) -> tuple[Given, str]:
    from outweigh.config.report_facts import load_facts

    path = selection.facts
    if path is None and root is not None and (root / _FACTS).exists():
        path = root / _FACTS
    return (Given(), "") if path is None else load_facts(path)


def _sited(given: Given, zone: str, project: Any) -> tuple[Given, str]:
    """What the facts leave open, from the project's first site."""
    from outweigh.app.weighing import sites_of
    from outweigh.plan import planning_pue

    sites = sites_of(project) if project is not None and project.sites else ()
    if not sites:
        return given, zone
    home = sites[0]
    factors = {factor.name: factor for factor in home.factors}
    pues = [one for name, one in factors.items() if name.startswith("PUE")]
    prices = [one for name, one in factors.items() if "price" in name]
    if given.pue is None and pues:
        given = replace(given, pue=(planning_pue(home), max(pues, key=lambda one: one.value)))
    if given.price is None and prices:
        given = replace(given, price=(home.price, prices[0]))
    return given, zone or ("" if given.intensity is not None else home.zone)


def _looked_up(given: Given, zone: str) -> Given:
    from outweigh.grid import site_factors

    intensity, factor = site_factors().intensity(zone)
    return replace(given, intensity=(intensity, factor))


def _hourly(given: Given, zone: str, selection: Selection, receipts: Addressed) -> Given:
    """Carbon of the zone by hour, from the user's files; nothing is changed where none is given."""
    from outweigh.grid import Level, Sources, open_source, resolve_carbon
    from outweigh.report.standards.scope2 import hourly_loads

    if not selection.carbon:
        return given
    hours = list(hourly_loads(receipts, None))
    total(receipts)
    window = Interval(datetime.fromtimestamp(hours[0], UTC), datetime.fromtimestamp(hours[-1] + S_PER_HOUR, UTC))
    sources = Sources(files=tuple(open_source(f"file:{path}") for path in selection.carbon))
    answer = resolve_carbon(zone, window, sources, max_gap=1.0)
    if answer.level is not Level.FILE:
        raise FactorMissing("carbon by hour", zone, (), "The file named holds nothing of these hours")
    edges = [hours[0] + i * S_PER_HOUR for i in range(round((hours[-1] - hours[0]) / S_PER_HOUR) + 2)]
    series = answer.series.onto(edges)
    meaning = series.meaning
    if meaning.kind is not CarbonKind.AVERAGE:
        raise UsageError(
            f"the file named holds {meaning}, and scope 2 is counted with averages",
            "Name a file with an average intensity",
        )
    found = tuple(
        (start, None if isinstance(value, Gap) else value)
        for (start, _), value in zip(pairwise(edges), series.values, strict=True)
    )
    mean = CarbonIntensity(0.0, scope=meaning.scope)
    origin = series.origin
    # One figure for the period and one by hour must count the same gases: where they do not, the file's word holds.
    flat = given.intensity if given.intensity is not None and given.intensity[0].scope is mean.scope else None
    known = [
        q.grade for v, q in zip(answer.series.values, answer.series.qualities, strict=True) if not isinstance(v, Gap)
    ]
    return replace(
        given, intensity=flat, hours=found, hours_scope=meaning.scope,
        hours_grade=max(known, key=lambda grade: grade.value, default=Grade.D),
        hours_source=f"{origin.provider}, {origin.source} ({meaning})",
    )  # fmt: skip


def _receipts(selection: Selection, name: str, project: Any, standard: str) -> Addressed:
    within = _within(selection)
    start = Path(project.root) if project is not None else None
    phases = selection.phases or _PHASES.get(standard, ())
    with opened(find_ledger(selection.ledger, start)) as store:
        found = store.receipts(ReceiptFilter(batch=selection.batch, project=name, within=within))
        return [
            (address, one)
            for address, one in found
            if (not phases or one.phase.value in phases)
            and (not selection.variant or one.variant == selection.variant)
            and (within is None or within.contains(one.interval.start))
        ]


#: Phases a standard is about; the others take all there are.
_PHASES = {"sci": ("inference", "idle")}
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _within(selection: Selection) -> Interval | None:
    if not selection.since and not selection.until:
        return None
    return Interval(moment(selection.since) or _FIRST, moment(selection.until) or _LAST)


def moment(text: str) -> datetime | None:
    """A day or a time with its zone, as UTC; None for "". Raises UsageError."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{text!r} is no time", "Write it as 2026-11-23 or 2026-11-23T14:05Z") from err
    if found.tzinfo is None:
        if len(text) > len("2026-11-23"):
            raise UsageError(f"{text!r} has no zone", "Write it as 2026-11-23T14:05Z, or the day alone")
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def _samples(receipts: Addressed, selection: Selection, told: Told) -> dict[str, Sampled | None]:
    """What is kept of each receipt's power over time: counts and the longest gap."""
    from outweigh.app.keeping import beside
    from outweigh.ledger.samples import has_samples, read_samples

    project = _project(selection.project)
    start = Path(project.root) if project is not None else None
    _, folder = beside(find_ledger(selection.ledger, start))
    found: dict[str, Sampled | None] = {}
    for index, (address, one) in enumerate(receipts):
        told("samples", index / len(receipts))
        found[address] = None
        run = next((run for run in (one.run_id, one.batch) if run and _kept(has_samples, folder, run)), "")
        if not run:
            continue
        start_s, end_s = one.interval.start.timestamp(), one.interval.end.timestamp()
        # The last step ends with the run, a step being the time up to its stamp.
        read = read_samples(folder, run, start_s=start_s, end_s=math.nextafter(end_s, math.inf))
        by_channel: dict[str, list[float]] = {}
        for t_s, channel in zip(read.t_s.tolist(), read.channel.tolist(), strict=True):
            by_channel.setdefault(channel, []).append(t_s)
        if by_channel:
            times = min(by_channel.values(), key=len)
            found[address] = Sampled(len(times), max((b - a for a, b in pairwise(times)), default=0.0))
    return found


def _kept(has_samples: Callable[[Path, str], bool], folder: Path, run: str) -> bool:
    try:
        return has_samples(folder, run)
    except UsageError:  # an id from elsewhere that cannot be a folder's name has no folder
        return False


def _sci(receipts: Addressed, given: Given) -> Sheet:
    return sci(total(receipts), given)


_SHEETS: dict[str, Callable[[Addressed, Given], Sheet]] = {
    "sci": _sci, "sci-ai": sci_ai, "annex-xi": annex_xi, "scope2": scope2,
}  # fmt: skip
_CHECK = "mlperf-check"
#: Every standard, in the order they are listed.
STANDARDS = (*_SHEETS, _CHECK, "focus", "spdx", "hf-card", "otel")
