"""Language models: how likely they find a text, or whether they answer a prompt exactly right."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from outweigh.backends.tasks._engine import missing_packages, rooted
from outweigh.backends.tasks._lm import VARIANT_OPTIONS, Asked, Completed, LanguageModel, Scored
from outweigh.backends.tasks._lm_gguf import GgufModel
from outweigh.backends.tasks._lm_http import HttpModel, address_of
from outweigh.backends.tasks._lm_torch import TorchModel
from outweigh.backends.tasks._options import choice, number, task_options, variant_options, whole
from outweigh.backends.tasks._prompts import Passage, drawn, has_answers, read_passages, read_questions
from outweigh.backends.tasks._splitting import listed
from outweigh.backends.tasks._steady import Flown, flown, steady
from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.project import TaskSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.data.torch_models import torch_reference
from outweigh.ports import Availability, ItemResults
from outweigh.registry import tasks

_NAME = "language-model"
_MEASURES = ("perplexity", "exact-match")
_MATCHES = ("exact", "casefold", "last-number")
_TASK_OPTIONS: dict[str, Option] = {
    "measure": "", "items": 0, "seed": 0, "chars": 500, "text_column": "text",
    "prompt_column": "prompt", "answer_column": "answer", "max_tokens": 32, "stop": "", "match": "exact",
    **VARIANT_OPTIONS,
}  # fmt: skip
_WAYS = {"xllamacpp": "GGUF", "torch": "torch", "httpx": "HTTP"}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@tasks.register(_NAME)
class LanguageModelTask:
    """Predict passages, or answer prompts.

    Data: a text file, a folder of .txt files or JSON lines with a `text`, cut into passages of about `chars`
    characters ("perplexity"); or JSON lines with `prompt` and `answer` ("exact-match"). Exact duplicates are dropped;
    the order, and which `items` of them, depend on the content and `seed` alone.

    Metrics. Perplexity: "log_likelihood", the mean natural logarithm of the probability of a token [nat], so that
    perplexity = exp(-log_likelihood) and 0.05 less is 5 % more of it; and "token_accuracy", the share of tokens that
    were the likeliest to the model, which has a ceiling of 1. Both are means over passages of means over tokens. Exact
    match: "exact_match".

    A variant's model is a GGUF file (xllamacpp), the folder of a transformers model, a network of one's own
    (`FILE.py:FACTORY`, with the options `weights` and `tokenizer`), or a server: its URL, or a .json file with `url`,
    `model` and `key_env`. Energy is what a meter sees of the machine it runs on: for a server elsewhere, only a meter
    over there sees it.

    Task options: `measure` (told by the data), `items` (all), `seed` (0), `chars` (500), `text_column`,
    `prompt_column`, `answer_column`, `max_tokens` of an answer (32), `stop` (""), `match` ("exact", "casefold" or
    "last-number"), and all of a variant's.
    Variant options: `threads` (1), `device` ("cpu"), `context` (2048 tokens), `precision` of a folder ("fp32", "bf16",
    "fp16"; as saved), `weights`, `tokenizer`, `chat` (false), and of a server `concurrency` (1), `timeout_s` (60) and
    `retries` (4).
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._options = dict(_TASK_OPTIONS)
        self._items: tuple[Passage, ...] = ()
        self._measure = ""
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        missing = missing_packages({module: module for module in _WAYS})
        there = [way for module, way in _WAYS.items() if module not in missing]
        return Availability(
            name=_NAME,
            usable=bool(there),
            sees=f"perplexity, exact match, tokens, prefill and decode time; models by {', '.join(there) or 'nothing'}",
            reason="" if there else f"not installed: {', '.join(missing)}",
            remedy="" if there else "Run: pip install 'outweigh[llm]', 'outweigh[transformers]' or 'outweigh[http]'",
            improve=f"with {', '.join(missing)} also {', '.join(_WAYS[module] for module in missing)}"
            if there and missing
            else "",
        )

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read the passages or prompts.

        Raises:
            TaskError: data set missing or unreadable, fewer than two items, or an option that cannot be.
        """
        options = task_options(_NAME, spec.options, _TASK_OPTIONS)
        seed, most = whole(_NAME, options, "seed", 0), whole(_NAME, options, "items", 0)
        chars = whole(_NAME, options, "chars", 20)
        whole(_NAME, options, "max_tokens", 1)
        choice(_NAME, options, "match", _MATCHES)
        choice(_NAME, options, "measure", ("", *_MEASURES))
        try:
            path = resolve_artefact(spec.dataset, root)
        except UsageError as err:
            raise TaskError(_NAME, f"data set: {err.problem}", err.remedy) from err
        prompt, answer = str(options["prompt_column"]), str(options["answer_column"])
        measure = str(options["measure"]) or ("exact-match" if has_answers(path, _NAME, answer) else "perplexity")
        if measure == "perplexity":
            found = read_passages(path, _NAME, str(options["text_column"]), chars)
        else:
            found = read_questions(path, _NAME, prompt, answer)
        items = drawn(found, most, seed)
        if len(items) < 2:
            raise TaskError(_NAME, f"{path.name} gives {len(items)} item(s)", "Give two or more, or lower `chars`")
        self._root, self._options, self._measure, self._items = root, options, measure, items
        pinned = {
            "task": _NAME, "measure": measure, "items": listed(items),
            **{name: options[name] for name in ("max_tokens", "stop", "match")},
        }  # fmt: skip
        self._content_hash = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()

    @property
    def n_items(self) -> int:
        return len(self._loaded)

    @property
    def metrics(self) -> tuple[str, ...]:
        _ = self._loaded
        return ("exact_match",) if self._measure == "exact-match" else ("log_likelihood", "token_accuracy")

    @property
    def content_hash(self) -> str:
        """SHA-256 over all items in order, what is measured, and how answers are asked for and matched."""
        _ = self._loaded
        return self._content_hash

    def runner(self, variant: Variant) -> LanguageModelRunner:
        """Load a variant. Raises ModelError, TaskError for its tokenizer, or MissingExtra."""
        items = self._loaded
        variant = rooted(variant, self._root)
        options = self._options | variant_options(variant, tuple(VARIANT_OPTIONS))
        for name, least in (("threads", 1), ("context", 8), ("concurrency", 1), ("retries", 0)):
            whole(_NAME, options, name, least)
        number(_NAME, options, "timeout_s", 0.0)
        choice(_NAME, options, "device", ("cpu", "cuda"))
        model = self._opened(variant, options)
        known = replace(variant, content_hash=model.content_hash)
        asked = Asked(whole(_NAME, options, "max_tokens", 1), str(options["stop"]), bool(options["chat"]))
        return LanguageModelRunner(
            known, model, items, self._measure, asked, str(options["match"]), whole(_NAME, options, "concurrency", 1)
        )

    def _opened(self, variant: Variant, options: Mapping[str, Option]) -> LanguageModel:
        address = address_of(variant)
        if address is not None:
            return HttpModel(variant, address, options)
        if options["concurrency"] != 1:
            problem = "`concurrency` is for servers, and this model runs in this process"
            raise ModelError(variant.name, problem, "Leave it out, or name a server")
        if variant.model.lower().endswith(".gguf"):
            return GgufModel(variant, options)
        if torch_reference(variant.model) is not None or Path(variant.model).is_dir():
            return TorchModel(variant, options, self._tokenizer(str(options["tokenizer"])))
        problem = f"{Path(variant.model).name} is no language model this task runs"
        remedy = "Give a .gguf file, the folder of a transformers model, FILE.py:FACTORY, or a server's URL or .json"
        raise ModelError(variant.name, problem, remedy)

    def _tokenizer(self, reference: str) -> Path | None:
        if not reference:
            return None
        try:
            return resolve_artefact(reference, self._root)
        except UsageError as err:
            raise TaskError(_NAME, f"tokenizer: {err.problem}", err.remedy) from err

    @property
    def _loaded(self) -> tuple[Passage, ...]:
        if not self._items:
            raise UsageError("the task has no data yet", "Call load() first")
        return self._items


class LanguageModelRunner:
    """One variant, loaded; keeps the promises of `ports.Runner`."""

    def __init__(
        self, variant: Variant, model: LanguageModel, items: tuple[Passage, ...], measure: str, asked: Asked,
        match: str, concurrency: int,
    ) -> None:  # fmt: skip
        self.variant = variant
        self._model: LanguageModel | None = model
        self._items, self._measure, self._asked, self._match = items, measure, asked, match
        self._concurrency = concurrency

    def fit(self) -> None:
        """Nothing: the model comes trained."""
        _ = self._open

    def run(self, items: Sequence[int]) -> ItemResults:
        """Run evaluation items, one by one or, on a server, `concurrency` at a time.

        Returns:
            With counts of tokens and of prefill and decode time, and with the stretch in which a server was saturated
            when there is more than one request at a time.

        Raises:
            ModelError: the model or its server fails, or likelihoods are not finite.
        """
        model = self._open
        if self._measure == "perplexity":
            scored = flown(lambda item: model.score(self._items[item].text), items, self._concurrency)
            return self._likelihoods(items, scored)
        done = flown(lambda item: model.complete(self._items[item].text, self._asked), items, self._concurrency)
        return self._answers(items, done)

    def _likelihoods(self, items: Sequence[int], scored: Sequence[Flown[Scored]]) -> ItemResults:
        found = [one.result for one in scored]
        scores: dict[str, tuple[float | None, ...]] = {
            "log_likelihood": tuple(math.fsum(s.log_likelihood) / len(s.log_likelihood) for s in found),
            "token_accuracy": tuple(sum(s.likeliest) / len(s.likeliest) for s in found),
        }
        counts = {
            "tokens_in": tuple(float(s.tokens) for s in found),
            "tokens_out": (0.0,) * len(found),
            "prefill_s": tuple(s.seconds for s in found),
            "decode_s": (0.0,) * len(found),
        }
        spans = [(one.start_s, one.end_s) for one in scored]
        held = steady(spans, [], self._concurrency) if self._concurrency > 1 else None
        return ItemResults(tuple(items), scores, tuple(s.seconds * 1e3 for s in found), counts, held)

    def _answers(self, items: Sequence[int], done: Sequence[Flown[Completed]]) -> ItemResults:
        found = [one.result for one in done]
        right = tuple(
            float(matches(answer.text, self._items[item].label, self._match))
            for item, answer in zip(items, found, strict=True)
        )
        counts = {
            "tokens_in": tuple(float(c.tokens_in) for c in found),
            "tokens_out": tuple(float(c.tokens_out) for c in found),
            "prefill_s": tuple(c.prefill_s for c in found),
            "decode_s": tuple(c.decode_s for c in found),
        }
        spans = [(one.start_s, one.end_s) for one in done]
        held = steady(spans, [c.tokens_at_s for c in found], self._concurrency) if self._concurrency > 1 else None
        return ItemResults(tuple(items), {"exact_match": right}, tuple(c.seconds * 1e3 for c in found), counts, held)

    def close(self) -> None:
        """Let the model go. Closing twice is allowed."""
        if self._model is not None:
            self._model.close()
        self._model = None

    @property
    def _open(self) -> LanguageModel:
        if self._model is None:
            raise UsageError(f"{self.variant.name} was closed", "Ask the task for a new runner")
        return self._model


def matches(given: str, wanted: str, how: str) -> bool:
    """Whether an answer is the right one: white space around it aside, in any case, or by the last number in it.

    >>> matches(" Paris ", "Paris", "exact"), matches("paris", "Paris", "exact"), matches("paris", "Paris", "casefold")
    (True, False, True)
    >>> matches("12 eggs make 1,200 g", "= 1200", "last-number")
    True
    """
    if how == "last-number":
        numbers = [_NUMBER.findall(text) for text in (given, wanted)]
        if not all(numbers):
            return False
        first, second = (float(found[-1].replace(",", "")) for found in numbers)
        return first == second
    given, wanted = given.strip(), wanted.strip()
    return given.casefold() == wanted.casefold() if how == "casefold" else given == wanted
