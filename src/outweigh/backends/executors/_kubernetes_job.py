"""The Job object of a request, and what a Job and its pods say of it.

Source: Kubernetes API, batch/v1 Job and core/v1 Pod; KEP-2232 (suspended Jobs), KEP-2926 (scheduling directives may be
changed while a Job is suspended and has never run); Kueue, `kueue.x-k8s.io/queue-name`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from outweigh.core.jobs import JobRequest, Stint

KEY_LABEL: Final = "outweigh/key"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
_MARGIN_S: Final = 5  # between the end of a job's grace and SIGKILL

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """What all jobs of an executor have in common."""

    image: str
    zone_label: str
    gpu_resource: str


def manifest(name: str, request: JobRequest, site: str, shape: Shape, restarts: int) -> Json:
    """A suspended Job without a queue: it is held until somebody lets it go."""
    checkpoint = request.checkpoint
    environment = {
        **dict(request.environment),
        "OUTWEIGH_JOB": request.key,
        "OUTWEIGH_SITE": site,
        "OUTWEIGH_RESTARTS": str(restarts),
    }
    wants: Json = {"cpu": str(request.cpus)}
    if request.gpus:
        wants[shape.gpu_resource] = str(request.gpus)
    container: Json = {
        "name": "job",
        "image": shape.image,
        "command": list(request.command),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": wants, "limits": {k: v for k, v in wants.items() if k != "cpu"}},
    }
    if request.cwd:
        container["workingDir"] = request.cwd
    pod: Json = {"restartPolicy": "Never", "containers": [container]}
    if checkpoint is not None:
        # A pod that is taken away gets SIGTERM; a job that declares another signal gets that one first. The hook ends
        # with the container.
        wait = f"kill -s {checkpoint.signal} 1; sleep {math.ceil(checkpoint.grace_s)}"
        container["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sh", "-c", wait]}}}
        pod["terminationGracePeriodSeconds"] = math.ceil(checkpoint.grace_s) + _MARGIN_S
    if site:
        pod["affinity"] = affinity(site, shape.zone_label)
    labels = {KEY_LABEL: request.key, "app.kubernetes.io/managed-by": "outweigh"}
    spec: Json = {
        "suspend": True,
        "backoffLimit": 0,
        "completions": request.nodes,
        "parallelism": request.nodes,
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    if request.limit_s is not None:
        spec["activeDeadlineSeconds"] = math.ceil(request.limit_s)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec}


def affinity(site: str, zone_label: str) -> Json:
    term = {"matchExpressions": [{"key": zone_label, "operator": "In", "values": [site]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


@dataclass(frozen=True, slots=True)
class Seen:
    """A Job as its cluster has it.

    Attributes:
        suspended: it has, or will have, no pods.
        active: pods that are there, pending ones too.
        completed, failed: it is over.
        ran: it was let go at some time, so that its scheduling can no longer be changed.
        stints: of its pods that are still there, by their start.
        exit_code: the highest among its pods that ended; None where none has, or they are gone.
        waiting: why a pod is not scheduled.
    """

    uid: str
    suspended: bool
    active: int
    completed: bool
    failed: bool
    reason: str
    ran: bool
    queued: bool
    ended: datetime | None
    stints: tuple[Stint, ...]
    exit_code: int | None
    waiting: str


def seen(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], site: str) -> Seen:
    status, spec = job.get("status") or {}, job["spec"]
    conditions = {each["type"]: each for each in status.get("conditions") or () if each.get("status") == "True"}
    over = conditions.get("Complete") or conditions.get("Failed")
    containers = [
        (pod, (each.get("state") or {}))
        for pod in pods
        for each in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    stints, codes = [], []
    for pod, state in containers:
        known = state.get("running") or state.get("terminated") or {}
        start = moment(known.get("startedAt"))
        if start is not None:
            host = (pod.get("spec") or {}).get("nodeName") or ""
            stints.append(Stint(site, start, moment(known.get("finishedAt")), (host,) if host else ()))
        if "terminated" in state:
            codes.append(int(state["terminated"].get("exitCode", 0)))
    waiting = [
        str(each.get("message") or each.get("reason") or "")
        for pod in pods
        for each in (pod.get("status") or {}).get("conditions") or ()
        if each.get("type") == "PodScheduled" and each.get("status") == "False"
    ]
    return Seen(
        uid=job["metadata"]["uid"],
        suspended=bool(spec.get("suspend")),
        active=int(status.get("active") or 0),
        completed="Complete" in conditions,
        failed="Failed" in conditions,
        reason=str((over or {}).get("reason") or ""),
        ran=bool(status.get("startTime")) or bool(stints),
        queued=QUEUE_LABEL in (job["metadata"].get("labels") or {}),
        ended=moment(status.get("completionTime")) or moment((over or {}).get("lastTransitionTime")),
        stints=tuple(sorted(stints, key=lambda each: each.start)),
        exit_code=max(codes, default=None),
        waiting=waiting[0] if waiting else "",
    )


def moment(given: Any) -> datetime | None:
    """A time of the API, RFC 3339."""
    return None if not given else datetime.fromisoformat(str(given)).astimezone(UTC)
