"""A web application until it is told to stop: in this process, or in several that share one socket."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outweigh.app.serving.settings import VARIABLE, Settings
from outweigh.core.errors import MissingExtra, UsageError

_BACKLOG = 128
_CONNECTIONS = 512  # of one worker; what comes above is told 503
_KEEP_ALIVE_S = 20
_HEADER_BYTES = 32 * 1024
# Found by its name, as a verb is: the doors lie above this room.
_PROTOCOL = "outweigh.dashboard.guard.connections:PatientProtocol"
_FACTORY = "outweigh.dashboard.application:of_settings"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address. Raises UsageError for what is no address."""
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError as err:
        raise UsageError(
            f"--host {host!r} is not an address", "Write 127.0.0.1, ::1 or localhost, or an address of this machine"
        ) from err


def serve(
    application: Any,
    host: str,
    port: int,
    *,
    started: Callable[[str], None],
    wide: bool = False,
    behind: str = "",
    guarded: bool = False,
) -> None:
    """Run an ASGI application until SIGINT or SIGTERM, which let requests in flight finish.

    Args:
        host: of this machine only, unless `wide`.
        port: 0 takes a free one.
        started: told the address once connections are taken.
        wide: the application asks who is there, and others may connect.
        behind: address of the proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; "" believes none.
        guarded: also cut off who sends a request's head too slowly.

    Raises:
        UsageError: a host that others can reach, or a port that cannot be had.
    """
    uvicorn = _uvicorn()
    with _listening(host, port, wide=wide) as bound:
        config = uvicorn.Config(application, **_options(behind, guarded=guarded))
        started(_url(bound))
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            # uvicorn has closed everything and hands the signal on; to be told to stop is how a server ends.
            return


def serve_many(
    settings: Settings,
    host: str,
    port: int,
    *,
    workers: int,
    started: Callable[[str], None],
    wide: bool = False,
    behind: str = "",
) -> None:
    """As `serve`, in several processes that each open what the settings say and share one socket.

    A worker that dies is replaced. What a worker keeps to itself (the rate limit, what it remembers of tokens for some
    seconds) is each its own; everything else is in the ledger.
    """
    uvicorn = _uvicorn()
    from uvicorn.supervisors import Multiprocess

    with tempfile.TemporaryDirectory(prefix="outweigh-serve-") as folder, _listening(host, port, wide=wide) as bound:
        kept = Path(folder) / "settings.json"
        settings.keep(kept)
        os.environ[VARIABLE] = str(kept)
        try:
            config = uvicorn.Config(_FACTORY, factory=True, workers=workers, **_options(behind, guarded=True))
            started(_url(bound))
            Multiprocess(config, sockets=[bound]).run()
        finally:
            del os.environ[VARIABLE]


def _uvicorn() -> Any:
    try:
        import uvicorn
    except ImportError as err:
        raise MissingExtra("uvicorn", "outweigh serve", "Run: pip install 'outweigh[serve]'") from err
    return uvicorn


def _options(behind: str, *, guarded: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "log_level": "warning",
        # A line a request would hold what people look at; who wrote what is in the audit log.
        "access_log": False,
        "ws": "none",
        "lifespan": "off",
        "server_header": False,
        "timeout_graceful_shutdown": 5,
        # A worker that is still importing does not answer: by default it is killed after 5 s, and again, for ever.
        "timeout_worker_healthcheck": 60,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        # By default uvicorn believes whoever connects from this machine: then anybody here could be anybody else.
        "proxy_headers": bool(behind),
        "forwarded_allow_ips": behind or None,
    }
    if guarded:
        options |= {
            "http": _PROTOCOL,
            "limit_concurrency": _CONNECTIONS,
            "h11_max_incomplete_event_size": _HEADER_BYTES,
        }
    return options


def _url(bound: socket.socket) -> str:
    address, number = bound.getsockname()[:2]
    shown = f"[{address}]" if bound.family == socket.AF_INET6 else address
    return f"http://{shown}:{number}"


def _listening(host: str, port: int, *, wide: bool) -> socket.socket:
    if not is_loopback(host) and not wide:
        raise UsageError(
            f"--host {host} would let other machines in, and nobody would ask who they are",
            "Make a token first: `outweigh serve token create NAME --role reader`; or listen on 127.0.0.1",
        )
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
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
