"""Imports of what people install beside outweigh, in which nothing is sent anywhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import MutableMapping
from types import ModuleType
from typing import Final, cast

#: Package -> the one that reports its import to its makers. It does without where that is not installed.
_TELLERS: Final = {"openvino": "openvino_telemetry"}


def imported(module: str) -> ModuleType:
    """The module; what would tell somebody of it is not there while it is imported. Raises ImportError."""
    teller = _TELLERS.get(module.partition(".")[0])
    if teller is None or teller in sys.modules:
        return importlib.import_module(module)
    known = cast("MutableMapping[str, ModuleType | None]", sys.modules)
    known[teller] = None  # which import takes for "not installed"
    try:
        return importlib.import_module(module)
    finally:
        del known[teller]
