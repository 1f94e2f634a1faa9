"""`prometheus`: any power gauge or energy counter that a Prometheus server keeps, with its unit declared.

    outweigh measure --meter 'prometheus:http://127.0.0.1:9090?query=node_energy_joules_total{node="n1"}&unit=J&scope=node'

The parameters after the question mark, percent-encoded where a value holds `&`, `%` or `#`:

- `query`: an instant-vector expression. Every series of its answer is a channel. Ask for the counter itself and not
  for `sum(...)` or `increase(...)` of it, so that a reset is seen.
- `unit`: uJ, mJ, J, kJ, Wh or kWh for a counter, mW, W or kW for a gauge. A unit is never guessed.
- `scope`: facility, rack, node, psys, package, core, uncore, dram or gpu.
- `every`: how often the figure is refreshed [s]; else the spacing of the samples in the server, else 60, which is
  Prometheus' own default.
- `accuracy`: limit of error in percent, rectangular; `grade`: A or B. Nobody but the user knows what instrument stands
  behind a series, so without both it is grade C, and a grade without an accuracy is refused.
- `max_w`: the most it can draw [W], for plausibility.

A sample older than three refreshes is no reading: the server's own look-back of five minutes would hold a dead
exporter's last value. A bearer token is taken from OUTWEIGH_PROMETHEUS_TOKEN and is never in a message. The server
is asked at most once a second; that age is in the update interval. Proxies of the environment are not used.

Sources: Prometheus documentation, HTTP API (instant queries), querying basics (staleness, look-back of 5 minutes),
functions (timestamp, label_replace), configuration (global scrape_interval, default 1m).
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote, urlencode, urlsplit

from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

TOKEN = "OUTWEIGH_PROMETHEUS_TOKEN"

_ENERGY_UNITS = {"uJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "Wh": J_PER_KWH / 1e3, "kWh": J_PER_KWH}
_POWER_UNITS = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
_SCOPES = tuple(scope for scope in Scope if scope is not Scope.CPU_THREADS)
_KEYS = ("query", "unit", "scope", "every", "accuracy", "grade", "max_w")

_ASK_EVERY_S = 1.0
_DEFAULT_EVERY_S = 60.0
_STALE_AFTER = 3
_LOOK_BACK = "10m"
_LARGEST_ANSWER = 8_000_000  # bytes
_RESOLUTION = 1e-3  # finer than any exporter's figure; tells a counter that stands still from one that does not

_EXAMPLE = "Name it: --meter 'prometheus:http://HOST:9090?query=EXPRESSION&unit=J&scope=node'"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask, as `read_argument` takes it from the command line."""

    address: str
    query: str
    unit: str
    scope: Scope
    every_s: float | None = None
    accuracy: float | None = None
    grade: Grade = Grade.C
    max_power_w: float | None = None

    @property
    def kind(self) -> ChannelKind:
        return ChannelKind.ENERGY if self.unit in _ENERGY_UNITS else ChannelKind.POWER

    @property
    def per_unit(self) -> float:
        return (_ENERGY_UNITS | _POWER_UNITS)[self.unit]


@meters.register("prometheus")
class PrometheusMeter:
    """Series of a Prometheus server [J, W]. Grade C unless accuracy and grade are declared.

    Args:
        argument: the server's address and, after a question mark, what to ask; see the module.
        now: monotonic time [s].
        timeout_s: how long to wait for an answer [s].
    """

    name: ClassVar[str] = "prometheus"

    def __init__(
        self, argument: str = "", *, now: Callable[[], float] = time.monotonic, timeout_s: float = 10.0
    ) -> None:
        self._asked = read_argument(argument) if argument else None
        self._now, self._timeout_s = now, timeout_s
        self._series: tuple[Labels, ...] = ()
        self._open = False
        self._every_s = _DEFAULT_EVERY_S
        self._last: tuple[float, tuple[float | None, ...]] | None = None
        self.grade = self._asked.grade if self._asked is not None else Grade.C
        self.method = Method.COUNTER
        self.source = "prometheus"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, argument: str = "") -> Availability:
        try:
            meter = cls(argument)
            meter.open()
        except MeterUnavailable as err:
            return Availability("prometheus", usable=False, reason=err.reason, remedy=err.remedy)
        sees = ", ".join(_label(series) for series in meter._series)
        return Availability("prometheus", usable=True, sees=sees, grade=meter.grade, improve="; ".join(meter.notes))

    @property
    def channels(self) -> tuple[Channel, ...]:
        asked = self._asked
        if asked is None:
            return ()
        return tuple(
            Channel(
                id=_label(series),
                device=_label(series),
                scope=asked.scope,
                kind=asked.kind,
                update_s=self._every_s + _ASK_EVERY_S,
                resolution=_RESOLUTION,
                max_power_w=asked.max_power_w,
            )
            for series in self._series
        )

    def open(self) -> None:
        """Ask once: which series there are and how often they are refreshed. Raises MeterUnavailable."""
        asked = self._asked
        if asked is None:
            raise MeterUnavailable("prometheus", "no server is given", _EXAMPLE)
        self._last = None
        self._every_s = asked.every_s or self._spacing_s(asked) or _DEFAULT_EVERY_S
        found = self._values(asked)
        if not found:
            raise MeterUnavailable(
                "prometheus",
                f"{asked.query} gives no series",
                "Check it in the server's own page; its target may be down",
            )
        self._series, self._open = tuple(sorted(found)), True
        try:
            self.read()
        except MeterUnavailable:
            self.close()
            raise
        self.method = Method.COUNTER if asked.kind is ChannelKind.ENERGY else Method.INTEGRATED
        self.source = f"prometheus {urlsplit(asked.address).netloc}: {asked.query} [{asked.unit}]"
        notes = [
            f"refreshed every {self._every_s:.3g} s: windows much longer than that",
            f"unit {asked.unit}, scope {asked.scope} and grade {asked.grade} are declared, not found out",
        ]
        if asked.accuracy is None:
            notes.append("no accuracy is declared: the interval holds only what sampling adds")
        self.notes = tuple(notes)

    def read(self) -> Sample:
        asked = self._asked
        if asked is None or not self._open:
            raise MeterUnavailable("prometheus", "it is not open", "Call open() first")
        now_s = self._now()
        if self._last is None or now_s - self._last[0] >= _ASK_EVERY_S:
            found = self._values(asked)
            limit_s = _STALE_AFTER * self._every_s
            fresh = {s: value * asked.per_unit for s, (value, age_s) in found.items() if age_s <= limit_s}
            values = tuple(fresh.get(series) for series in self._series)
            if all(value is None for value in values):
                ages = [age_s for series, (_, age_s) in found.items() if series in self._series]
                why = f"the newest sample is {min(ages):.0f} s old" if ages else "its series are gone"
                raise MeterUnavailable("prometheus", why, "See the server's page of targets: the exporter may be down")
            self._last = (now_s, values)
        return Sample(now_s, self._last[1])

    def components(self) -> tuple[UncertaintyComponent, ...]:
        asked = self._asked
        if asked is None or asked.accuracy is None:
            return ()
        source = f"+/- {asked.accuracy:.3g} % declared by the user, rectangular"
        return (UncertaintyComponent("calibration", asked.accuracy / 100 / 3**0.5, source),)

    def close(self) -> None:
        self._open = False

    def _values(self, asked: Asked) -> dict[Labels, tuple[float, float]]:
        """Series -> (value in the declared unit, age of its sample [s]); what is no number is left out."""
        # One request for both: a value comes with the time of asking, and only timestamp() tells the sample's own.
        e = asked.query
        query = (
            f'label_replace(({e}), "_is", "value", "", "") or label_replace(timestamp(({e})), "_is", "stamp", "", "")'
        )
        values: dict[Labels, tuple[float, float]] = {}
        stamps: dict[Labels, float] = {}
        for series in self._ask(asked, query):
            labels = series["metric"]
            at_s, value = float(series["value"][0]), float(series["value"][1])
            plain = tuple(sorted((k, v) for k, v in labels.items() if k not in ("_is", "__name__")))
            if labels.get("_is") == "stamp":
                stamps[plain] = value
            elif math.isfinite(value):
                values[_named(plain, labels)] = (value, at_s)
        return {
            series: (value, at_s - stamps.get(tuple(label for label in series if label[0] != "__name__"), at_s))
            for series, (value, at_s) in values.items()
        }

    def _spacing_s(self, asked: Asked) -> float | None:
        """Median time between samples of the first series; None for an expression that keeps none."""
        try:
            found = self._ask(asked, f"{asked.query}[{_LOOK_BACK}]")
        except _BadQuery:
            return None
        times = [float(at_s) for at_s, _ in found[0].get("values", [])] if found else []
        gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
        return gaps[len(gaps) // 2] if len(gaps) > 1 else None

    def _ask(self, asked: Asked, query: str) -> Sequence[Mapping[str, Any]]:
        host = urlsplit(asked.address).netloc
        request = urllib.request.Request(f"{asked.address.rstrip('/')}/api/v1/query?{urlencode({'query': query})}")
        if os.environ.get(TOKEN):
            request.add_unredirected_header("Authorization", f"Bearer {os.environ[TOKEN]}")
        try:
            with _opener().open(request, timeout=self._timeout_s) as response:
                answer = json.loads(response.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as err:
            with err:
                said = _error(err.read(_LARGEST_ANSWER))
            if err.code in (400, 422):
                raise _BadQuery(
                    "prometheus", f"{host} refuses the query: {said}", "Check it in the server's page"
                ) from None
            remedy = f"Put a bearer token in {TOKEN}" if err.code in (401, 403) else "Check the address"
            raise MeterUnavailable("prometheus", f"{host} answers HTTP {err.code}", remedy) from None
        except (OSError, http.client.HTTPException) as err:
            why = getattr(err, "reason", None) or err
            raise MeterUnavailable("prometheus", f"{host} does not answer ({why})", "Check the address") from err
        except ValueError as err:
            raise MeterUnavailable("prometheus", f"{host} answers no JSON", "Check that Prometheus is there") from err
        data = answer.get("data", {}) if isinstance(answer, dict) else {}
        if data.get("resultType") not in ("vector", "matrix"):
            raise MeterUnavailable(
                "prometheus", f"{asked.query} is no instant vector", "Ask for a series, not a scalar"
            )
        result: Sequence[Mapping[str, Any]] = data["result"]
        return result


class _BadQuery(MeterUnavailable):
    """The server does not take the expression."""


def read_argument(argument: str) -> Asked:
    """What comes after "prometheus:". Raises MeterUnavailable with an example when something is missing or unknown.

    >>> read_argument("http://127.0.0.1:9090?query=power_watts&unit=W&scope=node&every=15").every_s
    15.0
    """
    address, _, rest = argument.partition("?")
    # A plus sign is PromQL's own: only percent signs are decoded.
    pairs = dict(part.partition("=")[::2] for part in rest.split("&") if part)
    given = {key: unquote(value) for key, value in pairs.items()}

    def refuse(why: str, remedy: str = _EXAMPLE) -> MeterUnavailable:
        return MeterUnavailable("prometheus", why, remedy)

    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise refuse(f"{address or 'nothing'} is no http address")
    if "@" in parts.netloc:
        raise refuse("the address holds an account, and process lists show it", f"Put a bearer token in {TOKEN}")
    unknown = [key for key in given if key not in _KEYS]
    missing = [key for key in ("query", "unit", "scope") if not given.get(key)]
    if unknown or missing:
        raise refuse(f"{unknown[0]!r} is not a parameter" if unknown else f"{missing[0]} is missing")
    if given["unit"] not in _ENERGY_UNITS | _POWER_UNITS:
        raise refuse(f"{given['unit']!r} is not a unit", f"Use one of {', '.join(_ENERGY_UNITS | _POWER_UNITS)}")
    if given["scope"] not in _SCOPES:
        raise refuse(f"{given['scope']!r} is not a scope", f"Use one of {', '.join(_SCOPES)}")
    numbers: dict[str, float | None] = {}
    for key in ("every", "accuracy", "max_w"):
        try:
            numbers[key] = float(given[key].rstrip("%")) if given.get(key) else None
        except ValueError:
            numbers[key] = math.nan
        number = numbers[key]
        if number is not None and not 0 < number < math.inf:
            raise refuse(f"{key}={given[key]} is no positive number")
    grade = given.get("grade", "C")
    if grade not in ("A", "B", "C", "D"):
        raise refuse(f"{grade!r} is not a grade", "Use A, B, C or D")
    if grade in ("A", "B") and numbers["accuracy"] is None:
        raise refuse(
            f"grade {grade} is claimed without an accuracy", "Add accuracy=, the instrument's limit of error in %"
        )
    return Asked(
        address=address,
        query=given["query"],
        unit=given["unit"],
        scope=Scope(given["scope"]),
        every_s=numbers["every"],
        accuracy=numbers["accuracy"],
        grade=Grade(grade),
        max_power_w=numbers["max_w"],
    )


def _named(plain: Labels, labels: Mapping[str, str]) -> Labels:
    return (("__name__", labels["__name__"]), *plain) if "__name__" in labels else plain


def _label(series: Labels) -> str:
    name = next((value for key, value in series if key == "__name__"), "")
    inner = ",".join(f"{key}={value}" for key, value in series if key != "__name__")
    return f"{name}{{{inner}}}" if inner or not name else name


def _error(body: bytes) -> str:
    try:
        return str(json.loads(body).get("error", ""))
    except (ValueError, AttributeError):
        return "no reason given"


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
