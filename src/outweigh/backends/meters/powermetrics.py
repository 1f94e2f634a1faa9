"""`powermetrics`: processor, GPU and neural engine of a Mac, by Apple's own tool.

The tool runs along and prints a property list a second, with mean power over the interval it measured itself; each is
added up, interval by interval, so nothing between two reads is lost. On Apple silicon `combined_power` (processor, GPU
and neural engine) is counted and the processor and GPU alone are shown; on Intel Macs it is `package_watts`. Memory,
screen and the rest of the machine are not in it.

Apple's manual calls these figures estimates that may be inaccurate and warns against comparing machines by them: they
come from a model of activity, so the grade is C and the method "modelled". No accuracy is stated.

It must run as root: as root itself, or by a sudo rule without a password,
`%admin ALL=(root) NOPASSWD: /usr/bin/powermetrics`. Not by a setuid copy.

Sources: powermetrics(1) of macOS (superuser, samplers, interval in ms, plist documents separated by NUL,
estimates); the keys elapsed_ns, processor.combined_power, cpu_power, gpu_power (mW) and package_watts (W) as recorded
from macOS 11 to 15 in public parsers of its output.
"""

from __future__ import annotations

import contextlib
import os
import plistlib
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol
from xml.parsers.expat import ExpatError

from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

_INTERVAL_S = 1.0
_FIRST_WITHIN_S = 10.0
_W_PER_MW = 1e-3
_S_PER_NS = 1e-9
_STEP_J = 1e-3
_MAX_POWER_W = 1_000.0  # a plausibility bound, not a rating
_END = b"</plist>"

_ROOT = (
    "Run as root, or let sudo do it without a password: add `%admin ALL=(root) NOPASSWD: /usr/bin/powermetrics` with "
    "visudo -f /etc/sudoers.d/powermetrics"
)

# Channel, scope, and the keys of `processor` that give its power with the watts per unit, the first there is.
_PARTS: tuple[tuple[str, Scope, tuple[tuple[str, float], ...]], ...] = (
    ("soc", Scope.PACKAGE, (("combined_power", _W_PER_MW), ("package_watts", 1.0))),
    ("cpu", Scope.CORE, (("cpu_power", _W_PER_MW),)),
    ("gpu", Scope.GPU, (("gpu_power", _W_PER_MW),)),
)


class Stream(Protocol):
    """What the tool prints, as it comes."""

    def read(self, wait_s: float) -> bytes:
        """Whatever is there, after waiting at most that long for something; b"" for nothing. EOFError at its end."""

    def close(self) -> str:
        """End it; what it said on standard error."""


@meters.register("powermetrics")
class PowermetricsMeter:
    """Energy of a Mac's processor package by powermetrics [J], modelled by Apple. Grade C; needs root or sudo.

    Args:
        now: monotonic time [s].
        stream: how the tool is started; None for the installed one.
    """

    name: ClassVar[str] = "powermetrics"

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, stream: Callable[[], Stream] | None = None
    ) -> None:
        self._now, self._start = now, stream if stream is not None else _start
        self._stream: Stream | None = None
        self._rest = b""
        self._energy_j: dict[str, float] = {}
        self.grade = Grade.C
        self.method = Method.MODELLED
        self.source = "powermetrics"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls) -> Availability:
        return probed(cls(), lambda: "the processor package of this Mac, modelled by Apple")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=part,
                device="soc",
                scope=scope,
                kind=ChannelKind.ENERGY,
                update_s=_INTERVAL_S,
                resolution=_STEP_J,
                max_power_w=_MAX_POWER_W,
                counted=part == "soc",
            )
            for part, scope, _ in _PARTS
            if part in self._energy_j
        )

    def open(self) -> None:
        """Start the tool and wait for its first interval. Raises MeterUnavailable with the way to mend it."""
        self.close()
        self._energy_j, self._rest = {}, b""
        self._stream = self._start()
        try:
            documents = self._documents(_FIRST_WITHIN_S)
        except MeterUnavailable:
            self.close()
            raise
        if not documents:
            self.close()
            raise MeterUnavailable(
                "powermetrics",
                f"it printed nothing within {_FIRST_WITHIN_S:g} s",
                "Try it in a terminal: sudo powermetrics",
            )
        powers_w = _powers_w(documents[0])
        if "soc" not in powers_w:
            self.close()
            raise MeterUnavailable(
                "powermetrics",
                "its output has no power of the package (combined_power or package_watts)",
                "This machine or release gives none: use another meter",
            )
        # What was drawn before opening is not ours: the counter begins at 0 here.
        self._energy_j = dict.fromkeys(powers_w, 0.0)
        self.source = f"powermetrics: {' + '.join(c.id for c in self.channels if c.counted)}"
        self.notes = (
            "modelled by Apple from activity, not measured: not for comparing one Mac with another",
            "memory, screen and the rest of the machine are not seen",
        )

    def read(self) -> Sample:
        if self._stream is None:
            raise MeterUnavailable("powermetrics", "it is not open", "Call open() first")
        for document in self._documents(0.0):
            powers_w = _powers_w(document)
            elapsed_s = document["elapsed_ns"] * _S_PER_NS
            for part in self._energy_j:
                self._energy_j[part] += powers_w.get(part, 0.0) * elapsed_s
        return Sample(self._now(), tuple(self._energy_j[channel.id] for channel in self.channels))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return ()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def _documents(self, wait_s: float) -> list[dict[str, Any]]:
        """Every whole document that has come, waiting at most that long for the first."""
        stream, documents = self._stream, list[dict[str, Any]]()
        if stream is None:
            return documents
        end_s = time.monotonic() + wait_s
        while True:
            try:
                new = stream.read(0.0 if documents else max(0.0, end_s - time.monotonic()))
            except EOFError as err:
                if documents:
                    return documents  # what it said before it ended counts; the next read finds the end again
                self._stream = None
                said = (stream.close().strip() or "nothing").splitlines()[-1]
                remedy = _ROOT if "superuser" in said or "sudo" in said or "password" in said else "Start it again"
                raise MeterUnavailable("powermetrics", f"it ended, saying: {said}", remedy) from err
            if not new:
                return documents
            self._rest += new
            while _END in self._rest:
                head, _, self._rest = self._rest.partition(_END)
                documents.append(_document(head + _END))


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = plistlib.loads(text.lstrip(b"\0\r\n "))
    except (plistlib.InvalidFileException, ExpatError, ValueError) as err:
        raise MeterUnavailable(
            "powermetrics", "it printed something that is no property list", "Start it again"
        ) from err
    elapsed = document.get("elapsed_ns") if isinstance(document, dict) else None
    if not isinstance(elapsed, int | float) or elapsed < 0:
        raise MeterUnavailable(
            "powermetrics", "it does not say how long its intervals are (elapsed_ns)", "Report your macOS release to us"
        )
    return dict(document)


def _powers_w(document: dict[str, Any]) -> dict[str, float]:
    processor = document.get("processor", {})
    powers_w = {}
    for part, _, keys in _PARTS:
        for key, w_per_unit in keys:
            value = processor.get(key)
            if isinstance(value, int | float) and value >= 0:
                powers_w[part] = float(value) * w_per_unit
                break
    return powers_w


class _Process:
    """The tool as a child, its output read without waiting for it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )

    def read(self, wait_s: float) -> bytes:
        out = self._child.stdout
        if out is None or out.closed:
            raise EOFError
        if not select.select([out], [], [], wait_s)[0]:
            return b""
        data = os.read(out.fileno(), 1 << 20)
        if not data:
            raise EOFError
        return data

    def close(self) -> str:
        out, err = self._child.stdout, self._child.stderr
        if out is not None:
            out.close()  # what we may not signal, because sudo made it root's, ends by writing into nothing
        with contextlib.suppress(PermissionError):
            self._child.terminate()
        try:
            self._child.wait(timeout=2 * _INTERVAL_S)
        except subprocess.TimeoutExpired:
            return ""
        said = err.read().decode("utf-8", errors="replace") if err is not None else ""
        if err is not None:
            err.close()
        return said


def _start() -> Stream:
    tool = shutil.which("powermetrics")
    if tool is None:
        raise MeterUnavailable(
            "powermetrics", "there is no powermetrics here: it is a part of macOS", "Use another meter"
        )
    # The long names of these options differ between releases of macOS, the short ones do not.
    command: tuple[str, ...] = (tool, "-s", "cpu_power,gpu_power", "-f", "plist", "-i", str(round(_INTERVAL_S * 1e3)))
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            raise MeterUnavailable("powermetrics", "it must run as root, and there is no sudo", _ROOT)
        command = (sudo, "-n", *command)
    try:
        return _Process(command)
    except OSError as err:
        raise MeterUnavailable("powermetrics", f"it cannot be started ({err.strerror})", _ROOT) from err
