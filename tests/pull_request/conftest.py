"""A runner played: a bare repository, a clone of it, an event payload, and a forge on localhost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
WIDTH = 48
#: Matrix products that change nothing: what makes the large encoder large.
LARGE, SMALL = 400, 0
PLAIN = ["the", "a", "of", "and", "with", "then", "under", "before", "every", "small", "old", "new"]
TOPICS = {
    "cooking": ["simmer", "whisk", "butter", "oven", "garlic", "recipe", "dough", "broth"],
    "sailing": ["harbour", "rudder", "mast", "tide", "anchor", "jib", "keel", "breeze"],
}
WORDS = ["[PAD]", "[UNK]", *PLAIN, *(word for words in TOPICS.values() for word in words)]

ENERGY_TOML = """\
[project]
name = "triage"
unit = "ticket"
volume = { per_month = 1000.0 }

[task]
adapter = "text-classification"
dataset = "eval/items.csv"
primary = { metric = "accuracy" }

[task.options]
tokenizer = "tokenizer.json"
train = 40

[variants.base]
model = "models/base.onnx"

[gate]
incumbent = "base"

[budget.serve]
phase = "inference"
per_unit = "500 J"
owner = "team"

[protocol]
rounds = 4
hum = "0.2 s"
window = "0.02 s"
warmup_most = 2
"""
PROPOSED = '\n[variants.new]\nmodel = "models/new.onnx"\n'


def write_encoder(path: Path, wasted: int, seed: int = 7) -> Path:
    """An encoder whose embeddings depend on `seed` alone, and whose work grows with `wasted`."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, numpy_helper, floats, whole = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    chance = np.random.default_rng(seed)
    words = chance.normal(size=(len(WORDS), WIDTH)).astype(np.float32)
    turn = np.linalg.qr(chance.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["y0"])]
    nodes += [helper.make_node("MatMul", [f"y{step}", "turn"], [f"y{step + 1}"]) for step in range(wasted)]
    nodes += [
        helper.make_node("Mul", [f"y{wasted}", "none"], ["nothing"]),
        helper.make_node("Add", ["y0", "nothing"], ["tokens"]),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, whole, ["b", "n"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("tokens", floats, ["b", "n", WIDTH])],
        [
            numpy_helper.from_array(words, "words"),
            numpy_helper.from_array(turn, "turn"),
            numpy_helper.from_array(np.zeros(1, dtype=np.float32), "none"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_items(path: Path, n: int = 240) -> None:
    """Texts of two classes; one in eight carries the other's label, so that there is an error left to compare."""
    chance = random.Random(3)
    rows = []
    for number in range(n):
        topic = sorted(TOPICS)[number % 2]
        label = sorted(TOPICS)[(number + (number % 8 == 0)) % 2]
        rows.append(f"{' '.join(chance.choices(PLAIN, k=8) + chance.choices(TOPICS[topic], k=4))},{label}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")


def write_tokenizer(path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


# --- the forge --------------------------------------------------------------------------------------


@dataclass
class Forge:
    """GitHub's issue comments as far as a gate needs them. `refuse` answers instead: (status, headers)."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    head: str = ""
    refuse: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    refuse_always: tuple[int, dict[str, str]] | None = None
    writes_as: dict[str, str] = field(default_factory=lambda: {"login": "github-actions[bot]", "type": "Bot"})

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        comments = "/repos/team/triage/issues/7/comments"
        if method == "GET" and path == comments:
            return 200, self.comments
        if method == "GET" and path == "/repos/team/triage/pulls/7":
            return 200, {"head": {"sha": self.head}}
        if method == "POST" and path == comments:
            number = 100 + len(self.comments)
            made = {
                "id": number,
                "body": body["body"],
                "user": dict(self.writes_as),
                "html_url": f"{self.url}/c/{number}",
            }
            self.comments.append(made)
            return 201, made
        if method == "PATCH" and path.startswith("/repos/team/triage/issues/comments/"):
            number = int(path.rsplit("/", 1)[1])
            found = next(one for one in self.comments if one["id"] == number)
            found["body"] = body["body"]
            return 200, found
        return 404, {"message": "Not Found"}

    @property
    def written(self) -> list[str]:
        return [method for method, _ in self.calls if method != "GET"]


@pytest.fixture
def forge() -> Iterator[Forge]:
    made = Forge()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            path = self.path.partition("?")[0]
            made.calls.append((self.command, path))
            if made.refuse_always is not None:
                status, headers = made.refuse_always
                answer: Any = {"message": "Resource not accessible by integration"}
            elif made.refuse:
                (status, headers), answer = made.refuse.pop(0), {"message": "later"}
            else:
                headers = {}
                status, answer = made.answer(self.command, path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


# --- the repository and the runner ------------------------------------------------------------------


@dataclass
class Runner:
    """A clone of a bare repository, as a runner has it, with `main` and a branch to propose from."""

    root: Path
    clone: Path
    origin: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.clone), *arguments], capture_output=True, text=True, check=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def write(self, text: str) -> None:
        (self.clone / "energy.toml").write_text(text, encoding="utf-8")

    @property
    def text(self) -> str:
        return (self.clone / "energy.toml").read_text(encoding="utf-8")

    def encoder(self, name: str, wasted: int, seed: int = 7) -> Path:
        return write_encoder(self.clone / "models" / f"{name}.onnx", wasted, seed)

    def propose(
        self, *changes: tuple[str, str], added: str = PROPOSED, wasted: int | None = LARGE, seed: int = 7
    ) -> str:
        """Commit a branch on top of main: a new model, and changes to energy.toml."""
        self.git("checkout", "--quiet", "-B", "feature", "main")
        text = self.text + added
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        self.write(text)
        if wasted is not None:
            self.encoder("new", wasted, seed)
        head = self.commit("propose")
        self.git("push", "--quiet", "--force", "origin", "feature")
        return head

    def environment(self, forge: Forge, token: str = "t0ken") -> dict[str, str]:
        """What GitHub Actions sets for a pull_request event."""
        head = self.git("rev-parse", "feature")
        event = self.root / "event.json"
        pull = {"number": 7, "base": {"sha": self.git("rev-parse", "main")}, "head": {"sha": head}}
        event.write_text(json.dumps({"pull_request": pull}), encoding="utf-8")
        forge.head = head
        return {
            "GITHUB_ACTIONS": "true", "GITHUB_API_URL": forge.url, "GITHUB_REPOSITORY": "team/triage",
            "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(event), "GITHUB_SHA": head,
            "GITHUB_STEP_SUMMARY": str(self.root / "summary.md"), "GITHUB_OUTPUT": str(self.root / "output"),
            "GITHUB_TOKEN": token,
        }  # fmt: skip

    def outweigh(
        self, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI_", "GH_"))}
        done = subprocess.run(
            [OUTWEIGH, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False,
            cwd=self.clone, env={**kept, **(environment or {})},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def gate(self, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`gate pull-request` on the pure-Python meter that works everywhere."""
        given = () if environment and "GITHUB_EVENT_PATH" in environment else ("--base", "main", "--head", "feature")
        out = ("--out", self.out)
        return self.outweigh(
            "gate", "pull-request", *given, *out, "--meter", "cpu-model", *arguments, environment=environment
        )

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def document(self) -> dict[str, Any]:
        return json.loads((self.out / "gate.json").read_text(encoding="utf-8"))

    @property
    def comment(self) -> str:
        return (self.out / "comment.md").read_text(encoding="utf-8")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Runner]:
    """Makes a repository whose main branch has a project: `wasted` says how large the model in service is."""
    pytest.importorskip("sklearn")

    def make(*changes: tuple[str, str], wasted: int = SMALL) -> Runner:
        origin, clone = tmp_path / "origin.git", tmp_path / "clone"
        subprocess.run(["git", "init", "--quiet", "--bare", str(origin)], check=True, capture_output=True)
        subprocess.run(["git", "clone", "--quiet", str(origin), str(clone)], check=True, capture_output=True)
        runner = Runner(tmp_path, clone, origin)
        runner.git("checkout", "--quiet", "-b", "main")
        text = ENERGY_TOML
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        runner.write(text)
        (clone / ".gitignore").write_text(".outweigh/\n", encoding="utf-8")
        write_items(clone / "eval" / "items.csv")
        write_tokenizer(clone / "tokenizer.json")
        write_encoder(clone / "models" / "base.onnx", wasted)
        runner.commit("a project")
        runner.git("push", "--quiet", "origin", "main")
        return runner

    return make
