"""Callbacks on real frameworks: a tiny random model, no downloads; and what trackers show of it."""

import json
import logging
import sys
import time
import urllib.request

import pytest

import outweigh
from outweigh.core.receipt import RunStatus

pytestmark = [
    pytest.mark.frameworks,
    # The frameworks' own deprecations are theirs to mend.
    pytest.mark.filterwarnings("default"),
]

STEPS = 4


@pytest.fixture
def trainer(needs_package, tmp_path, monkeypatch):
    """A Trainer on a random two-layer BERT of 2,000 parameters or so, and eight rows."""
    needs_package("torch", "transformers", "accelerate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    rows = [{"input_ids": torch.randint(0, 20, (8,)), "labels": torch.tensor(i % 2)} for i in range(2 * STEPS)]

    def make(*callbacks, **options):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "out"), per_device_train_batch_size=2, num_train_epochs=1, logging_steps=2,
            save_strategy="no", use_cpu=True, disable_tqdm=True, **{"report_to": "none", **options},
        )  # fmt: skip
        model = BertForSequenceClassification(config)
        return Trainer(model=model, args=arguments, train_dataset=rows, callbacks=list(callbacks))

    return make


def a_callback(framework, session, tmp_path):
    module = __import__(f"outweigh.integrations.{framework}", fromlist=["OutweighCallback"])
    return module.OutweighCallback(project="tiny", session=session, ledger=tmp_path / "ledger.sqlite")


def check_receipt(receipt, framework, *, status=RunStatus.COMPLETED, steps=STEPS):
    assert receipt.status is status
    assert (receipt.units, receipt.unit, receipt.phase, receipt.project) == (steps, "step", "training", "tiny")
    assert dict(receipt.labels)["framework"] == framework
    assert receipt.total.value.joules == pytest.approx(100.0 * receipt.interval.seconds, rel=1e-3)
    assert receipt.hum.value.joules == pytest.approx(40.0 * receipt.interval.seconds, rel=1e-3)


def test_a_trainer_leaves_one_receipt_and_its_figures_in_the_log_history(trainer, replayed, kept, tmp_path):
    trained = trainer(a_callback("transformers", replayed, tmp_path))
    trained.train()
    (receipt,) = kept()
    check_receipt(receipt, "transformers")
    logged = [row["energy_j"] for row in trained.state.log_history if "loss" in row]
    assert len(logged) == STEPS // 2
    assert 0 < logged[0] < logged[-1] <= receipt.total.value.joules


def raising(framework, error):
    from transformers import TrainerCallback

    class Raises(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise error

    return Raises()


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("nan"), RunStatus.FAILED), (KeyboardInterrupt(), RunStatus.INTERRUPTED)]
)
def test_training_inside_the_callback_ends_its_receipt_at_once(error, status, trainer, replayed, kept, tmp_path):
    callback = a_callback("transformers", replayed, tmp_path)
    failing = trainer(callback, raising("transformers", error))

    def train():
        with callback:
            failing.train()

    with pytest.raises(type(error)):
        train()
    (receipt,) = kept()
    check_receipt(receipt, "transformers", status=status, steps=2)


def test_a_failed_training_that_nobody_told_of_is_kept_up_to_its_last_step(trainer, replayed, kept, tmp_path):
    callback = a_callback("transformers", replayed, tmp_path)
    with pytest.raises(RuntimeError):
        trainer(callback, raising("transformers", RuntimeError("nan"))).train()
    time.sleep(0.5)
    trainer(callback).train()
    failed, done = kept()
    check_receipt(failed, "transformers", status=RunStatus.FAILED, steps=2)
    check_receipt(done, "transformers")
    # The half second between the two trainings belongs to neither.
    assert (done.interval.start - failed.interval.end).total_seconds() > 0.45


def lightning_parts():
    import torch
    from lightning.pytorch import LightningModule
    from torch.utils.data import DataLoader, TensorDataset

    class Tiny(LightningModule):
        error = None

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch, batch_idx):
            if self.error is not None and batch_idx == 2:
                raise self.error
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Tiny(), DataLoader(TensorDataset(torch.zeros(2 * STEPS, 3)), batch_size=2)


def lightning_trainer(callback, tmp_path):
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import CSVLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, callbacks=[callback], logger=CSVLogger(str(tmp_path / "csv")),
        log_every_n_steps=2, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip


def test_a_lightning_fit_leaves_one_receipt_and_its_figures_with_the_logger(needs_package, replayed, kept, tmp_path):
    needs_package("torch", "lightning")
    module, data = lightning_parts()
    lightning_trainer(a_callback("lightning", replayed, tmp_path), tmp_path).fit(module, data)
    (receipt,) = kept()
    check_receipt(receipt, "lightning")
    (table,) = (tmp_path / "csv").rglob("metrics.csv")
    header, *rows = (line.split(",") for line in table.read_text().splitlines())
    logged = [float(row[header.index("energy_j")]) for row in rows if row[header.index("energy_j")]]
    assert logged[-1] == pytest.approx(receipt.total.value.joules, rel=1e-6)
    assert logged == sorted(logged)


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (RuntimeError("nan"), RuntimeError, RunStatus.FAILED),
        (KeyboardInterrupt(), SystemExit, RunStatus.INTERRUPTED),  # Lightning turns Ctrl-C into an exit
    ],
)
def test_a_lightning_fit_that_is_left_leaves_its_receipt(
    error, raised, status, needs_package, replayed, kept, tmp_path
):
    needs_package("torch", "lightning")
    import signal

    before = signal.getsignal(signal.SIGINT)
    module, data = lightning_parts()
    module.error = error
    trainer = lightning_trainer(a_callback("lightning", replayed, tmp_path), tmp_path)
    with pytest.raises(raised):
        trainer.fit(module, data)
    signal.signal(signal.SIGINT, before)
    (receipt,) = kept()
    check_receipt(receipt, "lightning", status=status, steps=2)


def test_a_keras_fit_leaves_one_receipt_and_its_figures_in_the_history(
    needs_package, replayed, kept, tmp_path, monkeypatch
):
    needs_package("torch", "keras")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    import keras
    import numpy as np

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        np.zeros((2 * STEPS, 3)), np.zeros((2 * STEPS, 1)), batch_size=2, epochs=2, verbose=0,
        callbacks=[a_callback("keras", replayed, tmp_path)],
    )  # fmt: skip
    (receipt,) = kept()
    check_receipt(receipt, "keras", steps=2 * STEPS)
    first, last = history.history["energy_j"]
    assert 0 < first < last <= receipt.total.value.joules


def rest(address, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture
def mlflow_server(needs_package, serving, free_port, tmp_path, monkeypatch):
    needs_package("mlflow", "flask")
    address = f"http://127.0.0.1:{free_port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(free_port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--artifacts-destination", str(tmp_path / "art"),
    ]  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    serving(command, f"{address}/health")
    import mlflow

    mlflow.set_tracking_uri(address)
    yield address
    while mlflow.active_run():
        mlflow.end_run()


def test_a_real_mlflow_server_shows_a_receipt(mlflow_server, replayed, tmp_path):
    from outweigh.integrations.mlflow import log_receipt

    with outweigh.measuring("fit", unit="ticket", session=replayed, ledger=tmp_path / "ledger.sqlite") as run:
        time.sleep(0.2)
        run.units = 5
    run_id = log_receipt(run.receipt)

    shown = rest(f"{mlflow_server}/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]
    metrics = {m["key"]: m["value"] for m in shown["data"]["metrics"]}
    tags = {t["key"]: t["value"] for t in shown["data"]["tags"]}
    assert metrics["energy_j"] == run.receipt.total.value.joules
    assert metrics["energy_work_j"] == run.receipt.work.value.joules
    assert metrics["energy_j_per_ticket"] == run.energy.joules / 5
    assert (tags["energy_grade"], tags["energy_method"]) == ("D", "replayed")
    assert tags["energy_receipt"] == run.address
    (artifact,) = rest(f"{mlflow_server}/api/2.0/mlflow/artifacts/list?run_id={run_id}&path=outweigh")["files"]
    kept_json = rest(f"{mlflow_server}/get-artifact?run_id={run_id}&path={artifact['path']}")
    assert kept_json == {"receipt": run.address, **json.loads(json.dumps(run.receipt.to_dict()))}


def test_a_trainer_that_reports_to_mlflow_shows_its_energy_there(mlflow_server, trainer, replayed, kept, tmp_path):
    trained = trainer(a_callback("transformers", replayed, tmp_path), report_to=["mlflow"])
    trained.train()
    (receipt,) = kept()
    (run,) = rest(f"{mlflow_server}/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"]})["runs"]
    metrics = {m["key"]: m["value"] for m in run["data"]["metrics"]}
    assert metrics["energy_j"] == receipt.total.value.joules
    assert "loss" in metrics


def test_wandb_offline_takes_the_figures_and_the_receipt(needs_package, replayed, tmp_path, monkeypatch):
    needs_package("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    import wandb

    from outweigh.integrations.wandb import log_receipt

    with outweigh.measuring("fit", session=replayed, ledger=tmp_path / "ledger.sqlite") as run:
        pass
    with wandb.init(project="tiny", dir=str(tmp_path)) as tracked:
        log_receipt(run.receipt)
        assert tracked.summary["energy_j"] == run.energy.joules
    assert list(tmp_path.rglob("run-*.wandb"))
