"""`outweigh serve`: a web application on this machine, until it is told to stop."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.core.errors import MissingExtra, UsageError
from outweigh.grid import Sources, open_source

_BACKLOG = 128


def open_answers(
    *,
    sources: Sequence[str] = (),
    files: Sequence[Path] = (),
    archive: Path | None = None,
    declared: Sequence[str] = (),
    demo: bool = False,
) -> CarbonAnswers:
    """What the Carbon Aware API answers from.

    Args:
        sources: live sources, "name" or "name:argument", in this order.
        files: the user's own files, asked next.
        archive: folder of a local archive.
        declared: "DE=230 gCO2e/kWh", where nothing else answers.
        demo: a typical day of 2022 where there is no forecast.

    Raises:
        UnknownBackend, UsageError, GridDataInvalid, MissingExtra: at once, not at the first request.
    """
    asked = Sources(
        [open_source(text) for text in sources],
        [open_source(f"file:{path}") for path in files],
        [open_source(f"static:{','.join(declared)}")] if declared else [],
    )
    return CarbonAnswers(asked, archive=archive, demo=demo)


def serve(application: Any, host: str, port: int, *, started: Callable[[str], None]) -> None:
    """Run an ASGI application until SIGINT or SIGTERM, which let requests in flight finish.

    Args:
        host: of this machine only: there is no access control yet.
        port: 0 takes a free one.
        started: told the address once connections are taken.

    Raises:
        UsageError: a host that others can reach, or a port that cannot be had.
    """
    try:
        import uvicorn
    except ImportError as err:
        raise MissingExtra("uvicorn", "outweigh serve", "Run: pip install 'outweigh[serve]'") from err
    with _listening(host, port) as bound:
        address, number = bound.getsockname()[:2]
        shown = f"[{address}]" if bound.family == socket.AF_INET6 else address
        config = uvicorn.Config(
            application, log_level="warning", access_log=False, ws="none", lifespan="off", timeout_graceful_shutdown=5
        )
        started(f"http://{shown}:{number}")
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            # uvicorn has closed everything and hands the signal on; to be told to stop is how a server ends.
            return


def _listening(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError as err:
        raise UsageError(f"--host {host!r} is not an address", "Write 127.0.0.1, ::1 or localhost") from err
    if not loopback:
        raise UsageError(
            f"--host {host} would let other machines in, and there is no access control yet",
            "Listen on 127.0.0.1, and put a proxy of yours that checks who asks in front",
        )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        bound.listen(_BACKLOG)
    except OSError as err:
        bound.close()
        if err.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {address} is in use", "Stop what listens there, or take --port 0"
            ) from err
        raise UsageError(
            f"{address}, port {port} cannot be had: {err.strerror or err}", "Take another --port; 0 takes a free one"
        ) from err
    return bound
