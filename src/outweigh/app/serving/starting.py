"""How a server starts: what it would show is opened first, so that whatever is wrong is said at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from outweigh.app.serving.running import is_loopback, serve, serve_many
from outweigh.app.serving.served import has_ledger, open_served
from outweigh.app.serving.settings import Settings
from outweigh.core.errors import UsageError
from outweigh.core.measurement import utc


def start(
    application: Callable[[], Any],
    settings: Settings,
    host: str,
    port: int,
    *,
    workers: int = 1,
    behind: str = "",
    started: Callable[[str], None],
    told: Callable[[str], None],
    progress: Callable[[str, float], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    In a folder without a project and without a ledger, one is kept for as long as the server runs, and nothing is left
    behind: whoever only asks for the Carbon Aware API starts no ledger by it.

    Args:
        application: gives the module of the web application, `outweigh.dashboard.application`.
        told: what a person should know.
        progress: told what is being made before it listens, and the share that is done.

    Raises:
        UsageError: others could connect and there is no token; or what `serve` raises.
        OutweighError: what `open_served` raises.
    """
    # A proxy in front, or a name to be reached by, lets others in though we listen on this machine only.
    settings = replace(settings, wide=not is_loopback(host) or bool(behind or settings.names))
    module = application()
    with ExitStack() as stack:
        if not has_ledger(settings):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outweigh-serve-"))
            settings = replace(settings, ledger=str(Path(folder) / "ledger.sqlite"))
            told("there is no energy.toml here and no ledger: nothing is kept (--project, --ledger)")
        served = open_served(settings, progress=progress)
        stack.callback(served.close)
        if settings.wide and not served.access.any_token(at=utc(served.now())):
            door = f"--host {host}" if not is_loopback(host) else "--behind" if behind else "--name"
            raise UsageError(
                f"{door} would let other machines in, and no token was made that they could show",
                "Make one first: `outweigh serve token create NAME --role reader`; or listen on 127.0.0.1",
            )
        if settings.wide and not behind:
            told("tokens travel in the clear: put a proxy with TLS in front (docs/serve.md)")
        if workers > 1:
            # Each worker opens its own: connections are not shared over processes.
            served.close()
            serve_many(settings, host, port, workers=workers, started=started, wide=settings.wide, behind=behind)
            return
        app = module.create(served, wide=settings.wide, names=settings.names, per_minute=settings.per_minute)
        serve(app, host, port, started=started, wide=settings.wide, behind=behind, guarded=True)
