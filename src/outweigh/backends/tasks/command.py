"""Command: anything that prints its quality as JSON, one line an item."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, ClassVar

from outweigh.backends.tasks._options import brief, choice, number, task_options, variant_options, whole
from outweigh.backends.tasks._prompts import drawn
from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.project import TaskSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.ports import Availability, ItemResults
from outweigh.registry import tasks

_NAME = "command"
_PROTOCOLS = ("items", "stdin")
_TASK_OPTIONS: dict[str, Option] = {"metrics": "score", "items": 0, "seed": 0}
_VARIANT_OPTIONS: dict[str, Option] = {"command": "", "protocol": "items", "threads": 0, "timeout_s": 600.0}
_KNOWN_COUNTS = ("tokens_in", "tokens_out", "prefill_s", "decode_s")
_FORM = 'Print {"item": 0, "scores": {"accuracy": 1}, "latency_ms": 2.5} on a line of its own for each item'
_ENDS_S = 5.0  # how long a command may take to end after its input has


@dataclass(frozen=True, slots=True)
class _Given:
    """One item as it lies in the data set. Text and label are what `_prompts.drawn` orders by the digest of."""

    row: Any
    label: str
    digest: str


@tasks.register(_NAME)
class Command:
    """Run a program on items and read their scores from what it prints.

    Data: JSON lines, one item a line, of any shape; equal lines are kept once.

    A variant's option `command` is what to run, in the folder of energy.toml, split as a shell would and run without
    one; `{model}` in it is the path of the variant's model. With `protocol = "items"` it is run once a round with
    `--items FILE` added, a file of JSON lines `{"item": 0, "given": ROW}`. With "stdin" it is started once, each round
    is written to its standard input as such lines followed by an empty one, and it ends when its input does.

    Either way it prints one line of JSON an item: `{"item": 0, "scores": {"accuracy": 1}, "latency_ms": 2.5}`, in any
    order, with a number (higher is better) or null for each metric, and at will `"counts": {"tokens_in": 12}`.
    Nothing else goes to standard output; standard error is its own. Without `latency_ms`, an item's latency is the
    round's wall time by the number of items.

    Task options: `metrics` ("score"; names with commas between), `items` (all), `seed` (0). Variant options: `command`,
    `protocol` ("items"), `timeout_s` of a round (600), `threads` (0: as it likes; else OMP_NUM_THREADS tells it).
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._items: tuple[_Given, ...] = ()
        self._metrics: tuple[str, ...] = ()
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        return Availability(name=_NAME, usable=True, sees="what a program prints of each item, latency")

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read the items.

        Raises:
            TaskError: data set missing or no JSON lines, fewer than two items, or an option that cannot be.
        """
        options = task_options(_NAME, spec.options, _TASK_OPTIONS)
        seed, most = whole(_NAME, options, "seed", 0), whole(_NAME, options, "items", 0)
        metrics = tuple(name.strip() for name in str(options["metrics"]).split(",") if name.strip())
        if not metrics:
            raise TaskError(_NAME, "the option metrics names none", 'Name what is printed, such as "accuracy"')
        try:
            path = resolve_artefact(spec.dataset, root)
        except UsageError as err:
            raise TaskError(_NAME, f"data set: {err.problem}", err.remedy) from err
        items = drawn(_read(path), most, seed)
        if len(items) < 2:
            raise TaskError(_NAME, f"{path.name} gives {len(items)} item(s)", "Give two or more")
        self._root, self._items, self._metrics = root, items, metrics
        pinned = {"task": _NAME, "items": [item.digest for item in items], "metrics": metrics}
        self._content_hash = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()

    @property
    def n_items(self) -> int:
        return len(self._loaded)

    @property
    def metrics(self) -> tuple[str, ...]:
        _ = self._loaded
        return self._metrics

    @property
    def content_hash(self) -> str:
        """SHA-256 over all items in order and the names of the metrics; how they are scored is the command's."""
        _ = self._loaded
        return self._content_hash

    def runner(self, variant: Variant) -> CommandRunner:
        """Check a variant's command. Raises ModelError."""
        items = self._loaded
        options = _VARIANT_OPTIONS | variant_options(variant, tuple(_VARIANT_OPTIONS))
        whole(_NAME, options, "threads", 0)
        number(_NAME, options, "timeout_s", 0.0)
        choice(_NAME, options, "protocol", _PROTOCOLS)
        argv = _split(variant, str(options["command"]))
        known = replace(variant, content_hash=_hash(variant, options))
        return CommandRunner(known, argv, items, self._metrics, options, self._root)

    @property
    def _loaded(self) -> tuple[_Given, ...]:
        if not self._items:
            raise UsageError("the task has no data yet", "Call load() first")
        return self._items


class CommandRunner:
    """One variant; keeps the promises of `ports.Runner`."""

    def __init__(
        self, variant: Variant, argv: list[str], items: tuple[_Given, ...], metrics: tuple[str, ...],
        options: Mapping[str, Option], root: Path,
    ) -> None:  # fmt: skip
        self.variant = variant
        self._argv, self._items, self._metrics, self._root = argv, items, metrics, root
        self._timeout_s = number(_NAME, options, "timeout_s", 0.0)
        self._streams = options["protocol"] == "stdin"
        threads = str(options["threads"])
        self._env = os.environ | ({} if threads == "0" else {"OMP_NUM_THREADS": threads})
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def fit(self) -> None:
        """Start the command where it stays, so that its start is not charged to the first round."""
        self._check_open()
        if self._streams and self._process is None:
            self._process = self._started(self._argv, stdin=subprocess.PIPE)

    def run(self, items: Sequence[int]) -> ItemResults:
        """Hand items to the command and read what it prints.

        Raises:
            ModelError: it cannot be started, fails, takes too long, or prints something else than asked for.
        """
        self._check_open()
        lines = "".join(json.dumps({"item": item, "given": self._items[item].row}) + "\n" for item in items)
        began_s = time.perf_counter()
        printed = self._stream(lines, len(items)) if self._streams else self._once(lines)
        each_ms = (time.perf_counter() - began_s) * 1e3 / max(1, len(items))
        found = self._read(printed, items)
        scores = {metric: tuple(self._score(found[item], item, metric) for item in items) for metric in self._metrics}
        latency_ms = tuple(self._latency_ms(found[item], item, each_ms) for item in items)
        return ItemResults(tuple(items), scores, latency_ms, self._counts(found, items))

    def close(self) -> None:
        """End the command, where one is running. Closing twice is allowed."""
        self._closed = True
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):  # it ended before us
                process.stdin.close()
        try:
            process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            _end(process)
        if process.stdout is not None:
            process.stdout.close()

    def _once(self, lines: str) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="outweigh-items-") as folder:
            file = Path(folder) / "items.jsonl"
            file.write_text(lines, encoding="utf-8")
            process = self._started([*self._argv, "--items", str(file)], stdin=subprocess.DEVNULL)
            try:
                printed, _ = process.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired as err:
                raise self._too_long() from err
            finally:
                if process.returncode is None:  # it took too long, or we were interrupted
                    _end(process)
                    process.communicate()
        if process.returncode:
            raise self._failed(process.returncode)
        return printed.splitlines()

    def _stream(self, lines: str, n: int) -> list[str]:
        process = self._process
        if process is None:
            raise UsageError(f"{self.variant.name} has not been started", "Call fit() before run()")
        stdin, stdout = _pipes(process)
        late = threading.Event()
        watch = threading.Timer(self._timeout_s, _end, (process, late))
        watch.daemon = True
        watch.start()
        # Written beside the reading: a command that answers item by item would fill its pipe while we fill ours.
        writer = threading.Thread(target=_write, args=(stdin, lines + "\n"), daemon=True)
        writer.start()
        printed: list[str] = []
        try:
            while len(printed) < n:
                line = stdout.readline()
                if not line:
                    break
                if line.strip():
                    printed.append(line)
        finally:
            watch.cancel()
        if late.is_set():
            raise self._too_long()
        if len(printed) < n and process.poll() is None:
            process.wait(_ENDS_S)
        if process.returncode is not None and len(printed) < n:
            raise self._failed(process.returncode)
        writer.join()
        return printed

    def _started(self, argv: list[str], stdin: int) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                argv, cwd=self._root, env=self._env, stdin=stdin, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                errors="replace", start_new_session=True,
            )  # fmt: skip
        except OSError as err:
            problem = f"{argv[0]} cannot be started ({err.strerror})"
            raise ModelError(self.variant.name, problem, f"It is looked for from {self._root}") from err

    def _read(self, printed: Sequence[str], items: Sequence[int]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for line in filter(str.strip, printed):
            try:
                said = json.loads(line)
            except json.JSONDecodeError as err:
                raise self._misprint(f"{line.strip()[:60]!r} is not JSON") from err
            if not isinstance(said, dict) or not isinstance(said.get("scores"), dict):
                raise self._misprint(f"{line.strip()[:60]!r} has no `scores`")
            if said.get("item") not in items or said["item"] in found:
                raise self._misprint(f"it answers for item {said.get('item')!r}, not asked for or answered before")
            found[said["item"]] = said
        missing = [item for item in items if item not in found]
        if missing:
            raise self._misprint(f"it gives no answer for {len(missing)} of {len(items)} items, {missing[0]} the first")
        return found

    def _score(self, said: Mapping[str, Any], item: int, metric: str) -> float | None:
        if metric not in said["scores"]:
            raise self._misprint(f"item {item} has no {metric!r}, only {', '.join(said['scores']) or 'nothing'}")
        value = said["scores"][metric]
        return None if value is None else self._number(value, f"{metric} of item {item}")

    def _latency_ms(self, said: Mapping[str, Any], item: int, otherwise: float) -> float:
        if "latency_ms" not in said:
            return otherwise
        return self._number(said["latency_ms"], f"latency_ms of item {item}", least=0.0)

    def _counts(self, found: Mapping[int, Mapping[str, Any]], items: Sequence[int]) -> dict[str, tuple[float, ...]]:
        names = [name for name in _KNOWN_COUNTS if all(name in (found[item].get("counts") or {}) for item in items)]
        return {
            name: tuple(
                self._number(found[item]["counts"][name], f"{name} of item {item}", least=0.0) for item in items
            )
            for name in names
        }

    def _number(self, value: object, what: str, least: float = -math.inf) -> float:
        if isinstance(value, bool | int | float) and math.isfinite(value) and value >= least:
            return float(value)
        if isinstance(value, float) and not math.isfinite(value):
            remedy = "The model is damaged or overflows: check it, or the lever that made it"
            raise ModelError(self.variant.name, f"{what} is not finite (NaN or infinite)", remedy)
        raise self._misprint(f"{what} is {value!r}")

    def _misprint(self, problem: str) -> ModelError:
        return ModelError(self.variant.name, f"its command prints something else: {problem}", _FORM)

    def _failed(self, code: int) -> ModelError:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ends with exit code {code}"
        return ModelError(self.variant.name, f"its command {how}", f"Run it by hand: {shlex.join(self._argv)}")

    def _too_long(self) -> ModelError:
        problem = f"its command took longer than {self._timeout_s:g} s for a round and was ended"
        return ModelError(self.variant.name, problem, "Raise the option `timeout_s`, or give it fewer items")

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.variant.name} was closed", "Ask the task for a new runner")


def _read(path: Path) -> list[_Given]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise TaskError(_NAME, f"{path.name} cannot be read ({brief(err)})", "Give JSON lines in UTF-8") from err
    found: dict[str, _Given] = {}
    for place, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            problem = f"{path.name}:{place} is not JSON ({err.msg})"
            raise TaskError(_NAME, problem, "Write one JSON value a line") from err
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
        found.setdefault(digest, _Given(row, "", digest))
    return list(found.values())


def _split(variant: Variant, command: str) -> list[str]:
    try:
        argv = [part.replace("{model}", variant.model) for part in shlex.split(command)]
    except ValueError as err:
        raise ModelError(variant.name, f"its command cannot be read ({err})", "Close its quotes") from err
    if not argv:
        remedy = 'Set it under the variant\'s options, such as "python evaluate.py {model}"'
        raise ModelError(variant.name, "it has no option `command`", remedy)
    if os.sep not in argv[0] and shutil.which(argv[0]) is None:
        raise ModelError(variant.name, f"there is no program {argv[0]!r}", "Install it, or write its path")
    return argv


def _hash(variant: Variant, options: Mapping[str, Option]) -> str:
    """SHA-256 of the model's bytes and the options; a command is pinned by its text."""
    digest = hashlib.sha256(json.dumps(dict(options), sort_keys=True).encode())
    model = Path(variant.model)
    try:
        files = sorted(file for file in model.rglob("*") if file.is_file()) if model.is_dir() else [model]
        for file in files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as err:
        problem = f"{model} cannot be read ({err.strerror})"
        raise ModelError(variant.name, problem, "Check the path of the model") from err
    return digest.hexdigest()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise UsageError("the command was started without pipes", "Ask the task for a new runner")
    return process.stdin, process.stdout


def _write(stdin: IO[str], text: str) -> None:
    try:
        stdin.write(text)
        stdin.flush()
    except (OSError, ValueError):
        return  # it ended or was ended: what it printed until then says so


def _end(process: subprocess.Popen[str], late: threading.Event | None = None) -> None:
    """End the command and what it started: all of its session, which is ours alone."""
    if late is not None:
        late.set()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
