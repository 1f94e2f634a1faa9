"""`redfish`: power or energy of a whole node from its management controller, over HTTPS.

    outweigh measure --meter redfish:https://bmc-17.example -- python train.py

The user name and the password come from OUTWEIGH_REDFISH_USER and OUTWEIGH_REDFISH_PASSWORD, never from the address
(process lists show it) and never into a message. The certificate is verified against the system's authorities or
those of the file in OUTWEIGH_REDFISH_CA; `?verify=no` in the address switches that off and says so in the notes.
Plain http is for the loopback interface only. Without an address, OUTWEIGH_REDFISH_URL is asked.

Read is the outermost chassis, whose figures hold what is inside it; `?chassis=1U` names one. In this order:
`EnvironmentMetrics.EnergyJoules` (a counter), `EnvironmentMetrics.PowerWatts`, `Power.PowerControl[]
.PowerConsumedWatts` of the entry that is not a processor's or memory's, `EnvironmentMetrics.EnergykWh` (a counter
whose steps are too coarse to stand beside power). Of an energy sensor the lifetime reading goes first: the other
one can be reset by anybody.

Grade B for the reasons of the meter `ipmi`: it is the same controller. An answer takes a controller some tenths of a
second, so it is asked at most once a second over one kept connection; that age is in the update interval.

Sources: DMTF DSP0266 (service root, Basic authentication), DSP2046 Redfish Resource and Schema Guide: Chassis,
EnvironmentMetrics 1.3 (PowerWatts, EnergykWh, EnergyJoules), Power 1.7 (PowerControl; deprecated in favour of
PowerSubsystem), Sensor (LifetimeReading shall not be reset by ResetMetrics); OCP Redfish sustainability guide
(the outermost chassis); ENERGY STAR Program Requirements for Computer Servers (accuracy).
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from outweigh.backends._probing import probed
from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

URL, USER, PASSWORD, CA = (f"OUTWEIGH_REDFISH_{name}" for name in ("URL", "USER", "PASSWORD", "CA"))

_REFRESH_S = 1.0
_ASK_EVERY_S = 1.0
_MAX_POWER_W = 40_000.0  # a plausibility bound, not a rating
_LARGEST_ANSWER = 4_000_000  # bytes
_PARTS = ("CPU", "Memory", "GPU", "Accelerator", "Fan", "Storage", "NetworkingDevice")

_CALIBRATION = 0.05 / 3**0.5
_CALIBRATION_SOURCE = "ENERGY STAR Program Requirements for Computer Servers: +/- 5 % above 200 W, rectangular"

_CREDENTIALS = f"Set {USER} and {PASSWORD} to an account with the role ReadOnly"


@dataclass(frozen=True, slots=True)
class _Place:
    """One figure: resource, way into it, unit."""

    path: str
    keys: tuple[str | int, ...]
    kind: ChannelKind
    per_unit: float
    resolution: float


@meters.register("redfish")
class RedfishMeter:
    """Whole-node power or energy from a Redfish service [W, J]. Grade B; needs an address and an account.

    Args:
        address: where the service is, with `chassis` and `verify` after a question mark; "" for OUTWEIGH_REDFISH_URL.
        user, password: the account; None to take it from the environment.
        now: monotonic time [s].
        timeout_s: how long to wait for an answer [s].
    """

    name: ClassVar[str] = "redfish"

    def __init__(
        self,
        address: str = "",
        *,
        user: str | None = None,
        password: str | None = None,
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = 10.0,
    ) -> None:
        self._address = address or os.environ.get(URL, "")
        self._user = user if user is not None else os.environ.get(USER, "")
        self._password = password if password is not None else os.environ.get(PASSWORD, "")
        self._now, self._timeout_s = now, timeout_s
        self._service: _Service | None = None
        self._places: tuple[_Place, ...] = ()
        self._last: tuple[float, tuple[float | None, ...]] | None = None
        self.grade = Grade.B
        self.method = Method.INTEGRATED
        self.source = "redfish"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, address: str = "") -> Availability:
        return probed(cls(address), lambda: "the whole node")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=f"node {place.kind}",
                device="node",
                scope=Scope.NODE,
                kind=place.kind,
                update_s=_REFRESH_S + _ASK_EVERY_S,
                resolution=place.resolution,
                max_power_w=_MAX_POWER_W,
                counted=place is self._places[0],
            )
            for place in self._places
        )

    def open(self) -> None:
        """Find the chassis and ask once. Raises MeterUnavailable with the way to mend it."""
        self.close()
        if not self._address:
            raise MeterUnavailable(
                "redfish", "no address is given", f"Name it: --meter redfish:https://HOST, or set {URL}. {_CREDENTIALS}"
            )
        service = _Service(self._address, self._user, self._password, self._timeout_s)
        try:
            chassis, places = _find(service, service.options.get("chassis", ""))
            self._service, self._places, self._last = service, places, None
            self.read()
        except MeterUnavailable:
            self.close()
            service.close()
            raise
        first = places[0]
        self.method = Method.COUNTER if first.kind is ChannelKind.ENERGY else Method.INTEGRATED
        self.source = f"redfish: {'.'.join(str(k) for k in first.keys)} of chassis {chassis} at {service.host}"
        notes = ["the controller gives about one reading a second: windows of a minute, not of seconds"]
        if not service.verified:
            notes.append("the controller's certificate is not verified: whoever answers is believed")
        if first.kind is ChannelKind.ENERGY and first.per_unit != 1.0:
            notes.append("only an energy counter in kWh is there: windows must draw many of its steps")
        self.notes = tuple(notes)

    def read(self) -> Sample:
        if self._service is None:
            raise MeterUnavailable("redfish", "it is not open", "Call open() first")
        now_s = self._now()
        if self._last is None or now_s - self._last[0] >= _ASK_EVERY_S:
            answers = {path: self._service.get(path) for path in dict.fromkeys(p.path for p in self._places)}
            values = tuple(_value(answers[place.path], place) for place in self._places)
            if values[0] is None:
                raise MeterUnavailable("redfish", "the controller gives no figure any more", "See its event log")
            self._last = (now_s, values)
        return Sample(now_s, self._last[1])

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        if self._service is not None:
            self._service.close()
        self._service = None


class _Service:
    """One kept connection. No redirect is followed: the account would go with it."""

    def __init__(self, address: str, user: str, password: str, timeout_s: float) -> None:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        if parts.username is not None or parts.password is not None:
            raise MeterUnavailable("redfish", "the address holds an account, and process lists show it", _CREDENTIALS)
        try:
            self.host, port = parts.hostname or "", parts.port
        except ValueError as err:
            raise MeterUnavailable(
                "redfish", "the port in its address is no number", "Write https://HOST:PORT"
            ) from err
        self.options = dict(parse_qsl(parts.query))
        if not self.host or parts.scheme not in ("https", "http"):
            raise MeterUnavailable("redfish", "its address is no https address", "Write https://HOST, or a HOST alone")
        if parts.scheme == "http" and not _is_loopback(self.host):
            raise MeterUnavailable(
                "redfish", "plain http would send the account in the clear", "Use https, or tunnel to the loopback"
            )
        self.verified = self.options.get("verify") != "no"
        self._headers = {"Accept": "application/json", "OData-Version": "4.0"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {token}"
        self._connection = (
            http.client.HTTPConnection(self.host, port, timeout=timeout_s)
            if parts.scheme == "http"
            else http.client.HTTPSConnection(self.host, port, timeout=timeout_s, context=_tls(self.verified))
        )

    def get(self, path: str) -> dict[str, Any]:
        try:
            status, body = self._ask(path)
        except ssl.SSLCertVerificationError as err:
            raise MeterUnavailable(
                "redfish",
                f"the certificate of {self.host} is not trusted ({err.verify_message})",
                f"Set {CA} to a file with its authority, or add ?verify=no to the address on a network of your own",
            ) from err
        except (OSError, http.client.HTTPException) as err:
            raise MeterUnavailable(
                "redfish", f"{self.host} does not answer ({err or type(err).__name__})", "Check the address and network"
            ) from err
        if status in (401, 403):
            raise MeterUnavailable("redfish", f"{self.host} refuses the account (HTTP {status})", _CREDENTIALS)
        if status != 200:
            raise MeterUnavailable("redfish", f"{self.host} answers HTTP {status} for {path}", "Check the address")
        try:
            answer = json.loads(body)
        except ValueError as err:
            raise MeterUnavailable(
                "redfish", f"{path} is no JSON", "Check that a Redfish service answers there"
            ) from err
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        self._connection.close()

    def _ask(self, path: str) -> tuple[int, bytes]:
        for attempt in (1, 2):
            try:
                self._connection.request("GET", path, headers=self._headers)
                response = self._connection.getresponse()
                return response.status, response.read(_LARGEST_ANSWER)
            except (
                http.client.RemoteDisconnected,
                http.client.CannotSendRequest,
                BrokenPipeError,
                ConnectionResetError,
            ):
                # A kept connection that the controller has dropped meanwhile: once more on a new one.
                self._connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")


def _find(service: _Service, wanted: str) -> tuple[str, tuple[_Place, ...]]:
    """The chassis to read and the figures in it, the one to count first."""
    root = service.get("/redfish/v1/")
    collection = _link(root, "Chassis")
    if collection is None:
        raise MeterUnavailable("redfish", "the service lists no chassis", "Check that it manages a node")
    found: dict[str, tuple[_Place, ...]] = {}
    for member in service.get(collection).get("Members", []):
        path = member.get("@odata.id", "")
        chassis = service.get(path)
        name = str(chassis.get("Id") or path.rstrip("/").rpartition("/")[2])
        inside = chassis.get("Links", {}).get("ContainedBy")
        if (wanted and name != wanted) or (not wanted and inside):
            continue
        places = _places(service, chassis)
        if places:
            found[name] = places
    if not found:
        what = f"chassis {wanted}" if wanted else "no chassis of it"
        raise MeterUnavailable(
            "redfish", f"{what} gives a power or energy figure", "Use another meter, or name a chassis: ?chassis=ID"
        )
    if len(found) > 1:
        raise MeterUnavailable(
            "redfish",
            f"several chassis give a figure ({', '.join(sorted(found))}), and whether one holds another is not said",
            "Name the one to read: ?chassis=ID after the address",
        )
    return next(iter(found.items()))


def _places(service: _Service, chassis: dict[str, Any]) -> tuple[_Place, ...]:
    places: list[_Place] = []
    coarse: list[_Place] = []
    environment = _link(chassis, "EnvironmentMetrics")
    if environment is not None:
        metrics = service.get(environment)
        for key, per_unit, into in (("EnergyJoules", 1.0, places), ("EnergykWh", J_PER_KWH, coarse)):
            sensor = metrics.get(key) or {}
            reading = next((k for k in ("LifetimeReading", "Reading") if sensor.get(k) is not None), None)
            if reading is not None:
                step = per_unit * 10.0 ** -_decimals(sensor[reading])
                into.append(_Place(environment, (key, reading), ChannelKind.ENERGY, per_unit, step))
        if (metrics.get("PowerWatts") or {}).get("Reading") is not None:
            places.append(_Place(environment, ("PowerWatts", "Reading"), ChannelKind.POWER, 1.0, 1.0))
    power = _link(chassis, "Power")
    if power is not None and not any(p.kind is ChannelKind.POWER for p in places):
        for i, control in enumerate(service.get(power).get("PowerControl", [])):
            if control.get("PowerConsumedWatts") is not None and control.get("PhysicalContext") not in _PARTS:
                keys = ("PowerControl", i, "PowerConsumedWatts")
                places.append(_Place(power, keys, ChannelKind.POWER, 1.0, 1.0))
                break
    return tuple(places or coarse)


def _value(answer: dict[str, Any], place: _Place) -> float | None:
    found: Any = answer
    for key in place.keys:
        if isinstance(found, dict) and isinstance(key, str):
            found = found.get(key)
        elif isinstance(found, list) and isinstance(key, int) and key < len(found):
            found = found[key]
        else:
            return None
    return float(found) * place.per_unit if isinstance(found, int | float) and not isinstance(found, bool) else None


def _link(resource: dict[str, Any], key: str) -> str | None:
    linked = resource.get(key)
    path = linked.get("@odata.id") if isinstance(linked, dict) else None
    # A path only: an absolute address would take the account to another host.
    return path if isinstance(path, str) and path.startswith("/") and not path.startswith("//") else None


def _decimals(value: float) -> int:
    return len(repr(value).partition(".")[2]) if isinstance(value, float) else 0


def _tls(verified: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=os.environ.get(CA) or None)
    except OSError as err:
        raise MeterUnavailable("redfish", f"the file in {CA} cannot be read ({err})", f"Check {CA}") from err
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
