"""What is asked of devices: a training, a serving, or hours that somebody declares.

Operations: 6 per parameter and token to train, 2 for the forward pass alone (Kaplan et al., Scaling Laws, 2020, 2.1).
Attention over the context comes on top and is left out, as in that count. Time is the roofline of the device (Williams,
Waterman, Patterson, CACM 52(4), 2009) over the share of it that is reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from outweigh.core.constants import S_PER_HOUR
from outweigh.core.errors import InvalidQuantity, UsageError

ARITHMETIC, MEMORY = "utilisation", "memory utilisation"


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device does at best: dense operations [1/s] and memory [B/s]; None where nobody said."""

    flop_per_s: float | None = None
    bytes_per_s: float | None = None


class Work(Protocol):
    """Something that keeps devices busy."""

    @property
    def reaches(self) -> tuple[str, ...]:
        """Which shares of the roofline `device_s` asks for."""

    @property
    def operations(self) -> float | None:
        """Floating-point operations of all of it; None where they are not counted."""

    def device_s(self, rates: Rates, reached: Mapping[str, float]) -> float:
        """Device seconds [s], all devices together. Raises UsageError for a rate that is missing."""


@dataclass(frozen=True, slots=True)
class Training:
    """One pass of training.

    Attributes:
        parameters: of the model; of a mixture of experts those that are active for a token.
        tokens: seen in training, epochs counted.
        recompute: share of the forward pass that is computed again in the backward pass, 0 to 1. The utilisation then
            is that of the hardware, which counts what is computed twice (Chowdhery et al., PaLM, 2022, appendix B).

    >>> f"{Training(175e9, 300e9).operations:.3g}"
    '3.15e+23'
    """

    parameters: float
    tokens: float
    recompute: float = 0.0

    def __post_init__(self) -> None:
        _count("parameters", self.parameters)
        _count("tokens", self.tokens)
        if not 0 <= self.recompute <= 1:
            raise InvalidQuantity("recomputation", f"{self.recompute:g}", "a share of the forward pass: 0 to 1")

    @property
    def reaches(self) -> tuple[str, ...]:
        return (ARITHMETIC,)

    @property
    def operations(self) -> float:
        return (6 + 2 * self.recompute) * self.parameters * self.tokens

    def device_s(self, rates: Rates, reached: Mapping[str, float]) -> float:
        return self.operations / (_arithmetic(rates) * reached[ARITHMETIC])


@dataclass(frozen=True, slots=True)
class Serving:
    """Requests to a language model: prompts that are read at once, answers that come token by token.

    Attributes:
        parameters: all of the model; `active` those that a token uses (all, unless a mixture of experts).
        requests, prompt_tokens, output_tokens: so many requests of so many tokens each.
        batch: requests that are computed together.
        weight_bytes: bytes per parameter in memory.
        kv_bytes_per_token: cache that a token of context leaves behind and every later step reads again; None where
            nobody said, and then it is left out, which makes the estimate a lower one.
    """

    parameters: float
    requests: float
    prompt_tokens: float
    output_tokens: float
    batch: float = 1
    active: float | None = None
    weight_bytes: float = 2.0
    kv_bytes_per_token: float | None = None

    def __post_init__(self) -> None:
        _count("parameters", self.parameters)
        for name in ("requests", "prompt_tokens", "output_tokens"):
            _count(name.replace("_", " "), getattr(self, name))
        for name, value in (("batch", self.batch), ("bytes per weight", self.weight_bytes)):
            if not math.isfinite(value) or value <= 0:
                raise InvalidQuantity(name, f"{value:g}", "give a figure above 0")
        if self.batch < 1:
            raise InvalidQuantity("batch", f"{self.batch:g}", "at least one request is computed at a time")
        if self.active is not None and not 0 < self.active <= self.parameters:
            raise InvalidQuantity("active parameters", f"{self.active:g}", "above 0, and at most all of them")
        if self.kv_bytes_per_token is not None:
            _count("bytes of cache per token", self.kv_bytes_per_token)

    @property
    def reaches(self) -> tuple[str, ...]:
        return ARITHMETIC, MEMORY

    @property
    def operations(self) -> float:
        return self.requests * 2 * self._used * (self.prompt_tokens + self.output_tokens)

    @property
    def _used(self) -> float:
        return self.parameters if self.active is None else self.active

    def phases_s(self, rates: Rates, reached: Mapping[str, float]) -> tuple[float, float]:
        """Device seconds of reading the prompts and of writing the answers."""
        if self.parameters == 0 or self.requests == 0:
            return 0.0, 0.0
        flop_per_s = _arithmetic(rates) * reached[ARITHMETIC]
        bytes_per_s = _memory(rates) * reached[MEMORY]
        # Experts that no token of the batch asks for are not read.
        weights = min(self.parameters, self._used * self.batch) * self.weight_bytes
        cache = (self.kv_bytes_per_token or 0.0) * (self.prompt_tokens + self.output_tokens / 2)
        prefill_s = 0.0
        if self.prompt_tokens:
            per_batch = 2 * self._used * self.prompt_tokens * self.batch
            prefill_s = max(per_batch / flop_per_s, self.parameters * self.weight_bytes / bytes_per_s)
        step_s = max(2 * self._used * self.batch / flop_per_s, (weights + self.batch * cache) / bytes_per_s)
        batches = self.requests / self.batch
        return batches * prefill_s, batches * self.output_tokens * step_s

    def device_s(self, rates: Rates, reached: Mapping[str, float]) -> float:
        return sum(self.phases_s(rates, reached))


@dataclass(frozen=True, slots=True)
class DeviceHours:
    """Hours of devices that are known or declared: a batch job of last month, a reservation."""

    hours: float

    def __post_init__(self) -> None:
        _count("device hours", self.hours)

    @property
    def reaches(self) -> tuple[str, ...]:
        return ()

    @property
    def operations(self) -> None:
        return None

    def device_s(self, rates: Rates, reached: Mapping[str, float]) -> float:
        return self.hours * S_PER_HOUR


def _count(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise InvalidQuantity(name, f"{value:g}", "give a finite count, 0 or more")


def _arithmetic(rates: Rates) -> float:
    if rates.flop_per_s is None:
        raise UsageError("how fast the device computes is not known", "Name a --device of the table, or give --tflops")
    return rates.flop_per_s


def _memory(rates: Rates) -> float:
    if rates.bytes_per_s is None:
        raise UsageError("how fast its memory is is not known", "Name a --device of the table, or give --memory-gb-s")
    return rates.bytes_per_s
