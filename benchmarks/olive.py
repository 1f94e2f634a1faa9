"""Our search against Olive, in one run: the same model, the same articles, the same quality bar.

Olive (PyPI olive-ai 0.13.0) gets an environment of its own in a folder that is thrown away, and runs the passes its
documentation gives for a BERT-like ONNX model on CPU: graph optimisation for transformers, then dynamic int8. Ours runs
`outweigh shrink --search`. Then both are measured by our protocol, interleaved, on the articles that our search kept
for its verdict.

Two things Olive 0.13.0 would do did not work offline with the packages of November 2026, and are not held against it:
`olive optimize --precision int8` wants calibration data from a hub, and a search by a custom metric ends in errors of
its configuration classes. So its run does not judge quality. The time to reach a model that is *known* to keep the bar
is therefore its run plus judging that one model on the same items; its bare run is printed beside.

    python benchmarks/olive.py [--json] [--olive FOLDER]      # FOLDER: an environment with Olive in it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outweigh.compare.energy import log_ratio
from outweigh.compare.evidence import Evidence
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Sitting, run_protocol
from outweigh.config import load_project
from outweigh.core.variant import Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.measure import MeterSession, choose_meter
from outweigh.ports import ItemResults
from outweigh.registry import tasks
from outweigh.shrink import make_variants
from outweigh.shrink.search_split import split_items

sys.path.insert(0, str(Path(__file__).parent))
from shape import Row, finish

ROOT = Path(__file__).parents[1]
OLIVE, RUNTIME, TORCH = "olive-ai==0.13.0", "onnxruntime", "torch==2.13.0"
MARGIN = 0.01
BASE = "l3"
SEED = 0
LEVERS = "quantize:int8-dynamic,quantize:int8-weights,quantize:int4-weights"
TRIALS = 3
THEIR_PASS = "quantize:int8-dynamic"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a search chose, and how long it took to get there."""

    model: str
    seconds: float
    note: str


def main() -> int:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="outweigh-olive-") as scratch:
        folder = Path(scratch)
        try:
            python = olive_environment(folder)
        except subprocess.CalledProcessError as err:
            said = (err.stderr or "").strip().splitlines()[-1:] or ["pip failed"]
            return finish("olive", [Row("energy against Olive's choice", None, "x", note=f"no Olive: {said[0]}")])
        project = our_project(folder)
        ours = our_search(project)
        # Olive was handed its passes and looked at nothing else; so is ours, the same one, in a folder of its own.
        alone = our_search(our_project(folder / "alone"), THEIR_PASS, 1)
        theirs = their_run(folder, python, project)
        rows += compared(folder, project, ours, theirs, alone)
    return finish("olive", rows)


def olive_environment(folder: Path) -> Path:
    """Python of an environment with Olive; the one named with --olive, or a new one."""
    if "--olive" in sys.argv:
        return Path(sys.argv[sys.argv.index("--olive") + 1]).absolute() / "bin" / "python"
    from importlib.metadata import version

    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True, text=True)
    python = folder / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    # The CPU build where an index offers one. requests is imported by Olive 0.13.0 and not among its needs.
    subprocess.run([*pip, TORCH], check=True, capture_output=True, text=True)
    subprocess.run(
        [*pip, OLIVE, TORCH, f"{RUNTIME}=={version(RUNTIME)}", "requests"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return python


def our_project(folder: Path) -> Path:
    project = folder / "project"
    project.mkdir(parents=True)
    text = (ROOT / "examples" / "news-triage" / "energy.toml").read_text(encoding="utf-8")
    # The bar is accuracy within a point, for both: Olive's goals know nothing of the example's other guards.
    start, end = text.index("guards = ["), text.index("[task.options]")
    (project / "energy.toml").write_text(text[:start] + "\n" + text[end:], encoding="utf-8")
    return project


def our_search(project: Path, levers: str = LEVERS, trials: int = TRIALS) -> Chosen:
    command = [
        str(Path(sys.executable).with_name("outweigh")), "shrink", BASE, "--search", "--json", "--seed", str(SEED),
        "--trials", str(trials), "--margin", str(MARGIN), "--levers", levers, "--project", str(project),
    ]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    judged = [body for body in objects if body["kind"] == "judged"]
    if not judged:
        raise SystemExit(f"our search ended with nothing: {done.stderr}")
    first = next((body for body in judged if body["chosen"]), judged[0])
    verdict = objects[-1]
    note = (
        f"ours: {first['combination']} ({verdict['outcome']} on held-out items), {verdict['combinations_seen']} looked "
        f"at, its verdict included"
    )
    return Chosen("+".join(first["levers"]), seconds, note)


def their_run(folder: Path, python: Path, project: Path) -> Chosen:
    loaded = load_project(project)
    config = {
        "input_model": {
            "type": "ONNXModel", "model_path": str(resolve_artefact(loaded.variant(BASE).model, project)),
        },
        "systems": {
            "local": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "passes": {
            "graph": {"type": "OrtTransformersOptimization", "model_type": "bert", "num_heads": 12, "hidden_size": 384},
            "quantise": {"type": "OnnxDynamicQuantization"},
        },
        "host": "local", "target": "local", "output_dir": str(folder / "out"), "cache_dir": str(folder / "cache"),
    }  # fmt: skip
    (folder / "olive.json").write_text(json.dumps(config), encoding="utf-8")
    began = time.monotonic()
    done = olive(python, folder, "run", "--config", str(folder / "olive.json"), "--disable_telemetry")
    seconds = time.monotonic() - began
    models = sorted((folder / "out").rglob("*.onnx"))
    if not models:
        raise SystemExit(f"Olive ended with no model: {(done.stderr or done.stdout)[-2000:]}")
    return Chosen(str(models[0]), seconds, f"Olive's bare run took {seconds:.0f} s")


def olive(python: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [python, "-m", "olive", *args], cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=1800,
    )  # fmt: skip


class OnItems:
    """A fitted runner on some of the task's items, counted from 0."""

    def __init__(self, runner: Any, items: tuple[int, ...]) -> None:
        self.variant, self._runner, self._items = runner.variant, runner, items

    def fit(self) -> None:
        """It is fitted already."""

    def run(self, items: Any) -> ItemResults:
        found = self._runner.run([self._items[item] for item in items])
        return replace(found, items=tuple(items))

    def close(self) -> None:
        self._runner.close()


def compared(folder: Path, project: Path, ours: Chosen, theirs: Chosen, alone: Chosen) -> list[Row]:
    """Energy per article of both choices and of the model as it was, interleaved in one sitting."""
    text, levers = (project / "energy.toml").read_text(encoding="utf-8"), json.dumps(ours.model.split("+"))
    added = f'\n[variants.ours]\nfrom = "{BASE}"\nlevers = {levers}\n\n[variants.olives]\nmodel = "{theirs.model}"\n'
    (project / "energy.toml").write_text(text + added, encoding="utf-8")
    loaded = load_project(project)
    task = tasks.get(loaded.task.adapter)()
    task.load(loaded.task, project)
    split = split_items(task.n_items, SEED)
    meter, _ = choose_meter()
    with MeterSession(meter) as session:
        made = make_variants(loaded, folder / "made", names=["olives", "ours", BASE], task=task)
        judging_s = judged_alone(task, made[0].variant, (*split.search, *split.held_out))
        runners = [task.runner(one.variant) for one in made]
        for runner in runners:
            runner.fit()
        evidence = run_protocol(
            session,
            [OnItems(runner, split.held_out) for runner in runners],
            n_items=len(split.held_out),
            protocol=replace(loaded.protocol, rounds=20),
            sitting=Sitting(loaded.name, loaded.unit, ""),
            facility=Facility(1.0, loaded.serving, loaded.volume_low_per_month, loaded.horizon_months, 2),
            on_receipt=lambda receipt: receipt.content_hash,
        ).evidence
    mine, olives, base = evidence["ours"], evidence["olives"], evidence[BASE]
    ratio = log_ratio((mine.work_j + mine.hum_j) / mine.units, (olives.work_j + olives.hum_j) / olives.units).ratio()
    lost = [100 * (one.metric("accuracy") - base.metric("accuracy")) for one in (mine, olives)]
    judged_s = theirs.seconds + judging_s
    return [
        Row("energy per article, ours over Olive's", ratio.value, "x", 1.0, "<= ref", ratio.value <= 1.0,
            f"95 % {ratio.bounds.low:.3f} to {ratio.bounds.high:.3f}, {len(split.held_out)} articles; {ours.note}"),
        Row("energy per article, ours", per_unit(mine), "J", per_unit(olives)),
        Row("energy per article, the model as it was", per_unit(base), "J"),
        Row("accuracy, ours less that of the model as it was", lost[0], "points", lost[1], f">= {-100 * MARGIN:g}",
            lost[0] >= -100 * MARGIN, "ref: Olive's, on the same articles"),
        Row("time to a model known to keep the bar, ours", ours.seconds, "s", judged_s, "<= ref",
            ours.seconds <= judged_s,
            f"x {ours.seconds / judged_s:.2f}, over {TRIALS} combinations; {theirs.note} "
            f"(x {ours.seconds / theirs.seconds:.2f}), which judges no quality"),
        Row("the same, ours handed the pass that Olive was handed", alone.seconds, "s", judged_s, "<= ref",
            alone.seconds <= judged_s, f"x {alone.seconds / judged_s:.2f}; energy and quality of both sides measured"),
    ]  # fmt: skip


def judged_alone(task: Any, variant: Variant, items: tuple[int, ...]) -> float:
    """Seconds to load one model, fit its head and judge it on these items."""
    began = time.monotonic()
    runner = task.runner(variant)
    runner.fit()
    runner.run(list(items))
    runner.close()
    return time.monotonic() - began


def per_unit(one: Evidence) -> float:
    return float((one.work_j + one.hum_j).sum() / one.units.sum())


if __name__ == "__main__":
    sys.exit(main())
