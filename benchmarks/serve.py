"""The dashboard and its API on a fleet of 10,000 accelerators for 30 days: 26 million minutes, made up.

1. The fleet is made and rolled up (or OUTWEIGH_BENCH_FLEET names a folder that holds one), and its questions are asked
   in this process.
2. `outweigh review` runs on examples/news-triage with fewer articles and rounds, then some blocks are measured: real
   receipts (or OUTWEIGH_BENCH_PROJECT names a folder with a ledger). They are copied to a real PostgreSQL that flushes
   (`outweigh ledger copy`), and `outweigh serve` of four workers serves both on this machine's loopback.
3. Every page's data is asked 100 times over HTTP, one request after the other, each on a new connection so that all
   workers take part, with other filters each time. The first answers of each worker are told apart.
4. Each page is opened in Chromium by a fresh profile; its first paint is what the browser says it was (paint timing).
5. `wrk` asks the API with a reader's token: two threads, 16 connections, as fast as answers come. Which routes, how
   often, how long and what came back stand in the rows.

`--servers N` (600), `--days N` (30), `--times N` (100), `--seconds N` of wrk (20), `--blocks N`
(100), `--workers N` (4).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import httpx

from outweigh import measuring
from outweigh.core.intervals import Interval
from outweigh.dashboard.pages import PAGES
from outweigh.ledger import open_ledger
from outweigh.ledger.fleet import Fleet, FleetState, has_fleet, synthetic
from outweigh.ports import ReceiptFilter
from shape import Row, finish

ROOT = Path(__file__).parents[1]
OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# As many articles and rounds as leave every kind of receipt.
SMALLER = (
    ("rounds = 12", "rounds = 2\nmax_items = 25"), ("train = 600", "train = 50"),
    ("max_tokens = 128", "max_tokens = 48"), ('hum = "3 s"', 'hum = "1 s"'),
)  # fmt: skip
STARTED_S = 300.0
DATA_MS, PAINT_MS, PER_S = 300.0, 1_000.0, 200.0
PAINTS = 5
WRK_THREADS, WRK_CONNECTIONS = 2, 16
# The API as programs ask it: mostly newest receipts and single ones, now and then budgets, verdicts and plans.
WRK_SHAPE = (
    ("/api/v1/receipts?limit=20", 4), ("/api/v1/receipts/{address}", 4), ("/api/v1/budgets", 1),
    ("/api/v1/verdicts?limit=20", 1), ("/api/v1/plans?limit=20", 1),
)  # fmt: skip
WRK_SCRIPT = """
local paths = { %s }
local at = 0
request = function()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at])
end
local others = {}
response = function(status) if status ~= 200 then others[status] = (others[status] or 0) + 1 end end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %%d, "seconds": %%.3f, "connect": %%d, "read": %%d, "write": %%d, "timeout": %%d, "status": %%d, '
    .. '"p50_ms": %%.2f, "p95_ms": %%.2f, "p99_ms": %%.2f, "bytes": %%d}\\n',
    summary.requests, summary.duration / 1e6, e.connect, e.read, e.write, e.timeout, e.status,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, summary.bytes))
end
"""


@dataclass(frozen=True)
class Kept:
    """Receipts' addresses, and what they can be filtered by."""

    addresses: list[str]
    projects: list[str]
    phases: list[str]
    variants: list[str]


def option(name: str, default: int) -> int:
    given = sys.argv[1:]
    return int(given[given.index(name) + 1]) if name in given else default


WORKERS = option("--workers", 4)


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def timed(call: Callable[[], object]) -> float:
    """What a call took [ms]."""
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the fleet --------------------------------------------------------------------------------------------


def made(folder: Path, rows: list[Row]) -> None:
    servers, days = option("--servers", 600), option("--days", 30)
    large = servers // 3
    shape = synthetic.Shape(((servers - large, 16), (large, 18)), days)
    if not has_fleet(folder):
        made_s = timed(lambda: synthetic.make(folder, shape)) / 1e3
        whole = shape == synthetic.TEN_THOUSAND
        rows.append(
            Row("make up the fleet", made_s, "s", reference=60.0, goal="<= ref" if whole else None,
                holds=made_s <= 60 if whole else None)
        )  # fmt: skip
    if not (folder / "rollups").exists():
        rolled_s = timed(lambda: Fleet.open(folder).close()) / 1e3
        rows.append(Row("roll it up", rolled_s, "s", note=f"{1e3 * rolled_s / days:.0f} ms a day"))
    minutes, rollups = (
        sum(path.stat().st_size for path in (folder / name).rglob("*.parquet")) / 1e6 for name in ("minutes", "rollups")
    )
    rows.append(Row("on the disk", minutes + rollups, "MB", note=f"{rollups:.0f} MB of it are roll-ups"))


def windows(state: FleetState, dice: random.Random) -> Callable[[float], Interval]:
    """A window of so many days at a random minute of the fleet's time."""
    span = state.known.window

    def window(days: float) -> Interval:
        lasting = min(timedelta(days=days), span.end - span.start)
        spare_min = int((span.end - span.start - lasting).total_seconds() // 60)
        start = span.start + timedelta(minutes=dice.randint(0, spare_min))
        return Interval(start, start + lasting)

    return window


def asked_here(folder: Path, rows: list[Row]) -> FleetState:
    """Every question of the fleet's room, with other filters each time."""
    dice = random.Random(1)
    with Fleet.open(folder) as fleet:
        opened_ms = timed(lambda: Fleet.open(folder).close())
        state = fleet.state()
        window, owners, sites = windows(state, dice), state.owners, state.sites
        nodes = fleet.top_nodes(state.known.window, limit=100_000).nodes
        rows.append(
            Row("the fleet", float(state.rows), "minutes",
                note=f"{state.nodes} servers, {state.gpus} GPUs, {state.known.coverage.share:.2%} read; made up")
        )  # fmt: skip
        rows.append(Row("open it, rolled up", opened_ms, "ms"))
        questions: dict[str, Callable[[], object]] = {
            "hum by owner, 1 to 30 days": lambda: fleet.hum_by_owner(
                window(dice.uniform(1, 30)), site=dice.choice(["", *sites])
            ),
            "power of the fleet or a site, 1 to 30 days": lambda: fleet.power(
                window(dice.uniform(1, 30)), site=dice.choice(["", *sites])
            ),
            "power of an owner, 1 to 30 days": lambda: fleet.power(
                window(dice.uniform(1, 30)), owner=dice.choice(owners), site=dice.choice(["", *sites])
            ),
            "power of a node, 1 to 30 days": lambda: fleet.power(window(dice.uniform(1, 30)), node=dice.choice(nodes)),
            "top nodes, 1 to 30 days": lambda: fleet.top_nodes(
                window(dice.uniform(1, 30)), by=dice.choice(["hum", "energy", "work", "peak"]),
                owner=dice.choice([None, *owners]),
            ),
            "a node's day, minute by minute": lambda: fleet.trace(dice.choice(nodes), window(1)),
            "who used what by month": lambda: fleet.used_by_month(window(30), site=dice.choice(["", *sites])),
            "the latest minute": fleet.latest,
        }  # fmt: skip
        for name, question in questions.items():
            question()
            took = [timed(question) for _ in range(option("--times", 100))]
            p95 = at(took, 0.95)
            rows.append(
                Row(f"in process: {name}, p95", p95, "ms", reference=DATA_MS, goal="< ref", holds=p95 < DATA_MS,
                    note=f"median {statistics.median(took):.0f} ms")
            )  # fmt: skip
    return state


# --- the server -------------------------------------------------------------------------------------------


def real_project(folder: Path) -> tuple[Path, str]:
    """A project after a small review of the example and some measured blocks, and what its receipts are."""
    if given := os.environ.get("OUTWEIGH_BENCH_PROJECT"):
        return Path(given), f"of {Path(given).name}, as given"
    text = (ROOT / "examples" / "news-triage" / "energy.toml").read_text(encoding="utf-8")
    for old, new in SMALLER:
        if old not in text:
            raise RuntimeError(f"the example no longer says {old!r}")
        text = text.replace(old, new)
    project = folder / "news-triage"
    project.mkdir()
    (project / "energy.toml").write_text(text, encoding="utf-8")
    for words in (["review", ".", "--out", "out"], ["measure", "--idle", "1", "--owner", "team-platform"]):
        done = subprocess.run([OUTWEIGH, *words], cwd=project, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 5):  # a verdict of so small a set may be any
            raise RuntimeError(done.stderr[-1000:])
    blocks = option("--blocks", 100)
    ledger = project / ".outweigh" / "ledger.sqlite"
    for number in range(blocks):
        with measuring(f"block-{number % 7}", project="news-triage", phase="inference", ledger=ledger):
            sum(range(100_000))
    return project, f"real: a small review of examples/news-triage, an idle stretch and {blocks} measured blocks"


@contextmanager
def served(ledger: str, project: Path, fleet: Path, log: Path) -> Iterator[tuple[str, int]]:
    """The server that ships; its URL and process once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        process = subprocess.Popen(
            [OUTWEIGH, "serve", "--project", str(project), "--ledger", ledger, "--fleet", str(fleet), "--port",
             str(port), "--workers", str(WORKERS), "--per-minute", "0"],
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + STARTED_S
        while True:
            try:
                httpx.get(f"{url}/healthz", timeout=5, trust_env=False).raise_for_status()
                break
            except httpx.HTTPError as err:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(log.read_text()[-2000:]) from err
                time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def processor_s(pid: int) -> float:
    """Processor time of a process and all below it [s], as Linux tells it; 0 elsewhere. It does not hang on what else
    the machine does."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
            ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    waiting, total = [pid], 0
    while waiting:
        each = waiting.pop()
        waiting += children.get(each, [])
        total += ticks.get(each, 0)
    return total / os.sysconf("SC_CLK_TCK")


def queries(name: str, state: FleetState, kept: Kept, answer: dict[str, Any], dice: random.Random) -> Iterator[str]:
    """Queries of a page without end: fields as people filter, values that there are (`answer` is its plain answer)."""
    window, now = windows(state, dice), datetime.now(UTC)

    def often(values: Sequence[str], share: float = 0.4) -> str:
        return dice.choice(values) if values and dice.random() < share else ""

    while True:
        fields: dict[str, str] = {}
        if name == "hum":
            of = window(dice.choice([1, 2, 7, 14, 30]))
            fields = {
                "since": f"{of.start:%Y-%m-%dT%H:%MZ}", "until": f"{of.end:%Y-%m-%dT%H:%MZ}",
                "owner": often([owner for owner in state.owners if owner]), "site": often(state.sites),
            }  # fmt: skip
            if dice.random() < 0.1:
                fields = {"of": "receipts"}
        elif name == "runs":
            fields = {
                "project": often(kept.projects), "phase": often(kept.phases), "variant": often(kept.variants, 0.2),
                "limit": often(["10", "50", "200"]), "grade": often(["B", "C"], 0.2),
                "since": often([f"{now - timedelta(hours=hours):%Y-%m-%dT%H:%MZ}" for hours in (1, 24, 168)]),
            }  # fmt: skip
        elif name in ("frontier", "budgets"):
            fields = {
                field: often([value for value in answer.get(plural, []) if isinstance(value, str)])
                for field, plural in (("kind", "kinds"), ("owner", "owners"), ("phase", "phases"), ("line", "lines"))
                if (field == "kind") == (name == "frontier")
            }
            if name == "budgets" and sum(map(bool, fields.values())) > 1:
                fields = {"line": fields["line"]}  # filters that leave no line are refused
        elif name == "places":
            weeks = [f"{now - timedelta(weeks=weeks):%Y-%m-%d}" for weeks in range(8)]
            fields = {"since": often(weeks), "shape": often(["known", "typical"])}
        elif name == "whatif" and dice.random() < 0.7:
            fields = {
                "form": "cooling", "it": f"{dice.randint(1, 50)} MW", "dry": str(dice.randint(5, 30)),
                "humidity": str(dice.randint(30, 90)), "price": often(["0.08 EUR/kWh", "0.15 EUR/kWh"]),
            }  # fmt: skip
        given = {field: text for field, text in fields.items() if text}
        yield f"?{urlencode(given)}" if given else ""


def addresses_of(path: str, addresses: list[str]) -> list[str]:
    return [path.replace("{address}", each) for each in addresses] if "{address}" in path else [path]


def pages_asked(url: str, pid: int, state: FleetState, kept: Kept, rows: list[Row]) -> None:
    """Every page's data over HTTP."""
    times, warming = option("--times", 100), 4 * WORKERS
    for page in PAGES:
        suffix = page.name if page.path == "/" else page.path.strip("/")
        paths = addresses_of(f"/api/v1/pages/{suffix}", kept.addresses)
        dice = random.Random(2)
        plain = httpx.get(url + paths[0], timeout=60, trust_env=False).json()
        found = queries(page.name, state, kept, plain, dice)
        took: list[float] = []
        refused: dict[int, str] = {}
        size, began_s = 0, 0.0
        for number in range(warming + times):
            if number == warming:
                began_s = processor_s(pid)
            target = url + dice.choice(paths) + next(found)
            began = time.perf_counter()
            answer = httpx.get(target, timeout=60, trust_env=False)
            took.append(1e3 * (time.perf_counter() - began))
            size = max(size, len(answer.content))
            if answer.status_code != 200:
                refused[answer.status_code] = f"{target.removeprefix(url)}: {answer.text[:200]}"
        first, took = took[:warming], took[warming:]
        p95, each_ms = at(took, 0.95), 1e3 * (processor_s(pid) - began_s) / times
        note = f"median {statistics.median(took):.0f} ms, at most {max(took):.0f}; {each_ms:.0f} ms of processor time "
        note += f"each; up to {size / 1e3:.1f} kB; "
        note += f"first ones of a worker up to {max(first):.0f} ms"
        note += f"; not answered: {refused}" if refused else ""
        rows.append(Row(f"data of {page.title} ({suffix}), p95", p95, "ms", reference=DATA_MS, goal="< ref",
                        holds=p95 < DATA_MS and not refused, note=note))  # fmt: skip


def paint_of(browser: Any, url: str) -> tuple[float, float, list[str]]:
    """First contentful paint [ms], end of loading [ms], and what the console complained of, of a fresh profile."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(url, wait_until="load")
    paint = tab.evaluate(
        "() => new Promise(done => { const seen = () => performance.getEntriesByType('paint')"
        ".find(e => e.name === 'first-contentful-paint'); if (seen()) done(seen().startTime); "
        "else new PerformanceObserver(() => seen() && done(seen().startTime))"
        ".observe({type: 'paint', buffered: true}); })"
    )
    whole = tab.evaluate("() => performance.timing.loadEventEnd - performance.timing.navigationStart")
    context.close()
    return float(paint), float(whole), said


def painted(url: str, addresses: list[str], rows: list[Row]) -> None:
    """First paint in a browser that has never been there."""
    if not CHROMIUM.exists():
        rows.append(Row("first paint", None, "ms", goal="< ref", note="Chromium is not installed here"))
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=CHROMIUM_ARGS)
        for page in PAGES:
            paths = [page.path.replace("{address}", addresses[n % len(addresses)]) for n in range(PAINTS)]
            opened = [paint_of(browser, url + path) for path in paths]
            took, said = [each[0] for each in opened], sorted({text for each in opened for text in each[2]})
            worst, whole_ms = max(took), statistics.median(each[1] for each in opened)
            note = f"worst of {PAINTS}; median {statistics.median(took):.0f} ms, loaded after {whole_ms:.0f}"
            note += f"; console errors: {said[:2]}" if said else ""
            rows.append(Row(f"first paint of {page.title} ({page.path})", worst, "ms", reference=PAINT_MS, goal="< ref",
                            holds=worst < PAINT_MS and not said, note=note))  # fmt: skip
        browser.close()


def pressed(
    url: str, pid: int, ledger: str, project: Path, addresses: list[str], folder: Path, rows: list[Row]
) -> None:
    """The API under wrk."""
    if shutil.which("wrk") is None:
        rows.append(Row("requests a second", None, "1/s", goal=">= ref", note="wrk is not installed here"))
        return
    created = subprocess.run(
        [OUTWEIGH, "serve", "token", "create", "bench", "--role", "reader", "--ledger", ledger],
        capture_output=True, text=True, check=True, cwd=project,
    )  # fmt: skip
    token = created.stdout.split()[-1]
    dice = random.Random(3)
    paths = [path for path, often in WRK_SHAPE for _ in range(often) for _ in range(8)]
    paths = [path.replace("{address}", dice.choice(addresses)) for path in paths]
    dice.shuffle(paths)
    script = folder / "shape.lua"
    script.write_text(WRK_SCRIPT % ", ".join(json.dumps(path) for path in paths))
    headers = {"Authorization": f"Bearer {token}"}
    for path in sorted(set(paths)):
        httpx.get(url + path, headers=headers, timeout=30, trust_env=False).raise_for_status()
    seconds, began_s = option("--seconds", 20), processor_s(pid)
    done = subprocess.run(
        ["wrk", f"-t{WRK_THREADS}", f"-c{WRK_CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script),
         "-H", f"Authorization: Bearer {token}", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout.strip().splitlines()[-1])
    rate = said["requests"] / said["seconds"]
    errors = {name: said[name] for name in ("connect", "read", "write", "timeout", "status") if said[name]}
    whole = sum(often for _, often in WRK_SHAPE)
    shape = ", ".join(f"{often} of {whole} {path}" for path, often in WRK_SHAPE)
    rows.append(
        Row(f"requests a second, {WORKERS} workers on PostgreSQL", rate, "1/s", reference=PER_S, goal=">= ref",
            holds=rate >= PER_S and not errors,
            note=f"wrk -t{WRK_THREADS} -c{WRK_CONNECTIONS} for {seconds} s with a reader's token: {shape}; "
                 f"errors: {errors or 'none'}")
    )  # fmt: skip
    each_ms = 1e3 * (processor_s(pid) - began_s) / max(1, said["requests"])
    rows.append(
        Row("processor time of the workers, each request", each_ms, "ms",
            note=f"{PER_S * each_ms / 1e3:.2f} cores for {PER_S:.0f} a second, without PostgreSQL's")
    )  # fmt: skip
    failed = sum(errors.values())
    rows.append(
        Row("requests that failed", float(failed), "", reference="0", goal="== 0", holds=not failed,
            note=f"of {said['requests']}")
    )  # fmt: skip
    rows += [Row(f"latency under that load, {name[:3]}", said[name], "ms") for name in ("p50_ms", "p95_ms", "p99_ms")]


def kept_in(ledger: str) -> Kept:
    store = open_ledger(ledger)
    try:
        found = list(store.receipts(ReceiptFilter()))
    finally:
        store.close()
    receipts = [receipt for _, receipt in found]
    return Kept(
        [address for address, _ in found],
        sorted({receipt.project for receipt in receipts} - {""}),
        sorted({str(receipt.phase) for receipt in receipts}),
        sorted({receipt.variant for receipt in receipts} - {""}),
    )


def told(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    # What was started is stopped, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows: list[Row] = []
    root = Path(tempfile.mkdtemp(prefix="serve"))
    fleet = Path(os.environ.get("OUTWEIGH_BENCH_FLEET", root / "fleet"))
    postgres = loaded(ROOT / "tests" / "stores" / "postgres_server.py")
    try:
        told("the fleet")
        made(fleet, rows)
        told("questions in this process")
        state = asked_here(fleet, rows)
        if postgres.binaries() is None:
            rows.append(Row("the server", None, "", goal="-", note="PostgreSQL is not installed here"))
            return finish("serve", rows)
        told("real receipts")
        project, what = real_project(root)
        with postgres.serving() as database:
            ledger = database.url()
            told("PostgreSQL")
            copy = [OUTWEIGH, "ledger", "copy", str(project / ".outweigh" / "ledger.sqlite"), ledger]
            subprocess.run(copy, check=True, capture_output=True)
            kept = kept_in(ledger)
            rows.append(Row("receipts served", float(len(kept.addresses)), "", note=what))
            with served(ledger, project, fleet, root / "server.log") as (url, pid):
                told("pages' data")
                pages_asked(url, pid, state, kept, rows)
                told("first paint")
                painted(url, kept.addresses, rows)
                told("wrk")
                pressed(url, pid, ledger, project, kept.addresses, root, rows)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return finish("serve", rows)


if __name__ == "__main__":
    sys.exit(main())
