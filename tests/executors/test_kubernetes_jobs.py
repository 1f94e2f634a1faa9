"""What only Kubernetes does: schemas, refusals, lost answers. The API server is made; it is no control plane."""

from __future__ import annotations

import pytest

from outweigh.core.errors import ExecutorUnavailable, JobRefused, NotOffered, NotPermitted
from outweigh.core.jobs import Checkpoint, JobRequest, JobState

pytestmark = pytest.mark.frameworks
ENDED = tuple(state for state in JobState if state.over)


@pytest.fixture
def on_kubernetes(tmp_path, api_server, kubernetes_case):
    return kubernetes_case(tmp_path, api_server)


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_a_job_with_all_there_is_holds_to_the_published_schema(on_kubernetes, version):
    schemas = pytest.importorskip("kubernetes_validate")
    executor = on_kubernetes.make()
    request = JobRequest(
        "all", ("sleep", "30"), site="se", hold=True, checkpoint=Checkpoint("USR2", 12.5), cpus=2, gpus=1, nodes=2,
        limit_s=90.5, cwd="/tmp", environment=(("A", "b c"),),
    )  # fmt: skip

    executor.submit(request)

    (body,) = on_kubernetes.cluster.posted
    body = {key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "outweigh-all"}}
    schemas.validate(body, version, strict=True)
    assert body["spec"]["suspend"] is True
    assert body["spec"]["activeDeadlineSeconds"] == 91
    assert body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 12.5


def test_what_the_user_may_not_do_and_a_server_that_is_not_ready_are_told_apart(on_kubernetes):
    executor, request = on_kubernetes.make(), on_kubernetes.job(1)

    on_kubernetes.cluster.forbidden = {"POST"}
    with pytest.raises(NotPermitted, match="POST is forbidden"):
        executor.submit(request)
    on_kubernetes.cluster.forbidden, on_kubernetes.cluster.silent = set(), True
    with pytest.raises(ExecutorUnavailable, match="503"):
        executor.observe()
    on_kubernetes.cluster.silent = False

    assert executor.submit(request).id == f"outweigh-{request.key}"
    assert len(on_kubernetes.cluster.posted) == 1


def test_a_server_that_is_gone_is_said_to_be(on_kubernetes, kubernetes_case, tmp_path):
    class Gone:
        url = "http://127.0.0.1:9"

    case = kubernetes_case(tmp_path, Gone())
    with pytest.raises(ExecutorUnavailable):
        case.make().submit(case.job(1))


def test_a_job_that_was_made_though_the_answer_was_lost_is_not_made_again(on_kubernetes):
    executor, request = on_kubernetes.make(), on_kubernetes.job(0.2)
    executor.submit(request)
    (on_kubernetes.folder / "jobs" / f"{request.key}.json").unlink()  # as if it had never been written down

    again = on_kubernetes.make()
    again.submit(request)

    assert on_kubernetes.until(again, request.key, *ENDED).state is JobState.COMPLETED
    assert len(on_kubernetes.cluster.posted) == 1


def test_a_job_without_a_checkpoint_is_not_paused_for_it_would_lose_what_it_did(on_kubernetes):
    executor, request = on_kubernetes.make(), on_kubernetes.job(20)
    executor.submit(request)
    on_kubernetes.until(executor, request.key, JobState.RUNNING)

    with pytest.raises(NotOffered, match="no checkpoint"):
        executor.pause(request.key)

    assert executor.observe()[request.key].state is JobState.RUNNING
    executor.cancel(request.key)


def test_a_job_that_somebody_deleted_is_lost_and_that_is_said(on_kubernetes):
    executor, request = on_kubernetes.make(), on_kubernetes.job(20, hold=True)
    executor.submit(request)

    on_kubernetes.cluster.answer("DELETE", f"/apis/batch/v1/namespaces/default/jobs/outweigh-{request.key}", None)

    status = executor.observe()[request.key]
    assert (status.state, status.reason) == (JobState.LOST, "somebody deleted its Job")


def test_what_the_api_finds_invalid_is_refused_and_forgotten(on_kubernetes):
    executor, request = on_kubernetes.make(), on_kubernetes.job(1)
    on_kubernetes.cluster.invalid = "spec.template.spec.containers[0].image: Invalid value"

    with pytest.raises(JobRefused, match="Invalid value"):
        executor.submit(request)

    assert executor.find(request.key) is None
