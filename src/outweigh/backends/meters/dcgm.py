"""`dcgm`: energy and power of NVIDIA boards from the metrics page of dcgm-exporter.

    outweigh measure --meter dcgm                                  # http://127.0.0.1:9400/metrics
    outweigh measure --meter 'dcgm:http://gpu-3:9400/metrics?unit=mJ&every=1' -- python train.py

For a node that runs the exporter anyway and does not let users near NVML. It keeps what it last sampled, every 30 s
unless told otherwise (`--collect-interval`), so windows must be minutes; `every=` says what it was told. A scrape does
not make it sample. It sees every board of its node, `gpu=` (an index or a uuid, several with commas) picks some.

**The unit.** Release 4.9.0 renamed the fields and changed energy from millijoules to whole joules. A page does not name
its version, so the unit is taken from the metric's own help text ("in mJ", "in J") and name (`..._JOULES_TOTAL`); when
neither says it, or they contradict each other, the meter refuses until `unit=` is given. The power gauge stands beside
the counter, shown and not added: a factor of a thousand cannot pass unseen.

A MIG instance has no energy of its own: its rows repeat the card's, which is counted once.

Sources: dcgm-exporter 4.6.0-4.8.3 etc/default-counters.csv (DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "in mJ";
DCGM_FI_DEV_POWER_USAGE, "in W"), its release notes 4.9.0 (23 fields take their DCGM 4.7 names, energy goes from
millijoules to joules), its --collect-interval (30,000 ms); DCGM 4.7 field identifiers (156: mJ since the driver was
last reloaded; 1611, DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL, an integer; 155, DCGM_FI_DEV_BOARD_POWER_WATTS); NVML API
reference (+/- 5 %); Prometheus text exposition format.
"""

from __future__ import annotations

import http.client
import math
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

ADDRESS = "http://127.0.0.1:9400/metrics"

_J_PER = {"mJ": 1e-3, "J": 1.0}
_EVERY_S = 30.0
_ASK_EVERY_S = 1.0
_STEP_W = 1e-3
_MAX_POWER_W = 5_000.0  # a plausibility bound, not a rating: a thousandfold misread counter is above it
_LARGEST_PAGE = 32_000_000  # bytes

_ENERGY = re.compile(r"DCGM_FI_DEV_(?:TOTAL_ENERGY_CONSUMPTION|\w*ENERGY\w*JOULES\w*)")
_POWER = ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS")
_ROW = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MILLIJOULES = re.compile(r"\bmJ\b|millijoule", re.IGNORECASE)
_JOULES = re.compile(r"\bJ\b|\bjoules?\b")

_CALIBRATION = 0.05 / 3**0.5
_CALIBRATION_SOURCE = "NVML API reference, nvmlDeviceGetPowerUsage: +/- 5 % (stated for Fermi and Kepler), rectangular"

_UNIT_REMEDY = "Compare it with its power over a minute and add ?unit=mJ or ?unit=J to the address"


@dataclass(frozen=True, slots=True)
class Page:
    """What a metrics page says of each board, by uuid.

    Attributes:
        energy: the counter, in whatever unit it is.
        energy_name: the metric's name, "" when there is none.
        energy_help: its help text.
    """

    energy: Mapping[str, float]
    power_w: Mapping[str, float]
    labels: Mapping[str, str]
    indices: Mapping[str, str]
    energy_name: str
    energy_help: str
    has_instances: bool


@meters.register("dcgm")
class DcgmMeter:
    """Energy of the NVIDIA boards that a dcgm-exporter sees [J]. Grade B; no SDK.

    Args:
        argument: address of the metrics page, with `unit`, `every` and `gpu` after a question mark; "" for this node's.
        now: monotonic time [s].
        timeout_s: how long to wait for an answer [s].
    """

    name: ClassVar[str] = "dcgm"

    def __init__(
        self, argument: str = "", *, now: Callable[[], float] = time.monotonic, timeout_s: float = 3.0
    ) -> None:
        address, _, options = (argument or ADDRESS).partition("?")
        self._address, self._options = address or ADDRESS, dict(parse_qsl(options))
        self._now, self._timeout_s = now, timeout_s
        self._boards: tuple[str, ...] = ()
        self._first: Page | None = None
        self._page: Page | None = None
        self._j_per_unit: float | None = None
        self._every_s = _EVERY_S
        self._last_s = -math.inf
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "dcgm"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, argument: str = "") -> Availability:
        # On this node an exporter answers at once or is not there: the doctor does not wait for one.
        meter = cls(argument, timeout_s=1.0)
        return probed(meter, lambda: ", ".join(channel.id for channel in meter.channels if channel.counted))

    @property
    def channels(self) -> tuple[Channel, ...]:
        page = self._first
        if page is None:
            return ()
        return tuple(
            Channel(
                id=f"{page.labels[uuid]} {kind}",
                device=uuid,
                scope=Scope.GPU,
                kind=kind,
                update_s=self._every_s + _ASK_EVERY_S,
                # The counter counts whole units of its own.
                resolution=_STEP_W if kind is ChannelKind.POWER else self._j_per_unit or 0.0,
                max_power_w=_MAX_POWER_W,
                counted=kind is ChannelKind.ENERGY or not self._counts(uuid),
            )
            for uuid in self._boards
            for kind in (ChannelKind.ENERGY, ChannelKind.POWER)
            if kind is ChannelKind.POWER or self._counts(uuid)
        )

    def open(self) -> None:
        """Read the page and settle the unit. Raises MeterUnavailable with the way to mend it."""
        self.close()
        unknown = [key for key in self._options if key not in ("unit", "every", "gpu")]
        if unknown:
            raise MeterUnavailable("dcgm", f"{unknown[0]!r} is not a parameter", "There are unit, every and gpu")
        try:
            self._every_s = float(self._options.get("every", _EVERY_S))
        except ValueError:
            self._every_s = math.nan
        if not 0 < self._every_s < math.inf:
            raise MeterUnavailable("dcgm", f"every={self._options['every']} is no number of seconds", "Write every=30")
        page = self._ask()
        self._j_per_unit = _J_PER[self._unit(page)] if page.energy else None
        self._boards = _chosen(page, self._options.get("gpu", ""))
        self._first, self._page, self._last_s = page, page, self._now()
        counters = all(self._counts(uuid) for uuid in self._boards)
        self.method = Method.COUNTER if counters else Method.INTEGRATED
        how = f"{page.energy_name} [{self._unit(page)}]" if counters else "integrated power"
        self.source = f"dcgm-exporter {urlsplit(self._address).netloc} {how}: {len(self._boards)} boards"
        notes = [f"sampled every {self._every_s:.3g} s by the exporter: windows much longer than that"]
        if "every" not in self._options:
            notes[0] += "; say every= if its --collect-interval was set"
        if "gpu" not in self._options:
            notes.append(f"every board of the exporter's node is counted ({len(self._boards)}); gpu= picks some")
        if page.has_instances:
            notes.append("a MIG instance has no energy of its own: the reading is the whole card's")
        self.notes = tuple(notes)

    def read(self) -> Sample:
        if self._page is None or self._first is None:
            raise MeterUnavailable("dcgm", "it is not open", "Call open() first")
        now_s = self._now()
        if now_s - self._last_s >= _ASK_EVERY_S:
            fresh = self._ask()
            if fresh.energy_name != self._page.energy_name or fresh.energy_help != self._page.energy_help:
                raise MeterUnavailable(
                    "dcgm", "the exporter was exchanged meanwhile, and its unit may have changed", "Measure again"
                )
            self._page, self._last_s = fresh, now_s
        page, values = self._page, list[float | None]()
        for channel in self.channels:
            if channel.kind is ChannelKind.ENERGY:
                raw = page.energy.get(channel.device)
                values.append(None if raw is None or self._j_per_unit is None else raw * self._j_per_unit)
            else:
                values.append(page.power_w.get(channel.device))
        if all(value is None for value in values):
            raise MeterUnavailable("dcgm", "no board is on the page any more", "See the exporter's log")
        return Sample(now_s, tuple(values))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        self._page = None

    def _counts(self, uuid: str) -> bool:
        return self._first is not None and uuid in self._first.energy

    def _unit(self, page: Page) -> str:
        given = self._options.get("unit")
        if given is not None:
            if given not in _J_PER:
                raise MeterUnavailable("dcgm", f"{given!r} is not a unit", "Write unit=mJ or unit=J")
            return given
        return unit_of(page.energy_name, page.energy_help)

    def _ask(self) -> Page:
        host = urlsplit(self._address).netloc
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self._address, timeout=self._timeout_s) as response:
                text = response.read(_LARGEST_PAGE).decode("utf-8", errors="replace")
        except urllib.error.HTTPError as err:
            err.close()
            raise MeterUnavailable("dcgm", f"{host} answers HTTP {err.code}", "Check the address") from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            why = getattr(err, "reason", None) or err
            raise MeterUnavailable(
                "dcgm",
                f"no exporter answers at {host or self._address} ({why})",
                "Start dcgm-exporter, or name its page: --meter dcgm:http://HOST:9400/metrics",
            ) from err
        page = read_page(text)
        if not page.energy and not page.power_w:
            raise MeterUnavailable(
                "dcgm",
                f"the page of {host} has neither energy nor power of a board",
                "Enable DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION in the exporter's collectors file",
            )
        return page


def unit_of(name: str, help_text: str) -> str:
    """Unit of the energy counter, by what the exporter itself says. Raises MeterUnavailable when it says nothing.

    >>> unit_of("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ).")
    'mJ'
    """
    told = {unit for unit, said in (("mJ", _MILLIJOULES.search(help_text)), ("J", _JOULES.search(help_text))) if said}
    if "JOULES" in name:
        told.add("mJ" if "MILLIJOULES" in name else "J")
    if len(told) == 1:
        return told.pop()
    why = "says two units at once" if told else "does not say its unit"
    raise MeterUnavailable(
        "dcgm", f"{name} {why} ({help_text or 'no help text'}), and release 4.9.0 changed it from mJ to J", _UNIT_REMEDY
    )


def read_page(text: str) -> Page:
    """The boards on a page of the Prometheus text format."""
    rows: dict[str, list[tuple[dict[str, str], float]]] = {}
    helps: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, said = line.removeprefix("# HELP ").partition(" ")
            helps[name] = said
        elif not line.startswith("#") and (match := _ROW.fullmatch(line)) is not None:
            name = match["name"]
            if name in _POWER or _ENERGY.fullmatch(name):
                try:
                    rows.setdefault(name, []).append(
                        (dict(_LABEL.findall(match["labels"] or "")), float(match["value"]))
                    )
                except ValueError:
                    continue  # a value that is no number is no reading
    named = sorted(name for name in rows if _ENERGY.fullmatch(name))
    # Where a field is there under its old and its new name, the new one says its unit.
    energy_name = next((n for n in named if "JOULES" in n), named[0] if named else "")
    power_name = next((name for name in _POWER if name in rows), "")
    by_board: dict[str, dict[str, float]] = {energy_name: {}, power_name: {}}
    labels: dict[str, str] = {}
    indices: dict[str, str] = {}
    has_instances = False
    for name in filter(None, (energy_name, power_name)):
        for told, value in rows[name]:
            uuid = told.get("UUID") or told.get("uuid") or told.get("gpu", "")
            if not uuid or not math.isfinite(value):
                continue
            # Rows of MIG instances and of pods that share a card repeat the card's figure: the first stands for it.
            by_board[name].setdefault(uuid, value)
            has_instances = has_instances or "GPU_I_ID" in told
            indices[uuid] = told.get("gpu", "")
            labels[uuid] = f"gpu-{told.get('gpu', '?')} {told.get('modelName', '')}".strip()
    return Page(
        energy=by_board[energy_name] if energy_name else {},
        power_w=by_board[power_name] if power_name else {},
        labels=labels,
        indices=indices,
        energy_name=energy_name,
        energy_help=helps.get(energy_name, ""),
        has_instances=has_instances,
    )


def _chosen(page: Page, wanted: str) -> tuple[str, ...]:
    boards = sorted(page.labels, key=lambda uuid: (page.indices[uuid].zfill(4), uuid))
    chosen = []
    for entry in filter(None, (part.strip() for part in wanted.split(","))):
        matches = [u for u in boards if entry == page.indices[u] or (not entry.isdigit() and u.startswith(entry))]
        if len(matches) != 1:
            known = ", ".join(f"{page.indices[u]} ({u})" for u in boards)
            raise MeterUnavailable("dcgm", f"gpu={entry}: no such board is on the page", f"There are {known}")
        chosen += matches
    return tuple(dict.fromkeys(chosen)) or tuple(boards)
