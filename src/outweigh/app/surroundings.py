"""What a receipt says beside its figures: whose it is, under what conditions, who else was measured, what its hum is
made of.

    around = Surroundings(session, folder, phase=Phase.TRAINING)
    around.begin()
    ...                                    # the run; around.look() every few seconds
    around.end()
    receipt = around.on(receipt)
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from outweigh.core.budget import Phase
from outweigh.core.errors import OutweighError
from outweigh.core.measurement import Method, Scope, UncertaintyComponent
from outweigh.ports import ReceiptFilter

if TYPE_CHECKING:
    from outweigh.core.measurement import Measurement
    from outweigh.core.project import Project
    from outweigh.core.receipt import Receipt
    from outweigh.ledger import InFlight
    from outweigh.measure import MeterSession
    from outweigh.measure.conditions import Conditions
    from outweigh.ports import Store

#: Uncertainty component: a sensor that shows late what was drawn.
SENSOR_LAG = "sensor lag"

_NAMED = 3
# How the notes on other programs begin: by attribution, from the window's edges, and by conditions.
_SHARE = "CPU s that this machine spent in the window"
_OTHERS = "other programs used"
_CPUINFO = Path("/proc/cpuinfo")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the nearest energy.toml says of every run in its folder.

    Attributes:
        project: its name; "" without.
        owners: who answers for a phase, where a budget of it names an owner.
        pue: facility energy per IT energy when idle, of the first site that declares one; None without.
        site: that site's name.
        trouble: why the file was not read, "" when it was or there is none.
    """

    project: str = ""
    owners: tuple[tuple[Phase, str], ...] = ()
    pue: float | None = None
    site: str = ""
    trouble: str = ""


def declared_here(start: Path | None = None) -> Declared:
    """From the nearest energy.toml, from `start` (the current folder) upwards. One that we refuse stops nothing."""
    here = (start or Path()).resolve()
    for folder in (here, *here.parents):
        path = folder / "energy.toml"
        if path.is_file():
            return _declared(path, path.stat().st_mtime_ns)
    return Declared()


@functools.lru_cache(maxsize=8)
def _declared(path: Path, _changed: int) -> Declared:
    from outweigh.config import load_project

    try:
        project: Project = load_project(path)
    except OutweighError as err:
        return Declared(trouble=f"owner and PUE are not taken from {path}: {err}")
    owners = {budget.phase: budget.owner for budget in reversed(project.budgets) if budget.owner}
    site = next((site for site in project.sites if site.pue is not None), None)
    if site is None or site.pue is None:
        return Declared(project.name, tuple(owners.items()))
    return Declared(project.name, tuple(owners.items()), site.pue.idle, site.name)


def booked_on(project: str = "") -> str:
    """The project that a run here is booked on, where nobody names one: that of the nearest energy.toml, whose budgets
    it then counts against; else the folder's name."""
    return project or declared_here().project or Path.cwd().name


def thread_share() -> float | None:
    """Share of the machine's hardware threads that this process may use, by affinity and quota; None when unknown."""
    from outweigh.backends.meters.cpu_model import available_threads

    whole = os.cpu_count()
    return None if not whole else min(1.0, available_threads() / whole)


class Surroundings:
    """What is around one run. Made when its session is open; nothing here raises for what it cannot find out.

    Args:
        folder: where the runs in flight of its ledger are noted.
        owner: who answers for the run; the one of the phase's budget in energy.toml when empty.
        told: called with what a person should know besides.
    """

    def __init__(
        self,
        session: MeterSession,
        folder: Path,
        *,
        phase: Phase,
        owner: str = "",
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._session, self._folder = session, folder
        self._threads = thread_share()
        self._declared = declared_here()
        if self._declared.trouble:
            told(self._declared.trouble)
        self.owner = owner or dict(self._declared.owners).get(phase, "")
        self._before: Conditions | None = None
        self._after: Conditions | None = None
        self._others: dict[str, tuple[InFlight, str]] = {}

    def begin(self) -> None:
        """The run begins now."""
        from outweigh.measure.conditions import conditions_at

        self.look()
        self._before = conditions_at()

    def look(self) -> None:
        """See who else is measured at this moment: at the edges, and every few seconds in between."""
        from outweigh.ledger import in_flight

        own = os.getpid()
        for flight in in_flight(self._folder):
            if not (flight.here and flight.pid == own) and flight.run_id not in self._others:
                self._others[flight.run_id] = (flight, _kinship(flight, own))

    def end(self) -> None:
        """The run ended now."""
        from outweigh.measure.conditions import conditions_at

        self._after = conditions_at()
        self.look()

    def on(self, receipt: Receipt, *, run_s: float | None = None) -> Receipt:
        """The receipt with all of that on it. A label that is there already stays as it is.

        Args:
            run_s: CPU seconds of the run [s], where they are known.
        """
        from outweigh.measure.conditions import changes
        from outweigh.measure.hum import OWNER, split_of

        labels = self._before.as_labels() if self._before is not None else {}
        if self.owner:
            labels[OWNER] = self.owner
        notes = [*receipt.notes]
        if self._before is not None and self._after is not None:
            shared = any(_SHARE in note for note in receipt.notes)
            # The attribution has said already what others had, and more exactly: it goes by the run's own window.
            notes += [
                note
                for note in changes(self._before, self._after, run_s=run_s)
                if not (shared and note.startswith(_OTHERS))
            ]
        notes += [_of_other(flight, kin, receipt.total.scope) for flight, kin in self._others.values()]
        hum = self._session.latest_hum
        split = None
        if receipt.hum is not None and hum is not None:
            split = split_of(receipt.hum.value, hum.parts, thread_share=self._threads, pue=self._declared.pue)
            if split is not None and split.cooling is not None:
                notes.append(
                    f"cooling of the hum by the PUE of {self._declared.site} when idle, {self._declared.pue:g}, "
                    "as declared in energy.toml"
                )
        return self._lagged(
            replace(
                receipt,
                labels=tuple(sorted({**labels, **dict(receipt.labels)}.items())),
                notes=tuple(dict.fromkeys(notes)),
                hum_split=split,
            )
        )

    def met(self, receipt: Receipt, store: Store) -> Receipt:
        """With a note on runs that began and ended meanwhile, between two looks: their receipts are in the ledger.

        Only for a ledger that is a file: a server's holds the runs of other machines too.
        """
        if store.name != "sqlite":
            return receipt
        which = ReceiptFilter(within=receipt.interval)
        known = {receipt.run_id, *self._others}
        others = [
            other.run_id[:8]
            for _, other in store.receipts(which)
            if other.run_id not in known and not other.meter.startswith("import:")
        ]
        if not others:
            return receipt
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        told = f"{len(others)} other measured run(s) began and ended meanwhile ({named}): joules may be in both"
        return replace(receipt, notes=(*receipt.notes, told))

    def _lagged(self, receipt: Receipt) -> Receipt:
        """With the doubt that a late sensor makes, where `doctor --calibrate` has found how late it is.

        A window of a sensor that shows power L seconds late holds L seconds of what was drawn before it and misses as
        many at its end. How much that is depends on the power at the edges, which nobody knows: at most the work's
        mean power (the whole power where the hum is unknown) times L, taken as rectangular (JCGM 100:2008, 4.3.7).
        """
        lag = _calibrated_lag_s(self._session)
        seconds = receipt.interval.seconds
        if lag is None or seconds <= 0:
            return receipt
        name, lag_s, update_s = lag
        # What a reading is older by its own refresh is in the edges' doubt already.
        beyond_s = min(lag_s - update_s, seconds)
        if beyond_s <= 0:
            return receipt
        drawn = receipt.work if receipt.work is not None else receipt.total
        standard_j = abs(drawn.value.joules) / seconds * beyond_s / 3**0.5
        component = UncertaintyComponent(SENSOR_LAG, standard_j, f"calibrated lag {lag_s:.2g} s, rectangular")

        def doubted(measured: Measurement) -> Measurement:
            return replace(measured, components=(*measured.components, component))

        return replace(
            receipt,
            total=doubted(receipt.total),
            work=None if receipt.work is None else doubted(receipt.work),
            notes=(
                *receipt.notes,
                f"{name} shows power {lag_s:.2g} s late (doctor --calibrate): the window is not moved, "
                "its doubt is wider",
            ),
        )


def _calibrated_lag_s(session: MeterSession) -> tuple[str, float, float] | None:
    """The sensor of this session that was calibrated on this machine: its name, its lag and its refresh [s]."""
    from outweigh.data.calibration import find_calibration

    parts = getattr(session.meter, "parts", (session.meter,))
    measured = {part.name: part for part in parts if part.method in (Method.COUNTER, Method.INTEGRATED)}
    if not measured:
        return None
    found = find_calibration(_CPUINFO, datetime.now(UTC)).calibration
    if found is None or found.reference not in measured:
        return None
    channels = measured[found.reference].channels
    return found.reference, found.lag_s, max((c.update_s for c in channels if c.counted), default=0.0)


_INSIDE, _AROUND, _BESIDE = "inside", "around", "beside"


def _kinship(flight: InFlight, own: int) -> str:
    """Whether the other run's process is an ancestor of ours (we are inside it), a descendant, or neither."""
    if flight.here and flight.pid in _ancestors(own):
        return _INSIDE
    return _AROUND if flight.here and own in _ancestors(flight.pid) else _BESIDE


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1:
        try:
            text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        # The name, field 2 of proc_pid_stat(5), may hold spaces and brackets; the parent is field 4.
        pid = int(text.rpartition(")")[2].split()[1])
        found.add(pid)
    return found


def _of_other(flight: InFlight, kin: str, scope: Scope) -> str:
    name = f"run {flight.run_id[:8]} of {flight.project}" if flight.project else f"run {flight.run_id[:8]}"
    if kin == _INSIDE:
        return f"inside another measured run, {name}, whose figure holds this one: do not add them"
    if kin == _AROUND:
        return f"holds another measured run, {name}: do not add them"
    if scope is Scope.CPU_THREADS:
        return f"another measured run went on meanwhile on this machine, {name}: both count the idle draw as theirs"
    return f"another measured run went on meanwhile on this machine, {name}: what it drew is in this figure too"
