"""Which sites of a plan are there: asked of the executor now and then, and in every look while one is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from outweigh.core.errors import ExecutorError, ExecutorUnavailable
from outweigh.ports import JobExecutor
from outweigh.run.deciding import Rules

Told = Callable[[str], None]


class SitesThere:
    """Times are plan time.

    Attributes:
        away: those that were not there in the last look.
        gone: those of them that stayed away, and are believed to be there no longer.
    """

    def __init__(self, rules: Rules) -> None:
        self.gone: frozenset[str] = frozenset()
        self._rules = rules
        self._asked: datetime | None = None
        self._hidden = False
        self._missed: dict[str, datetime] = {}

    @property
    def away(self) -> frozenset[str]:
        return frozenset(self._missed)

    def miss(self, site: str, now: datetime) -> None:
        """A job was not taken for want of its site: it is looked for in every look from now on."""
        self._missed.setdefault(site, now)

    def due(self, now: datetime, *, pressed: bool = False) -> bool:
        """Whether it is time to look again.

        Args:
            pressed: a job that waits for its site has no time to do so.
        """
        if self._asked is None or self._missed:
            return True
        wait_s = self._rules.guard_s / 4 if pressed else self._rules.look_s
        return (now - self._asked).total_seconds() >= wait_s

    def look(self, executor: JobExecutor, wanted: Iterable[str], now: datetime, told: Told) -> bool:
        """Ask; whether other sites are gone than before.

        A scheduler that was restarted has its nodes again a little later: a site is gone when it stays away.

        Raises:
            ExecutorUnavailable: it did not answer.
        """
        self._asked = now
        try:
            there = executor.sites()
        except ExecutorUnavailable:
            raise
        except ExecutorError as err:
            # Who may not list nodes may well run jobs: they are seen all the same, and sites stay as they were.
            if not self._hidden:
                told(f"{err}. Whether a site vanishes is not seen")
            self._hidden = True
            return False
        self._hidden = False
        self._missed = {site: self._missed.get(site, now) for site in wanted if site not in there}
        limit = timedelta(seconds=self._rules.slip_s)
        before = self.gone
        self.gone = frozenset(site for site, since in self._missed.items() if now - since >= limit)
        for site in sorted(self.gone - before):
            told(f"site {site} is there no longer: what was to run at it is planned elsewhere where it may go")
        for site in sorted(before - self.gone):
            told(f"site {site} is back")
        return self.gone != before
