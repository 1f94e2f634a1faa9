"""Lightning: `Trainer(callbacks=[OutweighCallback()])` leaves one receipt for each `fit()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.app.blocks import status_of
from outweigh.core.errors import MissingExtra
from outweigh.integrations.figures import numbers_of
from outweigh.integrations.fit import Fit

try:
    from lightning.pytorch import Callback
except ImportError as err:
    raise MissingExtra("lightning", "the Lightning callback", "pip install lightning") from err

if TYPE_CHECKING:
    from outweigh.core.quantities import Energy
    from outweigh.measure import MeterSession


class OutweighCallback(Fit, Callback):
    """Energy of a fit: to every logger of the trainer each `log_every_n_steps`, and as a receipt at the end.

    Steps are optimiser steps. A fit that raises or is interrupted leaves its receipt at once. With several processes on
    one node the first one measures, so that a board counter is not read twice; the label `world_size` says how many
    there were. `Fit` says what `budget` and `stop` do: training ends after the batch (`trainer.should_stop`), in all
    processes after the same one, unless `min_steps` or `min_epochs` ask for more.
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
        self.prepare("lightning", project, meter, session, ledger, budget, stop)
        self._first_step = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.stopping = False
        if trainer.local_rank == 0:
            self._first_step = trainer.global_step
            self.begin({"world_size": str(trainer.world_size)} if trainer.world_size > 1 else None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.step(trainer.global_step - self._first_step)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:
            _log(trainer, self.figures())
        if self._stop and trainer.strategy.reduce_boolean_decision(self.stopping, all=False):
            self.stopping = trainer.should_stop = True

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        receipt = self.end()
        if receipt is not None:
            _log(trainer, numbers_of(receipt))

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.end(status_of(exception), note="training was left by an exception")


def _log(trainer: Any, figures: dict[str, float]) -> None:
    if figures and trainer.is_global_zero:
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
