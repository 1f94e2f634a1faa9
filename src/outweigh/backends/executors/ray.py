"""`ray`: jobs on the nodes of a Ray cluster. A site is a custom resource, `site:se`, that the nodes of a place have.

Typed as `ray`, or with options: `ray:address=10.0.0.1:6379,prefix=region`.

    address   of the cluster; "auto", the one that runs here, where it is not given
    prefix    what stands before the colon in the names of the resources that are sites (`site`)

Each job is a detached actor, which goes on when who submitted it is gone, and which holds the job's process. Ray has no
queue that holds a job or keeps a time, so those that are not to start yet wait in a folder (`jobs/ray` in the folder
for state) and are started by the next `observe`. When an actor or its node is lost, the job's process ends with it and
the job starts again, where it saved. Outweigh must be installed on the nodes.

Source: Ray 2.60, "Named actors", "Resources", `ray.nodes`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from outweigh.backends.executors._options import known_site, options, system_now
from outweigh.backends.executors._ray_host import Host
from outweigh.backends.executors._recorded import RecordedJobs
from outweigh.backends.executors._records import Record
from outweigh.core.errors import ExecutorUnavailable, JobRefused, MissingExtra
from outweigh.core.jobs import Ability, JobRequest, JobState, JobStatus, Stint
from outweigh.ports import Availability
from outweigh.registry import executors

_NAME: Final = "ray"
_SPACE: Final = "outweigh"
_SOME: Final = 0.001  # of a site's resource: it says where, not how much
_ANSWERS_WITHIN_S: Final = 20.0
_LOOK_S: Final = 2.0  # for actors that run; one that is made, or waits for room, is not waited for


@executors.register(_NAME)
class RayExecutor(RecordedJobs):
    """Jobs on a Ray cluster.

    Args:
        address: of the cluster.
        prefix: of the resources that are sites.
        folder: of records.
        now: the time in UTC.
    """

    name: ClassVar[str] = _NAME
    simulated: ClassVar[bool] = False

    def __init__(
        self,
        *,
        address: str = "auto",
        prefix: str = "site",
        folder: Path | None = None,
        now: Callable[[], datetime] = system_now,
    ) -> None:
        super().__init__(folder, now)
        self._address, self._prefix = address, prefix
        self._connected: Any = None
        self._looks: dict[str, Any] = {}

    @classmethod
    def probe(cls) -> Availability:
        try:
            import ray
        except ImportError:
            return Availability(
                name=_NAME, usable=False, reason="ray is not installed", remedy="pip install 'outweigh[ray]'"
            )
        # Looking for a cluster takes seconds, and starts one where there is none.
        return Availability(name=_NAME, usable=True, sees=f"jobs on a Ray {ray.__version__} cluster, if there is one")

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        given = options(_NAME, argument, ("address", "prefix"))
        return cls(
            address=given.get("address", "auto"),
            prefix=given.get("prefix", "site"),
            folder=folder,
            now=now or system_now,
        )

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset(
            {
                Ability.HOLD,
                Ability.PAUSE,
                Ability.PAUSE_IN_PLACE,
                Ability.MOVE_WAITING,
                Ability.MOVE_PAUSED,
                Ability.SURVIVES,
            }
        )

    def sites(self) -> tuple[str, ...]:
        return tuple(sorted({site for node in self._nodes() for site in self._sites_of(node)}))

    def submit(self, request: JobRequest) -> JobStatus:
        with self._records.locked():
            if self._records.get(request.key) is None:
                self._must_fit(request)
                self._records.put(self._enter(request))
            return self._bring_up_to_date((request.key,))[request.key].status()

    def close(self) -> None:
        """Jobs and the connection stay: Ray allows one to a process, and others may use it."""
        self._looks.clear()

    def _pause(self, record: Record) -> None:
        record.asked = self._now()
        self._ask(record, "pause")

    def _go_on(self, record: Record) -> None:
        record.asked = None
        self._ask(record, "resume")

    def _place(self, record: Record, site: str) -> None:
        self._keep_from_starting(record)
        record.site = site
        self._records.put(record)

    def _end(self, record: Record) -> None:
        if record.state.draws or record.in_place:
            self._ask(record, "cancel")
        else:
            self._keep_from_starting(record)
            record.over(JobState.CANCELLED, self._now(), None)
            self._records.put(record)

    def _keep_from_starting(self, record: Record) -> None:
        # An actor that only waits for room.
        if record.handle:
            self._end_actor(record)
            record.handle, record.attempt = "", record.attempt - 1

    def _ray(self) -> Any:
        """The module, connected."""
        try:
            import ray
        except ImportError as err:
            raise MissingExtra("ray", "the executor ray", "pip install 'outweigh[ray]'") from err
        if not ray.is_initialized():
            try:
                ray.init(address=self._address, namespace=_SPACE, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as err:
                said = str(err).partition("\n")[0]
                raise ExecutorUnavailable(_NAME, said, "Start it with `ray start --head`, or give address=") from err
        return ray

    def _nodes(self) -> list[dict[str, Any]]:
        return [node["Resources"] for node in self._ray().nodes() if node["Alive"]]

    def _sites_of(self, resources: Mapping[str, float]) -> list[str]:
        head = f"{self._prefix}:"
        return [name.removeprefix(head) for name in resources if name.startswith(head)]

    def _must_fit(self, request: JobRequest) -> None:
        nodes = self._nodes()
        known_site(_NAME, request.site, {site for node in nodes for site in self._sites_of(node)})
        if request.nodes > 1:
            raise JobRefused(_NAME, request.key, "a job of several nodes is not offered on Ray", "Ask for one node")
        if not any(
            node.get("CPU", 0) >= request.cpus
            and node.get("GPU", 0) >= request.gpus
            and (not request.site or request.site in self._sites_of(node))
            for node in nodes
        ):
            what = f"{request.cpus} CPUs and {request.gpus} GPUs are more than any node has"
            raise JobRefused(_NAME, request.key, what, "Ask for less, or for another site")

    def _bring_up_to_date(self, keys: Collection[str] | None = None) -> dict[str, Record]:
        wanted = self._records.keys() if keys is None else keys
        known = {key: found for key in wanted if (found := self._records.get(key)) is not None}
        before = {key: record.summary() for key, record in known.items()}
        self._look([record for record in known.values() if record.handle and not record.state.over])
        for record in known.values():
            due = record.begin is None or record.begin <= self._now()
            if record.state is JobState.WAITING and not record.handle and due:
                self._launch(record)
        for key, record in known.items():
            if record.summary() != before[key]:
                self._records.put(record)
        return known

    def _launch(self, record: Record) -> None:
        ray, request = self._ray(), record.request
        record.attempt += 1
        # One that was taken back may take a while to die, and keeps its name till then.
        record.handle = f"{record.key}.{record.attempt}.{uuid.uuid4().hex[:6]}"
        record.launched = self._now()
        record.kept, record.asked = len(record.stints), None
        self._records.put(record)  # before it is made: an actor is made once by its name
        remote = ray.remote(Host).options(
            name=record.handle,
            namespace=_SPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=0,
            num_cpus=request.cpus,
            num_gpus=request.gpus,
            resources={f"{self._prefix}:{record.site}": _SOME} if record.site else None,
        )
        actor = remote.remote(request, record.site, record.attempt)
        self._looks[record.handle] = actor.look.remote()

    def _look(self, records: list[Record]) -> None:
        if not records:
            return
        ray = self._ray()
        asked = {}
        for record in records:
            if record.handle not in self._looks:
                actor = self._actor(record)
                if actor is None:
                    self._lost(record)
                    continue
                self._looks[record.handle] = actor.look.remote()
            asked[record.handle] = self._looks[record.handle]
        if not asked:
            return
        begun = [asked[each.handle] for each in records if each.handle in asked and each.state is not JobState.WAITING]
        if begun:
            ray.wait(begun, num_returns=len(begun), timeout=_LOOK_S)
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=0)
        for record in records:
            look = asked.get(record.handle)
            if look is None:
                continue
            if look in ready:
                self._answer(record, look)
            elif record.state is JobState.WAITING:
                record.reason = "no room"

    def _answer(self, record: Record, look: Any) -> None:
        ray = self._ray()
        self._looks.pop(record.handle, None)
        try:
            status, in_place = ray.get(look, timeout=_ANSWERS_WITHIN_S)
        except ray.exceptions.GetTimeoutError as err:
            raise ExecutorUnavailable(_NAME, f"the actor of job {record.key} does not answer", "Look again") from err
        except ray.exceptions.RayError:  # the actor, its node, or what it was made of is gone
            self._lost(record)
            return
        self._take(record, status, in_place)

    def _take(self, record: Record, status: JobStatus, in_place: bool) -> None:
        """What the actor says, as of this job."""
        stints = [Stint(record.site, stint.start, stint.end, stint.nodes) for stint in status.stints]
        record.stints[record.kept :] = stints
        record.reason = status.reason
        for note in status.notes:
            record.note(note)
        saved = status.state is JobState.WAITING or (status.state is JobState.PAUSED and not in_place)
        if status.state.over:
            record.over(status.state, status.ended or self._now(), status.exit_code, status.reason)
            self._end_actor(record)
        elif saved and status.stints:
            self._end_actor(record)
            record.handle, record.in_place, record.begin = "", False, None
            record.state = JobState.PAUSED if status.state is JobState.PAUSED else JobState.WAITING
        elif status.state is not JobState.WAITING:
            record.state, record.in_place = status.state, in_place

    def _ask(self, record: Record, verb: str) -> None:
        ray, actor = self._ray(), self._actor(record)
        self._records.put(record)
        self._looks.pop(record.handle, None)
        if actor is None:
            self._lost(record)
        else:
            try:
                self._take(record, *ray.get(actor.ask.remote(verb), timeout=_ANSWERS_WITHIN_S))
            except ray.exceptions.GetTimeoutError as err:
                raise ExecutorUnavailable(
                    _NAME, f"the actor of job {record.key} does not answer", "Look what came of it"
                ) from err
            except ray.exceptions.RayError:
                self._lost(record)
        self._records.put(record)

    def _actor(self, record: Record) -> Any:
        try:
            return self._ray().get_actor(record.handle, namespace=_SPACE)
        except ValueError:  # never made, or dead
            return None

    def _lost(self, record: Record) -> None:
        self._looks.pop(record.handle, None)
        record.stop(self._now())
        started = len(record.stints) > record.kept
        record.handle, record.in_place = "", False
        if record.cancelled:
            record.over(JobState.CANCELLED, self._now(), None)
            return
        if started:
            record.note("its Ray node or worker was lost: it starts again from where it saved")
        else:
            record.attempt -= 1
        record.state = JobState.WAITING

    def _end_actor(self, record: Record) -> None:
        self._looks.pop(record.handle, None)
        actor = self._actor(record)
        if actor is not None:
            self._ray().kill(actor)
