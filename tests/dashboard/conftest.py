"""A real server on a free port of the loopback interface, over series made here."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning
from outweigh.grid import Sources

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

NOW = datetime(2022, 7, 19, 13, 37, 49, tzinfo=UTC)
MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)

Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers; each is stopped when its test ends."""
    running: list[tuple[uvicorn.Server, threading.Thread, httpx.Client]] = []

    def start(sources: Sources | None = None, *, now: datetime = NOW, **given: object) -> httpx.Client:
        from outweigh.dashboard.application import carbon_aware_alone

        application = carbon_aware_alone(CarbonAnswers(sources or Sources(), now=lambda: now, **given))  # type: ignore[arg-type]
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.bind(("127.0.0.1", 0))
        bound.listen(16)
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        client = httpx.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=30, trust_env=False)
        running.append((server, thread, client))
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return client

    yield start
    for server, thread, client in running:
        client.close()
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def small_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a made-up fleet: 50 servers for 2 days from 2026-10-01, read by `Fleet.open`."""
    pytest.importorskip("duckdb")
    spec = importlib.util.spec_from_file_location("fleets", Path(__file__).with_name("fleets.py"))
    assert spec is not None
    assert spec.loader is not None
    fleets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fleets)
    folder: Path = fleets.make_small_fleet(tmp_path_factory.mktemp("fleet"))
    return folder
