"""`airflow`: the starts of a plan as one DAG file: every job behind a sensor of its time, in the pool of its site.

Nothing of Airflow is imported here, and the file was not run on one. It is for Airflow 3 with the standard provider.

Source: Airflow 3, `airflow.sdk.DAG`; apache-airflow-providers-standard, `BashOperator` (a command is a Jinja template,
and one that ends in .sh names a file) and `DateTimeSensorAsync` (waits without a worker); "Pools".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._named import slugs
from outweigh.core.errors import UsageError
from outweigh.registry import exporters

_HEAD: Final = '''"""Made by outweigh of the plan {plan} ({id}); make it again instead of changing it.

Every job waits for its time and then for a slot of its pool. Make the pools first, with as many slots as the site may
run jobs at once: {pools}.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG

#: task, pool, start (UTC), command, longest time it may take until its deadline [s]
JOBS = [
'''
_TAIL: Final = """]

with DAG(
    dag_id={dag},
    start_date=datetime.fromisoformat({start}),
    schedule="@once",
    catchup=False,
    tags=["outweigh"],
) as dag:
    for task, pool, start, command, within_s in JOBS:
        wait = DateTimeSensorAsync(task_id=f"{{task}}.wait", target_time=start)
        wait >> BashOperator(
            task_id=task, bash_command=command, pool=pool, execution_timeout=timedelta(seconds=within_s)
        )
"""


@exporters.register("airflow")
class AirflowExporter:
    """Starts of a plan, of schema outweigh.starts/1, for Airflow."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises UsageError for a path that is no .py, OutputError when the file cannot be written."""
        if path.suffix != ".py":
            raise UsageError(f"{path} is no Python file, and a DAG is one", "Name it plan.py")
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The DAG file as text. Raises UsageError for a command that a template cannot hold."""
    sites = sorted({job["site"] for job in doc["jobs"]})
    pools = dict(zip(sites, slugs(sites, also="_"), strict=True))
    # Without a dot in them, none is the name of another's sensor.
    tasks = slugs([job["name"] for job in doc["jobs"]], also="_")
    rows = []
    for task, job in zip(tasks, doc["jobs"], strict=True):
        start, deadline = (datetime.fromisoformat(job[key]) for key in ("start", "deadline"))
        within_s = (deadline - start).total_seconds()
        rows.append(f"    ({task!r}, {pools[job['site']]!r}, {job['start']!r}, {_bash(job)!r}, {within_s!r}),\n")
    dag = slugs([f"outweigh-{doc['plan_id'][:12]}"], also="_")[0]
    said = re.sub(r'["\\\r\n]', "?", str(doc["source_name"]))
    head = _HEAD.format(plan=said, id=dag.removeprefix("outweigh-"), pools=", ".join(pools.values()))
    return head + "".join(rows) + _TAIL.format(dag=repr(dag), start=repr(str(doc["horizon"]["start"])))


def _bash(job: Mapping[str, Any]) -> str:
    """The command, with nothing in it that Airflow would fill in or look for as a file.

    >>> _bash({"name": "a", "command": ["sh", "train.sh"]}), _bash({"name": "a", "command": ["echo", "{{x}}"]})
    ('sh train.sh ', "{% raw %}echo '{{x}}'{% endraw %} ")
    """
    command = shlex.join(job["command"])
    if re.search(r"{[{%#]", command):
        if "endraw" in command:
            raise UsageError(f"the command of job {job['name']!r} ends a Jinja block", "Put it into a script")
        command = "{% raw %}" + command + "{% endraw %}"
    return f"{command} "
