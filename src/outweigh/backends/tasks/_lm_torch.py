"""Language models on torch: a folder of transformers, or a network of the team's own (`FILE.py:FACTORY`)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outweigh.backends.tasks._lm import NEEDED_BY, Asked, Completed, Scored, checked, until
from outweigh.backends.tasks._options import brief, need
from outweigh.core.errors import ModelError
from outweigh.core.variant import Option, Variant
from outweigh.data.torch_models import load_torch, torch_digest, torch_reference

_PRECISIONS = {"": "auto", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_FAILS = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, NotImplementedError)


class TorchModel:
    """A model, loaded. A network of one's own takes token numbers, shape (1, n), and gives scores, (1, n, vocabulary).

    Safetensors only, from this machine only, and none of the code a folder may bring.

    Raises:
        ModelError: the folder or factory is none, or the device is not there.
        MissingExtra: torch, transformers or tokenizers is not installed.
    """

    def __init__(self, variant: Variant, options: Mapping[str, Option], tokenizer: Path | None) -> None:
        self._name = variant.name
        self._torch = need("torch", "torch", NEEDED_BY, "Run: pip install 'outweigh[torch]'")
        self._own: Any = None
        self._auto: Any = None
        self._threads, self._device = int(options["threads"]), str(options["device"])
        self._context = int(options["context"])
        if self._device == "cuda" and not self._torch.cuda.is_available():
            raise ModelError(variant.name, "torch sees no CUDA device", "Choose device = 'cpu', or another machine")
        in_force = {name: options[name] for name in ("threads", "device", "precision", "chat", "context")}
        digest = hashlib.sha256(json.dumps(in_force, sort_keys=True).encode())
        if torch_reference(variant.model) is None:
            self._open_folder(Path(variant.model), str(options["precision"]), digest)
        else:
            self._open_own(variant, tokenizer, digest)
        self.content_hash = digest.hexdigest()

    def _open_folder(self, folder: Path, precision: str, digest: Any) -> None:
        transformers = need("transformers", "transformers", NEEDED_BY, "Run: pip install 'outweigh[transformers]'")
        if precision not in _PRECISIONS:
            remedy = f"Choose one of {', '.join(filter(None, _PRECISIONS))}"
            raise ModelError(self._name, f"precision {precision!r} is not known", remedy)
        if not (folder / "config.json").is_file():
            raise ModelError(self._name, f"{folder} holds no config.json", "Give the folder of a transformers model")
        kind = _PRECISIONS[precision]
        here = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._auto = transformers.AutoTokenizer.from_pretrained(folder, **here)
            network = transformers.AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, dtype=kind if kind == "auto" else getattr(self._torch, kind), **here
            )
        except (OSError, *_FAILS) as err:
            problem = f"{folder.name} is no usable transformers model ({brief(err)})"
            raise ModelError(self._name, problem, "Give its folder, whole, with safetensors") from err
        self._network: Any = network.to(self._device).eval()
        self._cached = True
        self._stop_at = self._auto.eos_token_id
        for file in sorted(folder.iterdir()):
            if file.suffix in (".json", ".safetensors", ".txt", ".model", ".jinja"):
                digest.update(file.name.encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())

    def _open_own(self, variant: Variant, tokenizer: Path | None, digest: Any) -> None:
        if tokenizer is None:
            raise ModelError(variant.name, "it has no tokenizer", "Set the option `tokenizer` to its tokenizer.json")
        package = need("tokenizers", "tokenizers", NEEDED_BY, "Run: pip install tokenizers")
        try:
            file = tokenizer.read_bytes()
            self._own = package.Tokenizer.from_buffer(file)
        except (OSError, ValueError) as err:
            problem = f"{tokenizer.name} is not a tokenizer ({brief(err)})"
            raise ModelError(variant.name, problem, "Give the model's tokenizer.json") from err
        self._network = load_torch(variant, self._device)
        self._cached, self._stop_at = False, None
        digest.update(torch_digest(variant).encode() + hashlib.sha256(file).digest())

    def score(self, text: str) -> Scored:
        torch = self._torch
        began_s = time.perf_counter()
        ids = self._ids(text)
        logits, _ = self._run(ids, None)
        # In float32: the sum over a vocabulary overflows at half precision.
        found = torch.log_softmax(logits[0, :-1].float(), dim=-1)
        after = torch.tensor(ids[1:], device=found.device)
        logs = found.gather(1, after[:, None])[:, 0].tolist()
        likeliest = (found.argmax(dim=-1) == after).tolist()
        seconds = time.perf_counter() - began_s
        return Scored(checked(self._name, logs, text), tuple(likeliest), len(ids), seconds)

    def complete(self, prompt: str, asked: Asked) -> Completed:
        began_s = time.perf_counter()
        ids = self._ids(prompt, asked.chat)
        written: list[int] = []
        kept, fresh, first_s = None, ids, 0.0
        while len(written) < asked.max_tokens:
            logits, kept = self._run(fresh, kept)
            last = logits[0, -1]
            if not bool(self._torch.isfinite(last).all()):
                checked(self._name, [float("nan")], prompt)
            token = int(last.argmax())
            if not first_s:
                first_s = time.perf_counter() - began_s
            if token == self._stop_at:
                break
            written.append(token)
            if asked.stop and asked.stop in self._text(written):
                break
            fresh = [token] if self._cached else [*ids, *written]
        seconds = time.perf_counter() - began_s
        text = until(self._text(written), asked.stop)
        return Completed(text, len(ids), len(written), first_s, seconds - first_s)

    def close(self) -> None:
        self._network = None

    def _run(self, ids: list[int], kept: Any) -> tuple[Any, Any]:
        torch = self._torch
        # torch has one number of threads a process, and the variant before may have asked for another.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                given = torch.tensor([ids], device=self._device)
                if not self._cached:
                    answer = self._network(given)
                    return getattr(answer, "logits", answer), None
                answer = self._network(given, past_key_values=kept, use_cache=True)
                return answer.logits, answer.past_key_values
        except _FAILS as err:
            remedy = "Check that the tokenizer is the model's own, and its longest input"
            raise ModelError(self._name, f"it fails on {len(ids)} tokens ({brief(err)})", remedy) from err

    def _ids(self, text: str, chat: bool = False) -> list[int]:
        if self._own is not None:
            ids = list(self._own.encode(text).ids)
        elif chat:
            told = [{"role": "user", "content": text}]
            ids = list(self._auto.apply_chat_template(told, add_generation_prompt=True, return_dict=True)["input_ids"])
        else:
            ids = list(self._auto(text)["input_ids"])
        if not ids or len(ids) > self._context:
            problem = f"a text of {len(ids)} tokens does not fit its context of {self._context}"
            raise ModelError(self._name, problem, "Raise the option `context`, or shorten the texts")
        return ids

    def _text(self, ids: list[int]) -> str:
        if self._own is not None:
            return str(self._own.decode(ids))
        return str(self._auto.decode(ids, skip_special_tokens=True))
