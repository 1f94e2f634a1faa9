"""Weights & Biases: a receipt's figures in the run's summary, the receipt itself as an artifact."""

from __future__ import annotations

from typing import Any

from outweigh.core.errors import MissingExtra, UsageError
from outweigh.core.receipt import Receipt
from outweigh.integrations.figures import numbers_of, receipt_json, words_of


def log_receipt(receipt: Receipt, run: Any = None) -> None:
    """Log a receipt to a W&B run (the active one when None): works offline too.

    Raises:
        MissingExtra: W&B is not installed.
        UsageError: there is no run.
    """
    try:
        import wandb
    except ImportError as err:
        raise MissingExtra("wandb", "logging to Weights & Biases", "pip install wandb") from err
    run = run if run is not None else wandb.run
    if run is None:
        raise UsageError("there is no W&B run to log to", "Call wandb.init() first, or hand the run over")
    run.summary.update({**numbers_of(receipt), **words_of(receipt)})
    artifact = wandb.Artifact(f"receipt-{receipt.content_hash[:12]}", type="energy-receipt")
    with artifact.new_file("receipt.json", mode="w", encoding="utf-8") as file:
        file.write(receipt_json(receipt))
    run.log_artifact(artifact)
