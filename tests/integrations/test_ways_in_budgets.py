"""Training callbacks against a budget, on real frameworks: warned on the way, ended before it is overshot."""

import re
import subprocess
import sys
import textwrap

import pytest

from outweigh.app.blocks import EnergyBudgetWarning
from outweigh.core.errors import UsageError
from outweigh.core.receipt import RunStatus
from outweigh.integrations.fit import Fit

PROJECT = """
[project]
name = "tiny"
unit = "item"
volume = { per_month = 1000.0 }
[task]
adapter = "text-classification"
dataset = "items.csv"
primary = { metric = "accuracy" }
[variants.base]
model = "base.onnx"
[budget.train]
phase = "training"
total = { limit = "60 J", per = "year" }
owner = "team-a"
"""
FOREVER = 1_000_000  # steps: nobody waits for them
# The frameworks' own deprecations are theirs to mend.
theirs = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "energy.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit_of(session, tmp_path, **options):
    fit = Fit()
    fit.prepare("made", "", None, session, tmp_path / "ledger.sqlite", **options)
    return fit


def through(fit, until_j=None):
    """A whole fit: to its own end by the budget, or to an energy."""
    fit.begin()
    step = 0
    while not fit.stopping and (until_j is None or fit.run.energy.joules < until_j):
        step += 1
        fit.step(step)
    fit.end()


def shares(caught):
    found = (re.search(r"(\d+)% drawn", str(one.message)) for one in caught)
    return [int(one[1]) for one in found if one]


def check(receipt, *, limit_j=60.0, within=0.1):
    """Args: within: how near to the limit it ends; None where real steps on a busy machine may take any time."""
    assert receipt.status is RunStatus.INTERRUPTED
    assert 0 < receipt.units < FOREVER
    if within is not None:
        assert (1 - within) * limit_j < receipt.total.value.joules < (1 + within) * limit_j
    assert "training was ended before its budget was overshot" in receipt.notes


# --- without a framework ------------------------------------------------------------------------------


def test_a_fit_is_warned_of_its_line_at_80_and_95_percent_and_ends_before_it_is_overshot(replayed, kept, project):
    fit = fit_of(replayed, project, budget="train", stop=True)
    with pytest.warns(EnergyBudgetWarning) as caught:
        through(fit)

    (receipt,) = kept()
    first, *others = shares(caught)
    assert 80 <= first < 95
    assert 95 <= others[-1] <= 100
    assert "16.7 mWh of 16.7 mWh left" in str(caught[0].message)
    assert "another step would overshoot" in str(caught[-1].message)
    assert receipt.total.value.joules < 60.5
    assert dict(receipt.labels)["budget"] == "train"
    assert dict(receipt.labels)["owner"] == "team-a"
    assert receipt.project == "tiny"
    check(receipt)


def test_what_was_drawn_before_counts(replayed, kept, project):
    first, second = (fit_of(replayed, project, budget="train", stop=stop) for stop in (False, True))
    with pytest.warns(EnergyBudgetWarning):
        through(first, until_j=30.0)
    with pytest.warns(EnergyBudgetWarning) as caught:
        through(second)

    before, after = kept()
    assert before.total.value.joules + after.total.value.joules == pytest.approx(60.0, abs=1.0)
    assert "left" in str(caught[0].message)
    assert shares(caught)[0] < 95


def test_without_stop_a_fit_goes_on_over_its_budget_and_says_so(replayed, kept, project):
    fit = fit_of(replayed, project, budget="train")
    with pytest.warns(EnergyBudgetWarning) as caught:
        through(fit, until_j=63.0)

    (receipt,) = kept()
    assert receipt.status is RunStatus.COMPLETED
    assert shares(caught)[-1] >= 100


def test_an_energy_of_its_own_is_held_against_the_work(replayed, kept, project):
    fit = fit_of(replayed, project, budget="20 J", stop=True)
    with pytest.warns(EnergyBudgetWarning) as caught:
        through(fit)

    (receipt,) = kept()
    assert receipt.work.value.joules == pytest.approx(20.0, abs=0.5)
    assert "budget" not in dict(receipt.labels)
    assert any("of 5.56 mWh" in str(one.message) for one in caught)


def test_a_line_nobody_declared_and_a_stop_without_a_budget_are_refused(replayed, project):
    with pytest.raises(UsageError, match=r"no budget line 'trian'\. Declared: train"):
        fit_of(replayed, project, budget="trian")
    with pytest.raises(UsageError, match="no budget to stop at"):
        fit_of(replayed, project, stop=True)


# --- on the frameworks --------------------------------------------------------------------------------


class TestFrameworks:
    pytestmark = theirs

    def callback(self, framework, session, tmp_path, **options):
        module = __import__(f"outweigh.integrations.{framework}", fromlist=["OutweighCallback"])
        return module.OutweighCallback(session=session, ledger=tmp_path / "ledger.sqlite", **options)

    @pytest.mark.parametrize(("strategy", "checkpoints"), [("steps", 1), ("no", 0)])
    def test_a_trainer_ends_at_its_budget_with_a_checkpoint(
        self, strategy, checkpoints, needs_package, replayed, kept, project, monkeypatch
    ):
        needs_package("torch", "transformers", "accelerate")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        import torch
        from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

        config = BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=16, num_labels=2,
        )  # fmt: skip
        rows = [{"input_ids": torch.randint(0, 20, (8,)), "labels": torch.tensor(i % 2)} for i in range(8)]
        arguments = TrainingArguments(
            output_dir=str(project / "out"), per_device_train_batch_size=2, max_steps=FOREVER, logging_steps=FOREVER,
            save_strategy=strategy, save_steps=FOREVER, use_cpu=True, disable_tqdm=True, report_to="none",
        )  # fmt: skip
        callback = self.callback("transformers", replayed, project, budget="train", stop=True)

        with pytest.warns(EnergyBudgetWarning):
            Trainer(
                model=BertForSequenceClassification(config), args=arguments, train_dataset=rows, callbacks=[callback]
            ).train()

        (receipt,) = kept()
        check(receipt, within=None)
        saved = [path.name for path in (project / "out").glob("checkpoint-*")]
        assert saved == [f"checkpoint-{receipt.units:.0f}"] * checkpoints

    def test_a_lightning_fit_ends_at_its_budget(self, needs_package, replayed, kept, project):
        needs_package("torch", "lightning")
        import lightning.pytorch as pl
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        class Tiny(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3, 1)

            def training_step(self, batch, batch_idx):
                return self.layer(batch[0]).square().mean()

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.01)

        trainer = pl.Trainer(
            max_steps=FOREVER, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False,
            callbacks=[self.callback("lightning", replayed, project, budget="train", stop=True)],
        )  # fmt: skip
        with pytest.warns(EnergyBudgetWarning):
            trainer.fit(Tiny(), DataLoader(TensorDataset(torch.zeros(8, 3)), batch_size=2))

        (receipt,) = kept()
        check(receipt, within=None)
        assert trainer.global_step == receipt.units

    def test_a_keras_fit_ends_at_its_budget(self, needs_package, replayed, kept, project, monkeypatch):
        needs_package("torch", "keras")
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        monkeypatch.setenv("KERAS_HOME", str(project))
        import keras
        import numpy as np

        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        with pytest.warns(EnergyBudgetWarning):
            model.fit(
                np.zeros((8, 3)), np.zeros((8, 1)), batch_size=2, epochs=FOREVER, verbose=0,
                callbacks=[self.callback("keras", replayed, project, budget="train", stop=True)],
            )  # fmt: skip

        (receipt,) = kept()
        check(receipt, within=None)

    def test_two_processes_end_after_the_same_step_though_one_measures(self, needs_package, project, free_port, kept):
        needs_package("torch", "transformers", "accelerate")
        script = project / "train.py"
        script.write_text(textwrap.dedent(TWO_PROCESSES))
        done = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port}",
                str(script), str(project),
            ],
            capture_output=True, text=True, timeout=300, check=False, cwd=project,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr[-3000:]
        steps = {(project / f"rank{rank}").read_text() for rank in (0, 1)}
        (receipt,) = kept()
        assert steps == {f"{receipt.units:.0f}"}
        assert receipt.status is RunStatus.INTERRUPTED


TWO_PROCESSES = """
    import os, sys
    os.environ["HF_HUB_OFFLINE"] = "1"
    from pathlib import Path
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    from outweigh.backends.meters.replay import ReplayMeter
    from outweigh.integrations.transformers import OutweighCallback
    from outweigh.measure import MeterSession

    folder = Path(sys.argv[1])
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=16, num_labels=2)
    rows = [{"input_ids": torch.randint(0, 20, (8,)), "labels": torch.tensor(i % 2)} for i in range(8)]
    arguments = TrainingArguments(output_dir=str(folder / "out"), per_device_train_batch_size=2, max_steps=10**6,
                                  logging_steps=10**6, save_strategy="no", use_cpu=True, disable_tqdm=True,
                                  report_to="none")
    with MeterSession(ReplayMeter([(0.0, 100.0)], hum_w=40.0)) as session:
        callback = OutweighCallback(session=session, ledger=folder / "ledger.sqlite", budget="train", stop=True)
        trainer = Trainer(model=BertForSequenceClassification(config), args=arguments, train_dataset=rows,
                          callbacks=[callback])
        trainer.train()
    (folder / f"rank{os.environ['RANK']}").write_text(str(trainer.state.global_step))
"""
