"""`skypilot`: the starts of a plan as a folder: one task file a job, and a script that launches each at its time.

A site's name is where SkyPilot takes it to be: `aws/eu-north-1`, `gcp/europe-north1`, `k8s/my-context`. SkyPilot keeps
no time, so `launch.sh` has to run until the last start. A plan says how many GPUs a job wants and not of which kind:
the script takes the kind from GPU. Nothing of SkyPilot is imported here, and no task was launched.

Source: SkyPilot, "SkyPilot YAML" (name, num_nodes, resources.infra, resources.cpus, envs, run) and "Command Line
Interface" (`sky jobs launch`, --yes, --detach-run, --gpus). JSON is YAML 1.2: strings are written as JSON.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._named import slugs
from outweigh.core.errors import OutputError, UsageError
from outweigh.registry import exporters

_INFRA: Final = re.compile(r"[a-z0-9]+(/[A-Za-z0-9*._:@-]+)+")
_LAUNCH: Final = """#!/bin/sh
# Made by outweigh of the plan {id}; make it again instead of changing it.
# Runs until the last start. Started anew it launches what has no file NAME.launched yet.
set -eu
cd "$(dirname "$0")"
{gpu}
at() {{
  start=$1 task=$2 gpus=$3
  [ ! -e "$task.launched" ] || return 0
  while [ "$(date +%s)" -lt "$start" ]; do sleep 20; done
  if [ "$gpus" = 0 ]; then sky jobs launch --yes --detach-run "$task.yaml"
  else sky jobs launch --yes --detach-run --gpus "$GPU:$gpus" "$task.yaml"; fi
  : > "$task.launched"
}}

{starts}
"""


@exporters.register("skypilot")
class SkyPilotExporter:
    """Starts of a plan, of schema outweigh.starts/1, for SkyPilot's managed jobs."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises UsageError for a site that SkyPilot cannot know, OutputError when a file cannot be written."""
        files = render(model)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            reason = err.strerror or type(err).__name__
            raise OutputError(str(path), reason, "Give a folder that can be made") from err
        for name, text in files.items():
            write_text(path / name, text)
        (path / "launch.sh").chmod(0o755)


def render(doc: Mapping[str, Any]) -> dict[str, str]:
    """Name of each file and its text."""
    names = slugs([job["name"] for job in doc["jobs"]], most=60)
    files = {f"{name}.yaml": _task(name, job) for name, job in zip(names, doc["jobs"], strict=True)}
    starts = [
        f"at {int(datetime.fromisoformat(job['start']).timestamp())} {name} {job['gpus']}  # {job['start']}"
        for name, job in zip(names, doc["jobs"], strict=True)
    ]
    wants_gpu = any(job["gpus"] for job in doc["jobs"])
    gpu = ': "${GPU:?say the kind of GPU, such as GPU=H100}"' if wants_gpu else ""
    (plan_id,) = slugs([str(doc["plan_id"])])
    files["launch.sh"] = _LAUNCH.format(id=plan_id, gpu=gpu, starts="\n".join(starts))
    return files


def _task(name: str, job: Mapping[str, Any]) -> str:
    site = job["site"]
    if not _INFRA.fullmatch(site):
        raise UsageError(
            f"{site!r} is no place of SkyPilot", 'Name the site as SkyPilot does, as in [site."aws/eu-north-1"]'
        )
    return (
        f"# Planned from {job['start']} to {job['end']}; its deadline is {job['deadline']}.\n"
        f"name: {name}\n"
        f"num_nodes: {job['nodes']}\n"
        "resources:\n"
        f"  infra: {json.dumps(site)}\n"
        f"  cpus: {job['cpus']}+\n"
        "envs:\n"
        f"  OUTWEIGH_SITE: {json.dumps(site)}\n"
        f"run: {json.dumps(shlex.join(job['command']))}\n"
    )
