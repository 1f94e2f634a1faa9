"""What runs on a Ray node for one job: an actor that has the job's process, and answers for it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from outweigh.backends.executors._process_jobs import ProcessJobs
from outweigh.core.errors import JobOver, NotOffered
from outweigh.core.jobs import JobRequest, JobStatus


class _Process(ProcessJobs):
    name: ClassVar[str] = "ray"


class Host:
    """One job as a process of this node, which ends with it.

    Args:
        request: what is to run; where and when was for others to decide.
        site: told to the job.
        restarts: told to the job.
    """

    def __init__(self, request: JobRequest, site: str, restarts: int) -> None:
        told = {**dict(request.environment), "OUTWEIGH_RESTARTS": str(restarts), "OUTWEIGH_SITE": site}
        self._key = request.key
        self._folder = Path(tempfile.mkdtemp(prefix="outweigh-ray-"))
        self._jobs = _Process(folder=self._folder, bound=True)
        # Ray narrows its own process to what it was given; a job sees that, and its site by our name for it.
        self._jobs.submit(replace(request, site="", begin=None, hold=False, nodes=1, environment=tuple(told.items())))

    def look(self) -> tuple[JobStatus, bool]:
        """How it stands, and whether a pause has kept its memory here."""
        status = self._jobs.observe((self._key,))[self._key]
        return status, self._jobs.in_place(self._key)

    def ask(self, verb: str) -> tuple[JobStatus, bool]:
        """`pause`, `resume` or `cancel`; then as `look`. What has ended in between is only looked at."""
        try:
            {"pause": self._jobs.pause, "resume": self._jobs.resume, "cancel": self._jobs.cancel}[verb](self._key)
        except (JobOver, NotOffered):
            return self.look()
        return self.look()
