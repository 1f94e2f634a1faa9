"""MLflow: a receipt's figures as metrics, how good they are as tags, the receipt itself as an artifact."""

from __future__ import annotations

from outweigh.core.errors import MissingExtra
from outweigh.core.receipt import Receipt
from outweigh.integrations.figures import numbers_of, receipt_json, words_of


def log_receipt(receipt: Receipt, *, run_id: str | None = None, step: int | None = None) -> str:
    """Log a receipt to an MLflow run.

    Args:
        run_id: the run; the active one, or a new one, when None.

    Returns:
        The run's id. The artifact is `outweigh/receipt-ADDRESS.json`.

    Raises:
        MissingExtra: MLflow is not installed. What MLflow itself raises passes through.
    """
    try:
        import mlflow
    except ImportError as err:
        raise MissingExtra("mlflow", "logging to MLflow", "pip install 'outweigh[mlflow]'") from err
    client = mlflow.MlflowClient()
    if run_id is None:
        run_id = str((mlflow.active_run() or mlflow.start_run()).info.run_id)
    for name, value in numbers_of(receipt).items():
        client.log_metric(run_id, name, value, step=step)
    for name, word in words_of(receipt).items():
        client.set_tag(run_id, name, word)
    client.log_text(run_id, receipt_json(receipt), f"outweigh/receipt-{receipt.content_hash[:12]}.json")
    return run_id
