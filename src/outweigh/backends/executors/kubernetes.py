"""`kubernetes`: jobs as suspended Jobs (batch/v1) of a cluster, or in a queue of Kueue. A site is a zone of its nodes.

Typed with options: `kubernetes:image=registry/train:1,namespace=ml,queue=team-a`.

    image       that jobs run in; needed to submit
    namespace   "default" where it is not given
    context     of the kubeconfig; its current one
    queue       of Kueue (LocalQueue): a job that is let go is given to it, and Kueue says when it starts
    zone        node label that sites are values of (topology.kubernetes.io/zone)
    gpu         resource of a GPU (nvidia.com/gpu)
    sites       the sites, se+fr, where this user may not list nodes

A held job is a suspended Job without a queue. A pause suspends it again: Kubernetes takes its pods away, so only a job
that declares a checkpoint is paused, and what it saves must be on a volume. Its signal comes from a preStop hook, then
SIGTERM, then SIGKILL: unlike elsewhere, one that ignores both loses what it did. Kubernetes keeps no time, so a job
with a begin is let go by the next `observe`. A Job that has run cannot be moved: it is made anew, under another name.

This was checked against the published schemas and against a made API server over HTTP, not on a control plane.

Source: Kubernetes API v1.37; Kueue: `spec.active` of a Workload, label `kueue.x-k8s.io/job-uid`.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from outweigh.backends.executors._kubernetes_job import (
    KEY_LABEL,
    QUEUE_LABEL,
    Json,
    Seen,
    Shape,
    affinity,
    manifest,
    seen,
)
from outweigh.backends.executors._options import known_site, options, system_now
from outweigh.backends.executors._recorded import RecordedJobs
from outweigh.backends.executors._records import Record
from outweigh.core.errors import (
    ExecutorUnavailable,
    JobRefused,
    JobUnknown,
    MissingExtra,
    NotOffered,
    NotPermitted,
    UsageError,
)
from outweigh.core.jobs import Ability, JobRequest, JobState, JobStatus
from outweigh.ports import Availability
from outweigh.registry import executors

_NAME: Final = "kubernetes"
_OPTIONS: Final = ("image", "namespace", "context", "queue", "zone", "gpu", "sites")
_WITHIN_S: Final = 20.0
_MERGE: Final = "application/merge-patch+json"
_KUEUE: Final = ("kueue.x-k8s.io", "v1beta1")


@executors.register(_NAME)
class KubernetesExecutor(RecordedJobs):
    """Jobs of one namespace.

    Args:
        image, namespace, context, queue, zone, gpu, sites: as above.
        folder: of records: what has become of pods that are gone.
        now: the time in UTC.
        api: a `kubernetes.client.ApiClient`, instead of what the kubeconfig, or the pod we run in, says.
    """

    name: ClassVar[str] = _NAME
    simulated: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image: str = "",
        namespace: str = "default",
        context: str = "",
        queue: str = "",
        zone: str = "topology.kubernetes.io/zone",
        gpu: str = "nvidia.com/gpu",
        sites: Sequence[str] = (),
        folder: Path | None = None,
        now: Callable[[], datetime] = system_now,
        api: Any = None,
    ) -> None:
        super().__init__(folder, now)
        self._shape = Shape(image, zone, gpu)
        self._namespace, self._context, self._queue = namespace, context, queue
        self._sites = tuple(sites)
        self._given = api

    @classmethod
    def probe(cls) -> Availability:
        try:
            from kubernetes import config
        except ImportError:
            remedy = "pip install 'outweigh[kubernetes]'"
            return Availability(name=_NAME, usable=False, reason="kubernetes is not installed", remedy=remedy)
        try:
            _, current = config.list_kube_config_contexts()
        except config.ConfigException as err:
            remedy = "Set KUBECONFIG, or run it in a pod with a service account"
            return Availability(name=_NAME, usable=False, reason=str(err), remedy=remedy)
        return Availability(name=_NAME, usable=True, sees=f"suspended Jobs of the cluster {current['name']}")

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        given: dict[str, Any] = dict(options(_NAME, argument, _OPTIONS))
        given["sites"] = tuple(filter(None, given.get("sites", "").split("+")))
        return cls(**given, folder=folder, now=now or system_now)

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset({Ability.HOLD, Ability.PAUSE, Ability.MOVE_WAITING, Ability.MOVE_PAUSED, Ability.SURVIVES})

    def sites(self) -> tuple[str, ...]:
        if self._sites:
            return tuple(sorted(self._sites))
        return tuple(sorted({zone for node in self._nodes() if (zone := self._zone_of(node))}))

    def submit(self, request: JobRequest) -> JobStatus:
        with self._records.locked():
            record = self._records.get(request.key)
            if record is None:
                if not self._shape.image:
                    raise UsageError("jobs on kubernetes need an image", f"Write {_NAME}:image=REGISTRY/NAME:TAG")
                self._must_fit(request)
                record = self._enter(request)
                record.handle = f"outweigh-{request.key}"
                self._records.put(record)
            if record.attempt < 0 and not record.state.over:
                self._create(record)
            return self._bring_up_to_date((request.key,))[request.key].status()

    def close(self) -> None:
        """Nothing is held open."""

    def _pause(self, record: Record) -> None:
        if record.request.checkpoint is None:
            raise NotOffered(
                _NAME, f"job {record.key} declares no checkpoint, and would lose what it did", "Let it run"
            )
        record.state, record.asked = JobState.PAUSING, self._now()
        self._records.put(record)
        self._suspend(record)

    def _place(self, record: Record, site: str) -> None:
        record.site = site
        if record.stints or record.state is JobState.WAITING:
            self._again(record)
        else:
            body = {"spec": {"template": {"spec": {"affinity": affinity(site, self._shape.zone_label)}}}}
            self._patch(record, body)
        self._records.put(record)

    def _end(self, record: Record) -> None:
        self._delete(record.handle)

    def _bring_up_to_date(self, keys: Collection[str] | None = None) -> dict[str, Record]:
        wanted = self._records.keys() if keys is None else keys
        known = {key: found for key in wanted if (found := self._records.get(key)) is not None}
        if all(record.state.over for record in known.values()):
            return known
        jobs, pods = self._listed()
        for record in known.values():
            if record.state.over:
                continue
            before = record.summary()
            job = jobs.get(record.handle)
            if job is not None:
                self._follow(record, seen(job, pods.get(record.handle, ()), record.site))
            elif record.attempt < 0:  # its making was never answered, and never heard
                self._create(record)
            else:
                state = JobState.CANCELLED if record.cancelled else JobState.LOST
                reason = "" if record.cancelled else "somebody deleted its Job"
                record.over(state, self._now(), None, reason)
            if record.summary() != before:
                self._records.put(record)
        return known

    def _follow(self, record: Record, job: Seen) -> None:
        self._note_stints(record, job)
        checkpoint = record.request.checkpoint
        if job.completed or job.failed:
            code = job.exit_code if job.exit_code is not None else None if job.failed else 0
            ended = job.ended or self._now()
            if checkpoint is not None and code == checkpoint.saved_exit:  # unasked: it gives way, and goes on
                record.stop(ended)
                record.state = JobState.WAITING
                self._again(record)
                return
            state = JobState.COMPLETED if job.completed else JobState.FAILED
            record.over(JobState.CANCELLED if record.cancelled else state, ended, code, job.reason)
        elif job.suspended:
            if record.state is JobState.WAITING:
                if record.begin is None or record.begin <= self._now():
                    self._start(record, job)
            elif record.state.draws:  # told by us, or evicted by Kueue
                gone = job.active == 0
                if gone:
                    record.stop(self._now())
                held = record.state is JobState.PAUSING or not job.queued
                record.state = (JobState.PAUSED if gone else JobState.PAUSING) if held else JobState.WAITING
        elif any(stint.end is None for stint in job.stints):
            if record.state is not JobState.PAUSING:
                record.state, record.reason = JobState.RUNNING, ""
        elif record.state is JobState.WAITING:
            record.reason = job.waiting

    def _note_stints(self, record: Record, job: Seen) -> None:
        """One stint an attempt: from its first pod's start to its last one's end."""
        if not job.stints:
            return
        first = job.stints[0]
        nodes = tuple(sorted({node for stint in job.stints for node in stint.nodes}))
        if all(stint.start < first.start for stint in record.stints):
            record.stop(first.start)
            record.attempt = len(record.stints)
            record.work(first.start, nodes)
        ends = [stint.end for stint in job.stints]
        if None not in ends:
            record.stop(max(end for end in ends if end is not None))

    def _start(self, record: Record, job: Seen) -> None:
        if not self._queue:
            self._patch(record, {"spec": {"suspend": False}})
        elif job.queued:
            self._activate(job.uid, True)
        else:
            self._patch(record, {"metadata": {"labels": {QUEUE_LABEL: self._queue}}})

    def _keep_from_starting(self, record: Record) -> None:
        self._suspend(record)

    def _suspend(self, record: Record) -> None:
        """Take its pods away, and it from the queue."""
        if self._queue:
            job = self._get(record)
            if QUEUE_LABEL in job["metadata"].get("labels", {}):
                self._activate(job["metadata"]["uid"], False)
                return
        self._patch(record, {"spec": {"suspend": True}})

    def _activate(self, uid: str, active: bool) -> None:
        """Kueue owns `suspend` of a Job in its queue; whether it may run is said to the Job's Workload."""
        client, api = self._client()
        custom = client.CustomObjectsApi(api)
        with self._asking():
            found = custom.list_namespaced_custom_object(
                *_KUEUE, self._namespace, "workloads", label_selector=f"kueue.x-k8s.io/job-uid={uid}"
            )
            for workload in found["items"]:
                custom.patch_namespaced_custom_object(
                    *_KUEUE, self._namespace, "workloads", workload["metadata"]["name"], {"spec": {"active": active}},
                    _content_type=_MERGE,
                )  # fmt: skip

    def _create(self, record: Record) -> None:
        client, api = self._client()
        body = manifest(record.handle, record.request, record.site, self._shape, max(0, len(record.stints)))
        with self._asking(record.key):
            try:
                client.BatchV1Api(api).create_namespaced_job(self._namespace, body, _request_timeout=_WITHIN_S)
            except client.ApiException as err:
                if err.status == 422:
                    self._records.drop(record.key)
                if err.status != 409:  # it is there: an answer was lost
                    raise
        record.attempt = max(record.attempt, 0)
        self._records.put(record)

    def _again(self, record: Record) -> None:
        """The same job as another Job: what has run cannot be changed."""
        old = record.handle
        number = old.removesuffix(f"-{record.key}").removeprefix("outweigh")
        record.handle = f"outweigh{int(number or 1) + 1}-{record.key}"
        self._records.put(record)
        self._create(record)
        self._delete(old)

    def _delete(self, name: str) -> None:
        client, api = self._client()
        with self._asking():
            try:
                client.BatchV1Api(api).delete_namespaced_job(
                    name, self._namespace, propagation_policy="Background", _request_timeout=_WITHIN_S
                )
            except client.ApiException as err:
                if err.status != 404:
                    raise

    def _patch(self, record: Record, body: Json) -> None:
        client, api = self._client()
        with self._asking(record.key):
            client.BatchV1Api(api).patch_namespaced_job(
                record.handle, self._namespace, body, _content_type=_MERGE, _request_timeout=_WITHIN_S
            )

    def _get(self, record: Record) -> Json:
        client, api = self._client()
        with self._asking(record.key):
            job: Json = self._plain(client.BatchV1Api(api).read_namespaced_job(record.handle, self._namespace), api)
            return job

    def _listed(self) -> tuple[dict[str, Json], dict[str, list[Json]]]:
        """Jobs by name, and their pods by the Job's name."""
        client, api = self._client()
        ours = {"label_selector": KEY_LABEL, "_request_timeout": _WITHIN_S}
        with self._asking():
            jobs = self._plain(client.BatchV1Api(api).list_namespaced_job(self._namespace, **ours), api)
            pods = self._plain(client.CoreV1Api(api).list_namespaced_pod(self._namespace, **ours), api)
        of_job: dict[str, list[Json]] = defaultdict(list)
        for pod in pods["items"]:
            owners = [each["name"] for each in pod["metadata"].get("ownerReferences", ()) if each["kind"] == "Job"]
            for owner in owners:
                of_job[owner].append(pod)
        return {job["metadata"]["name"]: job for job in jobs["items"]}, of_job

    def _nodes(self) -> list[Json]:
        client, api = self._client()
        with self._asking():
            nodes: list[Json] = self._plain(client.CoreV1Api(api).list_node(_request_timeout=_WITHIN_S), api)["items"]
        return [
            node
            for node in nodes
            if any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in (node.get("status") or {}).get("conditions", ())
            )
        ]

    def _zone_of(self, node: Json) -> str:
        return str((node["metadata"].get("labels") or {}).get(self._shape.zone_label, ""))

    def _must_fit(self, request: JobRequest) -> None:
        if self._sites:
            known_site(_NAME, request.site, self._sites)
            return
        nodes = self._nodes()
        known_site(_NAME, request.site, {zone for node in nodes if (zone := self._zone_of(node))})
        if not any(
            _cpus(node["status"].get("allocatable", {}).get("cpu", "0")) >= request.cpus
            for node in nodes
            if not request.site or self._zone_of(node) == request.site
        ):
            raise JobRefused(_NAME, request.key, f"{request.cpus} CPUs are more than any node has", "Ask for less")

    def _client(self) -> tuple[Any, Any]:
        """The client module and a connection."""
        try:
            from kubernetes import client, config
        except ImportError as err:
            raise MissingExtra("kubernetes", "the executor kubernetes", "pip install 'outweigh[kubernetes]'") from err
        if self._given is None:
            try:
                self._given = config.new_client_from_config(context=self._context or None)
            except config.ConfigException as outside:
                try:
                    config.load_incluster_config()
                except config.ConfigException:
                    remedy = "Set KUBECONFIG, or run it in a pod with a service account"
                    raise ExecutorUnavailable(_NAME, str(outside), remedy) from outside
                self._given = client.ApiClient()
        return client, self._given

    @staticmethod
    def _plain(answer: Any, api: Any) -> Any:
        return api.sanitize_for_serialization(answer)

    @contextlib.contextmanager
    def _asking(self, key: str = "") -> Iterator[None]:
        """What the API's refusals mean."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as err:
            said = f"{err.status} {err.reason}: {_message(err.body)}"
            if err.status in (401, 403):
                raise NotPermitted(_NAME, said, "Ask for the right in this namespace (RBAC)") from err
            if err.status == 404 and key:
                raise JobUnknown(_NAME, key, said, "Submit it") from err
            if err.status in (400, 409, 422):
                raise JobRefused(_NAME, key, said, "Change what it asks for") from err
            raise ExecutorUnavailable(_NAME, said, "Look again later") from err
        except HTTPError as err:
            raise ExecutorUnavailable(_NAME, str(err), "See whether the API server is up (`kubectl version`)") from err


def _cpus(text: str) -> float:
    """A quantity of CPUs.

    >>> _cpus("3920m"), _cpus("4")
    (3.92, 4.0)
    """
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _message(body: Any) -> str:
    """What a Status says, or the beginning of anything else."""
    import json

    try:
        return str(json.loads(body)["message"])[:300]
    except (TypeError, ValueError, KeyError):
        return str(body or "")[:100]
