"""Hugging Face Trainer: `Trainer(..., callbacks=[OutweighCallback()])` leaves one receipt for each `train()`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.core.errors import MissingExtra
from outweigh.integrations.fit import Fit

try:
    from transformers import TrainerCallback
except ImportError as err:
    raise MissingExtra("transformers", "the Trainer callback", "pip install 'transformers[torch]'") from err

if TYPE_CHECKING:
    from outweigh.core.quantities import Energy
    from outweigh.measure import MeterSession


class OutweighCallback(Fit, TrainerCallback):
    """Energy of a training run: in `trainer.state.log_history` with every log, and as a receipt at the end.

    The figures also reach the MLflow run and the W&B run the Trainer reports to. Steps are optimiser steps. With
    several processes on one node the first one measures, so that a board counter is not read twice; the label
    `world_size` says how many there were. When training raises, see `Fit`, which says what `budget` and `stop` do:
    training ends after the step (`control.should_training_stop`), with a checkpoint unless `save_strategy` is "no".
    With several processes all end after the same step.
    """

    def __init__(
        self,
        *,
        project: str = "",
        meter: str | None = None,
        session: MeterSession | None = None,
        ledger: Path | str | None = None,
        budget: Energy | str | None = None,
        stop: bool = False,
    ) -> None:
        self.prepare("transformers", project, meter, session, ledger, budget, stop)
        self._first_step = 0
        self._mlflow_run = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stopping = False
        if not state.is_local_process_zero:
            return
        self._first_step = state.global_step  # a training that is resumed is charged for its own steps only
        self.begin({"world_size": str(args.world_size)} if args.world_size > 1 else None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step(state.global_step - self._first_step)
        if self._stop and _any_process(self.stopping, args):
            self.stopping = control.should_training_stop = True
            control.should_save = control.should_save or args.save_strategy != "no"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        figures = self.figures()
        if not figures or logs is None:
            return
        logs.update(figures)  # for the callbacks that come after this one: printer and progress bar
        if state.log_history:
            state.log_history[-1].update(figures)
        # The Trainer's own reporters come before any callback of ours and have logged already.
        reports = args.report_to
        if "mlflow" in reports and (mlflow := sys.modules.get("mlflow")) is not None and mlflow.active_run():
            self._mlflow_run = mlflow.active_run().info.run_id
            mlflow.log_metrics(figures, step=state.global_step)
        if "wandb" in reports and (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
            wandb.run.log({**figures, "train/global_step": state.global_step})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        receipt = self.end()
        if receipt is not None and self._mlflow_run:
            from outweigh.integrations.mlflow import log_receipt

            # At the last step: MLflow shows the value of the highest one.
            log_receipt(receipt, run_id=self._mlflow_run, step=state.global_step)


def _any_process(flag: bool, args: Any) -> bool:
    """Whether it is so in any of the processes that train together: the one that measures speaks for all."""
    if args.world_size == 1:
        return flag
    import torch

    told = torch.tensor([int(flag)], device=args.device)
    torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
    return bool(told.item())
