"""Keras 3: `model.fit(..., callbacks=[OutweighCallback()])` leaves one receipt for each `fit()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.core.errors import MissingExtra
from outweigh.integrations.fit import Fit

try:
    from keras.callbacks import Callback
except ImportError as err:
    raise MissingExtra("keras", "the Keras callback", "pip install keras, and a back-end for it") from err

if TYPE_CHECKING:
    from outweigh.core.quantities import Energy
    from outweigh.measure import MeterSession


class OutweighCallback(Fit, Callback):
    """Energy of a fit: in the logs of every epoch, and so in `History`, and as a receipt at the end.

    The figures of an epoch are those of the fit up to its end. Steps are batches. When training raises, see `Fit`,
    which says what `budget` and `stop` do: training ends after the batch (`model.stop_training`).
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
        super().__init__()
        self.prepare("keras", project, meter, session, ledger, budget, stop)
        self._steps = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._steps = 0
        self.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        self.step(self._steps)
        if self.stopping:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs.update(self.figures())

    def on_train_end(self, logs: Any = None) -> None:
        self.end()
