"""What the language-model task asks of whatever runs one: how likely a text is, and what follows a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from outweigh.core.errors import ModelError
from outweigh.core.variant import Option

NEEDED_BY = "language-model"

#: Options of a variant, and what they are where neither it nor the task says otherwise.
VARIANT_OPTIONS: dict[str, Option] = {
    "threads": 1, "device": "cpu", "context": 2048, "precision": "", "tokenizer": "", "weights": "", "chat": False,
    "concurrency": 1, "timeout_s": 60.0, "retries": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a model finds one text.

    Attributes:
        log_likelihood: natural logarithm of the probability of each token after the first, given those before it.
        likeliest: whether each of those tokens was the one the model held likeliest.
        tokens: tokens of the text.
        seconds: wall time.
    """

    log_likelihood: tuple[float, ...]
    likeliest: tuple[bool, ...]
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Completed:
    """What a model wrote after a prompt.

    Attributes:
        prefill_s: wall time until the first token; 0.0 when nothing came.
        decode_s: wall time from then to the last.
        tokens_at_s: when each token came, on time.monotonic; empty where nobody looked.
        asked_at_s: when it was asked for, on the same clock.
    """

    text: str
    tokens_in: int
    tokens_out: int
    prefill_s: float
    decode_s: float
    tokens_at_s: tuple[float, ...] = field(default=())
    asked_at_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.prefill_s + self.decode_s


@dataclass(frozen=True, slots=True)
class Asked:
    """How to generate: greedily, `max_tokens` at most, until `stop` where that is not empty."""

    max_tokens: int
    stop: str
    chat: bool


class LanguageModel(Protocol):
    """A loaded model. Both fail with ModelError."""

    content_hash: str

    def score(self, text: str) -> Scored: ...

    def complete(self, prompt: str, asked: Asked) -> Completed: ...

    def close(self) -> None: ...


def checked(variant: str, logs: Sequence[float], text: str) -> tuple[float, ...]:
    """Log-likelihoods, each finite. Raises ModelError for NaN, infinity, or a text too short to have any."""
    if not logs:
        remedy = "Raise the task option `chars`, or remove the text"
        raise ModelError(variant, f"{text[:20]!r} is a single token, so there is nothing to predict", remedy)
    if not all(math.isfinite(value) for value in logs):
        raise ModelError(
            variant,
            "its likelihoods are not finite (NaN or infinite)",
            "The model is damaged or overflows at its precision: check the file, or the lever that made it",
        )
    return tuple(logs)


def until(text: str, stop: str) -> str:
    """The text up to the first `stop`.

    >>> until("Paris.\\nThe", "\\n"), until("Paris", "")
    ('Paris.', 'Paris')
    """
    return text.split(stop, 1)[0] if stop else text
