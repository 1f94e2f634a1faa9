"""Which sites of a plan are there: asked of the executor now and then, and in every look while one is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from outweigh.core.errors import ExecutorError, ExecutorUnavailable
from outweigh.ports import JobExecutor
from outweigh.run.deciding import Rules, must_run
from outweigh.run.tracked import Stage, Tracked

Told = Callable[[str], None]


class SitesThere:
    """Times are plan time.

    Attributes:
        gone: those that are believed to be there no longer.
    """

    def __init__(self, rules: Rules) -> None:
        self.gone: frozenset[str] = frozenset()
        self._rules = rules
        self._asked: datetime | None = None
        self._hidden = False
        self._missed: dict[str, datetime] = {}

    def miss(self, site: str, now: datetime) -> None:
        """A job was not taken for want of its site: it is looked for in every look from now on."""
        self._missed.setdefault(site, now)

    def look(
        self, executor: JobExecutor, wanted: Iterable[str], jobs: Iterable[Tracked], rules: Rules, now: datetime,
        told: Told,
    ) -> bool:  # fmt: skip
        """Ask, where it is time to; whether other sites are gone than before.

        A scheduler that was restarted has its nodes again a little later: a site is gone when it stays away, or when a
        job that is planned at it has no time to see whether it does.

        Args:
            rules: with the guard that is in force.

        Raises:
            ExecutorUnavailable: it did not answer.
        """
        due = self._asked is None or (now - self._asked).total_seconds() >= self._rules.look_s
        if not due and not self._missed:
            return False
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
        before, self.gone = self.gone, self._believed(jobs, rules, now)
        for site in sorted(self.gone - before):
            told(f"site {site} is there no longer: what was to run at it is planned elsewhere where it may go")
        for site in sorted(before - self.gone):
            told(f"site {site} is back")
        return self.gone != before

    def _believed(self, jobs: Iterable[Tracked], rules: Rules, now: datetime) -> frozenset[str]:
        limit = timedelta(seconds=self._rules.slip_s)
        gone = {site for site, since in self._missed.items() if now - since >= limit or site in self.gone}
        if len(gone) < len(self._missed):
            waiting = (job for job in jobs if job.stage is not Stage.OVER and not job.works)
            gone |= {job.next_piece(now).site for job in waiting if must_run(job, now, rules)} & self._missed.keys()
        return frozenset(gone)
