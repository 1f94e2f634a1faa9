"""The whole server, gate and all, on a free port of the loopback interface, over a ledger of made-up receipts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.app.serving.served import Served, serving
from outweigh.app.serving.tokens import make_token
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.grid import Sources
from outweigh.ports import Store
from outweigh.ports.serving import Role

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")
pytest.importorskip("limits")

STORES = Path(__file__).parents[2] / "stores"


def loaded(name: str) -> ModuleType:
    """A module that is a script of the stores' tests."""
    spec = importlib.util.spec_from_file_location(name, STORES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made_receipt() -> Callable[..., Any]:
    return loaded("made_receipts").made_receipt  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new ledger, made once: its migrations take longer than most tests."""
    path = tmp_path_factory.mktemp("blank") / "ledger.sqlite"
    SqliteStore.open(path).close()
    return path


@pytest.fixture
def database() -> Iterator[Any]:
    """A real PostgreSQL server of the test's own. Where there is none tests are skipped, but never in CI."""
    module = loaded("postgres_server")
    if module.binaries() is None:
        remedy = "there is no PostgreSQL server here: apt-get install postgresql-15"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    pytest.importorskip("psycopg")
    with module.serving(durable=False) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path, blank: Path) -> Iterator[SqliteStore]:
    shutil.copy(blank, tmp_path / "ledger.sqlite")
    with closing(SqliteStore.open(tmp_path / "ledger.sqlite")) as opened:
        yield opened


@dataclass
class Clock:
    """The time as the server sees it; `forward` moves it."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@dataclass
class Running:
    """A server that runs, and clients of it."""

    served: Served
    clock: Clock
    url: str
    port: int
    clients: list[httpx.Client] = field(default_factory=list)

    def client(self, role: Role | str | None = None, **headers: str) -> httpx.Client:
        """As nobody, with a new token of that role, or with that very secret."""
        if role is not None:
            secret = self.token(role) if isinstance(role, Role) else role
            headers["Authorization"] = f"Bearer {secret}"
        # Not "python-httpx": nothing of a test may hang on who it says it is.
        made = httpx.Client(base_url=self.url, timeout=30, trust_env=False, headers=headers)
        self.clients.append(made)
        return made

    def token(self, role: Role, **given: Any) -> str:
        _, secret = make_token(self.served.access, f"a {role}", role, now=self.clock(), **given)
        return secret


Host = Callable[..., Running]


@contextmanager
def hosting(store: Store, folder: Path) -> Iterator[Host]:
    """Starts servers; each is stopped at the end."""
    from outweigh.app.serving.running import _options
    from outweigh.dashboard.application import create
    from outweigh.dashboard.guard.connections import PatientProtocol

    threads: list[tuple[Any, threading.Thread, Running]] = []

    def start(ledger: Store | None = None, *, project: Any = None, **given: Any) -> Running:
        clock = Clock()
        answers = CarbonAnswers(Sources(), now=clock)
        served = serving(ledger or store, folder=folder, answers=answers, project=project, now=clock)
        application = create(served, **given)
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.bind(("127.0.0.1", 0))
        bound.listen(64)
        port = bound.getsockname()[1]
        # As `outweigh serve` runs it.
        config = uvicorn.Config(application, **_options("", guarded=True) | {"http": PatientProtocol})
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        running = Running(served, clock, f"http://127.0.0.1:{port}", port)
        threads.append((server, thread, running))
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return running

    yield start
    for server, thread, running in threads:
        for client in running.clients:
            client.close()
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture
def host(store: SqliteStore, tmp_path: Path) -> Iterator[Host]:
    with hosting(store, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def standing(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests of a file that leave nothing behind."""
    folder = tmp_path_factory.mktemp("standing")
    shutil.copy(blank, folder / "ledger.sqlite")
    with closing(SqliteStore.open(folder / "ledger.sqlite")) as opened, hosting(opened, folder) as start:
        yield start(per_minute=0)


@pytest.fixture(scope="module")
def roles(standing: Running) -> dict[Role | None, httpx.Client]:
    """A client of each role at the standing server, and of nobody."""
    return {role: standing.client(role) for role in (None, *Role)}
