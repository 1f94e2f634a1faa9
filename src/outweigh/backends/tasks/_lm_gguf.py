"""GGUF models in this process, by llama.cpp through `xllamacpp`."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outweigh.backends.tasks._lm import NEEDED_BY, Asked, Completed, Scored, checked, until
from outweigh.backends.tasks._options import brief, need
from outweigh.core.errors import ModelError
from outweigh.core.variant import Option, Variant

_REMEDY = "Run: pip install 'outweigh[llm]'"
# Added to the logit of one token it leaves no other a chance: logits of language models lie within some tens.
_FORCED = 1000.0


class GgufModel:
    """A GGUF file, loaded.

    Likelihoods come of forcing: the text is asked for token by token, each with a bias that lets no other token win,
    and llama.cpp says how probable it had been before that. What lies before is kept, so each token is computed once;
    they are computed one at a time, as in generation, and that is what their energy is.

    Raises:
        ModelError: the file is missing or none that llama.cpp reads.
        MissingExtra: xllamacpp is not installed.
    """

    def __init__(self, variant: Variant, options: Mapping[str, Option]) -> None:
        self._name = variant.name
        xllamacpp = need("xllamacpp", "xllamacpp", NEEDED_BY, _REMEDY)
        path = Path(variant.model)
        if not path.is_file():
            raise ModelError(variant.name, f"{path} does not exist", "Check the path of the model")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = int(options["context"]), 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(options["threads"])
        # Waiting threads would otherwise spin, and their waiting would be charged to the model.
        params.cpuparams.poll = params.cpuparams_batch.poll = 0
        params.n_gpu_layers = -1 if options["device"] == "cuda" else 0
        params.verbosity = -1  # what goes wrong is raised, not logged
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as err:
            problem = f"{path.name} is not a usable GGUF model ({brief(err)})"
            raise ModelError(variant.name, problem, "Give a GGUF model, whole and unaltered") from err
        digest = hashlib.sha256()
        in_force = {name: options[name] for name in ("threads", "context", "device", "chat")}
        digest.update(json.dumps(in_force, sort_keys=True).encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
        self.content_hash = digest.hexdigest()

    def score(self, text: str) -> Scored:
        tokens = self._tokens(text)
        logs, likeliest = [], []
        began_s = time.perf_counter()
        for place in range(1, len(tokens)):
            wanted = tokens[place]
            answer = self._asked(
                {
                    "prompt": tokens[:place], "max_tokens": 1, "temperature": 0.0, "logprobs": 1,
                    "logit_bias": [[wanted, _FORCED]], "cache_prompt": True,
                }
            )  # fmt: skip
            (said,) = answer["choices"][0]["logprobs"]["content"]
            if said["id"] != wanted:
                problem = f"llama.cpp answers token {said['id']} where {wanted} was forced"
                raise ModelError(self._name, problem, "Use another release of xllamacpp")
            logs.append(float(said["logprob"]))
            likeliest.append(said["top_logprobs"][0]["id"] == wanted)
        seconds = time.perf_counter() - began_s
        return Scored(checked(self._name, logs, text), tuple(likeliest), len(tokens), seconds)

    def complete(self, prompt: str, asked: Asked) -> Completed:
        # Without what was kept of the prompt before: two prompts that begin alike would otherwise cost unlike amounts.
        body: dict[str, object] = {
            "max_tokens": asked.max_tokens, "temperature": 0.0, "cache_prompt": False,
            **({"stop": [asked.stop]} if asked.stop else {}),
        }  # fmt: skip
        began_s = time.perf_counter()
        if asked.chat:
            answer = self._asked(body | {"messages": [{"role": "user", "content": prompt}]}, chat=True)
            text = str(answer["choices"][0]["message"]["content"])
        else:
            answer = self._asked(body | {"prompt": prompt})
            text = str(answer["choices"][0]["text"])
        seconds = time.perf_counter() - began_s
        usage, timings = answer["usage"], answer["timings"]
        # llama.cpp times the two phases itself; what is left of the wall time is the way in, and counts as prefill.
        decode_s = min(seconds, timings["predicted_ms"] / 1e3)
        return Completed(
            until(text, asked.stop), int(usage["prompt_tokens"]), int(usage["completion_tokens"]), seconds - decode_s,
            decode_s,
        )  # fmt: skip

    def close(self) -> None:
        self._server = None

    def _asked(self, body: dict[str, object], chat: bool = False) -> Any:
        ask = self._server.handle_chat_completions if chat else self._server.handle_completions
        try:
            answer = ask(body)
        except (RuntimeError, ValueError, TypeError) as err:
            raise ModelError(self._name, f"llama.cpp fails ({brief(err)})", "Check the model file") from err
        if "error" in answer:
            said = answer["error"].get("message", answer["error"])
            raise ModelError(self._name, f"llama.cpp fails ({said})", "Raise the option `context`, or check the model")
        return answer

    def _tokens(self, text: str) -> list[int]:
        """Token numbers, with what the model wants before a text."""
        body = json.dumps({"content": text, "add_special": True}).encode()
        request = urllib.request.Request(
            f"{self._server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return [int(token) for token in json.load(answer)["tokens"]]
        except (urllib.error.URLError, OSError, ValueError, KeyError) as err:
            raise ModelError(self._name, f"it cannot cut a text into tokens ({brief(err)})", "Check the model") from err
