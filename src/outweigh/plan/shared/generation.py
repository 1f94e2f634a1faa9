"""Column generation: prices from the master, runs from the kernels, until the bound is near."""

from __future__ import annotations
