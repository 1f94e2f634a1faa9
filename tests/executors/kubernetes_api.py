"""A made Kubernetes API server over HTTP, with what its controllers would do: enough of batch/v1 to hold us to it.

Its pods are real processes of this machine. Bodies are checked against the published schemas where those are installed.
It is no control plane: what it allows and refuses was written from the documentation (KEP-2232, KEP-2926, Kueue).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

ZONE = "topology.kubernetes.io/zone"
QUEUE = "kueue.x-k8s.io/queue-name"
VERSION = "1.37"


def stamp(seconds=None):
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).isoformat().replace("+00:00", "Z")


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(code, message)
        self.code, self.message = code, message


class Cluster:
    """Use it as a context manager.

    Attributes:
        forbidden: HTTP methods that answer 403.
        silent: it answers 503 to everything.
        invalid: what it says of every Job that is made, with 422.
        posted: bodies of the Jobs that were made.
    """

    def __init__(self, zones=("se", "fr"), cpus=4, kueue=False):
        self.nodes = {f"{zone}1": zone for zone in zones}
        self.cpus, self.kueue = cpus, kueue
        self.jobs, self.pods, self.workloads = {}, {}, {}
        self.forbidden, self.silent, self.invalid, self.posted = set(), False, "", []
        self._lock = threading.RLock()
        self._stop = threading.Event()

    def __enter__(self):
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                try:
                    code, answer = cluster.answer(self.command, self.path, body)
                except Refused as err:
                    code = err.code
                    answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": err.message}
                text = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._threads = [threading.Thread(target=self._server.serve_forever), threading.Thread(target=self._control)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
        for pod in self.pods.values():
            if pod["process"].poll() is None:
                os.killpg(pod["process"].pid, signal.SIGKILL)
                pod["process"].wait()

    def answer(self, method, path, body):
        url = urlparse(path)
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        with self._lock:
            if self.silent:
                raise Refused(503, "the API server is not ready")
            if method in self.forbidden:
                raise Refused(403, f"{method} is forbidden for this user")
            if match := re.fullmatch(r"/apis/batch/v1/namespaces/[\w-]+/jobs(?:/([\w.-]+))?", url.path):
                return self._jobs(method, match[1], body, selector)
            if re.fullmatch(r"/api/v1/namespaces/[\w-]+/pods", url.path) and method == "GET":
                return 200, self._list("PodList", "v1", [self._pod(pod) for pod in self.pods.values()], selector)
            if url.path == "/api/v1/nodes" and method == "GET":
                return 200, self._list("NodeList", "v1", [self._node(name) for name in self.nodes], "")
            if match := re.fullmatch(r"/apis/kueue\S+/namespaces/[\w-]+/workloads(?:/([\w.-]+))?", url.path):
                if method == "PATCH":
                    merge(self.workloads[match[1]], body)
                    return 200, self.workloads[match[1]]
                return 200, {"items": [each for each in self.workloads.values() if chosen(each, selector)]}
        raise Refused(404, f"no such thing: {method} {path}")

    def _jobs(self, method, name, body, selector):
        if method == "POST":
            name = body["metadata"]["name"]
            check(body)
            if self.invalid:
                raise Refused(422, self.invalid)
            if name in self.jobs:
                raise Refused(409, f'jobs.batch "{name}" already exists')
            body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(), "namespace": "default"}
            body["status"] = {}
            self.posted.append(body)
            self.jobs[name] = body
            return 201, body
        if method == "GET" and name is None:
            return 200, self._list("JobList", "batch/v1", list(self.jobs.values()), selector)
        if name not in self.jobs:
            raise Refused(404, f'jobs.batch "{name}" not found')
        job = self.jobs[name]
        if method == "PATCH":
            self._may_change(job, body)
            merge(job, body)
        if method == "DELETE":
            del self.jobs[name]
            for pod in self._pods_of(name):
                self._take_away(pod)
        return 200, job

    def _may_change(self, job, body):
        queued = QUEUE in job["metadata"].get("labels", {})
        if "template" in body.get("spec", {}) and (not job["spec"]["suspend"] or job["status"].get("startTime")):
            raise Refused(422, "spec.template: field is immutable: the Job is not suspended, or has run")
        if self.kueue and queued and "suspend" in body.get("spec", {}):
            raise Refused(422, "Kueue sets suspend of a Job in its queue")

    def _control(self):
        while not self._stop.wait(0.05):
            with self._lock:
                for name, job in list(self.jobs.items()):
                    self._kueue(name, job)
                    self._reconcile(name, job)

    def _kueue(self, name, job):
        if not self.kueue or QUEUE not in job["metadata"].get("labels", {}):
            return
        uid = job["metadata"]["uid"]
        workload = self.workloads.setdefault(
            f"job-{name}",
            {
                "metadata": {"name": f"job-{name}", "labels": {"kueue.x-k8s.io/job-uid": uid}},
                "spec": {"active": True},
            },
        )
        job["spec"]["suspend"] = not workload["spec"]["active"]

    def _reconcile(self, name, job):
        status, pods = job["status"], self._pods_of(name)
        if any(each["status"] == "True" for each in status.get("conditions", ()) if each["type"] != "Suspended"):
            return
        for pod in pods:
            if pod["process"].poll() is not None and not pod["ended"]:
                pod["ended"] = time.time()
        if job["spec"]["suspend"]:
            for pod in pods:
                self._take_away(pod)
            status.pop("startTime", None) if not pods else None
        elif not pods:
            if self._start(name, job):
                status["startTime"] = stamp()
        elif all(pod["ended"] for pod in pods):
            code = max(self._code(pod) for pod in pods)
            kind, reason = ("Complete", "CompletionsReached") if code == 0 else ("Failed", "BackoffLimitExceeded")
            status["conditions"] = [{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": stamp()}]
            status |= {"completionTime": stamp()} if code == 0 else {}
        status["active"] = sum(not pod["ended"] for pod in self._pods_of(name))

    def _start(self, name, job):
        spec = job["spec"]["template"]["spec"]
        zones = set(self.nodes.values())
        if "affinity" in spec:
            needed = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            zones &= set(needed["nodeSelectorTerms"][0]["matchExpressions"][0]["values"])
        nodes = sorted(node for node, zone in self.nodes.items() if zone in zones)
        if not nodes:
            return False
        container = spec["containers"][0]
        process = subprocess.Popen(
            container["command"],
            env={**os.environ, **{each["name"]: each["value"] for each in container["env"]}},
            cwd=container.get("workingDir"),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [""])[-1]
        found = re.match(r"kill -s (\w+) 1; sleep (\d+)", hook)
        pod_name = f"{name}-{uuid.uuid4().hex[:5]}"
        self.pods[pod_name] = {
            "name": pod_name, "job": name, "labels": job["spec"]["template"]["metadata"]["labels"], "node": nodes[0],
            "process": process, "started": time.time(), "ended": None, "leaving": None,
            "signal": found[1] if found else None, "grace_s": int(found[2]) if found else 0,
        }  # fmt: skip
        return True

    def _take_away(self, pod):
        """preStop, then SIGTERM, then SIGKILL; a pod that has ended is gone at once."""
        process, now = pod["process"], time.time()
        if process.poll() is not None:
            self.pods.pop(pod["name"], None)
        elif pod["leaving"] is None:
            pod["leaving"] = now
            process.send_signal(signal.Signals[f"SIG{pod['signal'] or 'TERM'}"])
        elif now - pod["leaving"] > pod["grace_s"] + 1:
            os.killpg(process.pid, signal.SIGKILL)
        elif now - pod["leaving"] > pod["grace_s"]:
            os.killpg(process.pid, signal.SIGTERM)

    def _pods_of(self, name):
        return [pod for pod in self.pods.values() if pod["job"] == name]

    def _code(self, pod):
        code = pod["process"].returncode
        return code if code >= 0 else 128 - code

    def _pod(self, pod):
        state = {"running": {"startedAt": stamp(pod["started"])}}
        if pod["ended"]:
            times = {"startedAt": stamp(pod["started"]), "finishedAt": stamp(pod["ended"])}
            state = {"terminated": {"exitCode": self._code(pod), **times}}
        return {
            "metadata": {
                "name": pod["name"],
                "labels": pod["labels"],
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": pod["job"], "uid": "x"}],
            },
            "spec": {"nodeName": pod["node"], "containers": []},
            "status": {
                "containerStatuses": [
                    {
                        "name": "job",
                        "image": "",
                        "imageID": "",
                        "ready": not pod["ended"],
                        "restartCount": 0,
                        "state": state,
                    }
                ]
            },
        }

    def _node(self, name):
        return {
            "metadata": {"name": name, "labels": {ZONE: self.nodes[name]}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": f"{self.cpus * 1000}m"},
            },
        }

    def _list(self, kind, version, items, selector):
        return {"kind": kind, "apiVersion": version, "metadata": {}, "items": [i for i in items if chosen(i, selector)]}


def chosen(item, selector):
    labels = item["metadata"].get("labels") or {}
    key, _, value = selector.partition("=")
    return not selector or (key in labels and (not value or labels[key] == value))


def merge(into, body):
    """RFC 7386."""
    for key, value in body.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def check(body):
    try:
        import kubernetes_validate
    except ImportError:
        return
    try:
        kubernetes_validate.validate(body, VERSION, strict=True)
    except kubernetes_validate.ValidationError as err:
        raise Refused(422, err.message) from err
