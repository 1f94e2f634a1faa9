"""A meter that is read as long as the program runs: what exporters of live metrics share."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from outweigh.app.keeping import Watched
from outweigh.app.surroundings import booked_on
from outweigh.core.budget import Phase

if TYPE_CHECKING:
    from outweigh.measure import MeterSession, WindowReading


class Live:
    """Energy since it was opened; a context manager. Leaves no receipt: it has no end that anybody waits for.

    Args:
        session: an open session; without one, `meter` (the best that works by default) is opened and closed.

    Raises:
        MeterUnavailable: on entering.
    """

    def __init__(
        self,
        *,
        project: str = "",
        phase: str | Phase = Phase.INFERENCE,
        meter: str | None = None,
        session: MeterSession | None = None,
    ) -> None:
        self.project = booked_on(project)
        self.phase = Phase(phase)
        self._meter, self._given = meter, session

    def __enter__(self) -> Self:
        from outweigh.measure import MeterSession, choose_meter

        if self._given is not None:
            self._session = self._given
        else:
            chosen, _ = choose_meter(self._meter)
            self._session = MeterSession(chosen).__enter__()
        self._watched = Watched(self._session, None).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._watched.__exit__(kind, error, at)
        if self._given is None:
            self._session.__exit__(kind, error, at)

    def reading(self) -> WindowReading:
        """Hum and work since it was opened."""
        return self._watched.so_far()

    @property
    def meter(self) -> str:
        return self._session.meter.name
