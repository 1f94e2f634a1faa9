"""Plans as task files: what another scheduler would start, when and where. Neither scheduler is run here."""

from __future__ import annotations

import ast
import json
import subprocess
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from outweigh.app.emitting import emit, starts
from outweigh.app.planning import plan_file
from outweigh.cli.main import run
from outweigh.core.errors import OutputError, UsageError

# SkyPilot, "SkyPilot YAML", read 2026-11: the keys of a task and of its resources that these files use.
TASK_KEYS = {"name", "num_nodes", "resources", "envs", "run"}
RESOURCE_KEYS = {"infra", "cpus"}
JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
[site."aws/eu-north-1"]
zone = "SE"
pue = 1.2
price = "0.05 EUR/kWh"
[site."aws/eu-central-1"]
zone = "DE"
pue = 1.2
price = "0.10 EUR/kWh"
[[job]]
name = "train {{ x }}"
release = "2026-12-01T03:00Z"
within = "12 h"
work = "2 h"
power = "4 kW"
gpus = 2
nodes = 2
count = 2
command = ["sh", "-c", "echo '{{ ds }}' \\"$HOME\\"; exit 3"]
[[job]]
name = "script"
within = "12 h"
work = "1 h"
power = "1 kW"
cpus = 4
command = ["./night.sh"]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("jobs") / "jobs.toml"
    path.write_text(JOBS, encoding="utf-8")
    return json.loads(json.dumps(plan_file(path, frontier=False).document))


@pytest.fixture
def plan_path(plan: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


class Recorded:
    """What a DAG file makes of Airflow's classes."""

    def __init__(self) -> None:
        self.dag: dict[str, Any] = {}
        self.waits: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}

    def read(self, text: str) -> Recorded:
        """Execute the file with classes that only note what they are given; Airflow itself is not here."""
        recorded = self

        class DAG:
            def __init__(self, **given: Any) -> None:
                recorded.dag = given

            def __enter__(self) -> DAG:
                return self

            def __exit__(self, *_: object) -> None:
                return

        class Sensor:
            def __init__(self, *, task_id: str, target_time: str) -> None:
                self.task_id = task_id
                recorded.waits[task_id] = target_time

            def __rshift__(self, task: Any) -> Any:
                recorded.tasks[task.given["task_id"]] = {**task.given, "after": self.task_id}
                return task

        class Bash:
            def __init__(self, **given: Any) -> None:
                self.given = given

        known = {
            "airflow.sdk": {"DAG": DAG},
            "airflow.providers.standard.operators.bash": {"BashOperator": Bash},
            "airflow.providers.standard.sensors.date_time": {"DateTimeSensorAsync": Sensor},
        }

        def importing(name: str, *args: Any) -> Any:
            return types.SimpleNamespace(**known[name]) if name in known else __import__(name, *args)

        builtins = {"__import__": importing, "repr": repr, "float": float}
        exec(compile(text, "plan.py", "exec"), {"__builtins__": builtins, "__name__": "dag"})
        return self


def test_starts_are_those_of_the_plan_with_like_jobs_one_by_one(plan: dict[str, Any]):
    found = starts(plan, "plan.json")

    assert [job["name"] for job in found["jobs"]] == ["script", "train {{ x }}-1", "train {{ x }}-2"]
    planned = {job["name"]: job["pieces"][0] for job in plan["jobs"]}
    assert datetime.fromisoformat(found["jobs"][0]["start"]) == datetime.fromisoformat(planned["script"]["start"])
    assert {job["site"] for job in found["jobs"]} == {"aws/eu-north-1"}


def test_a_dag_file_is_python_that_imports_airflow_3_alone_besides_the_standard_library(plan_path, tmp_path):
    emit(plan_path, "airflow", tmp_path / "night.py")

    tree = ast.parse((tmp_path / "night.py").read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {
        "datetime", "airflow.sdk", "airflow.providers.standard.operators.bash",
        "airflow.providers.standard.sensors.date_time",
    }  # fmt: skip


def test_a_dag_starts_every_job_at_its_time_in_the_pool_of_its_site(plan_path, tmp_path, plan):
    emit(plan_path, "airflow", tmp_path / "night.py")

    found = Recorded().read((tmp_path / "night.py").read_text(encoding="utf-8"))

    assert found.dag["schedule"] == "@once"
    assert found.dag["start_date"] == datetime(2026, 12, 1, tzinfo=UTC)
    assert set(found.tasks) == {"script", "train-x-1", "train-x-2"}
    script = found.tasks["script"]
    assert script["bash_command"] == "./night.sh "  # without the blank Airflow would read a file of that name
    assert script["pool"] == "aws-eu-north-1"
    assert found.waits[script["after"]] == starts(plan, "plan")["jobs"][0]["start"]
    assert script["execution_timeout"] <= timedelta(hours=12)


def test_what_stands_in_braces_in_a_command_reaches_the_shell_and_not_airflows_templates(plan_path, tmp_path):
    jinja2 = pytest.importorskip("jinja2")
    emit(plan_path, "airflow", tmp_path / "night.py")
    found = Recorded().read((tmp_path / "night.py").read_text(encoding="utf-8"))

    command = jinja2.Template(found.tasks["train-x-1"]["bash_command"]).render(ds="2026-12-01")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env={"HOME": "/h"})

    assert (done.stdout, done.returncode) == ("{{ ds }} /h\n", 3)


def test_a_task_file_of_skypilot_has_only_keys_that_are_published_and_the_command_to_the_letter(plan_path, tmp_path):
    emit(plan_path, "skypilot", tmp_path / "sky")

    tasks = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (tmp_path / "sky").glob("*.yaml")}
    assert set(tasks) == {"script", "train-x-1", "train-x-2"}
    assert all(set(task) == TASK_KEYS and set(task["resources"]) == RESOURCE_KEYS for task in tasks.values())
    assert tasks["script"]["resources"] == {"infra": "aws/eu-north-1", "cpus": "4+"}
    assert tasks["train-x-1"]["num_nodes"] == 2
    done = subprocess.run(
        ["bash", "-c", tasks["train-x-1"]["run"]], capture_output=True, text=True, check=False, env={"HOME": "/h"}
    )
    assert (done.stdout, done.returncode) == ("{{ ds }} /h\n", 3)


def launched(folder: Path, tools: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a `date` that is past every start, and a `sky` that writes down how it was called."""
    tools.mkdir(exist_ok=True)
    (tools / "date").write_text("#!/bin/sh\necho 99999999999\n")
    (tools / "sky").write_text(f'#!/bin/sh\necho "$@" >> {tools}/called\n')
    for name in ("date", "sky"):
        (tools / name).chmod(0o755)
    path = {"PATH": f"{tools}:/usr/bin:/bin"}
    return subprocess.run([folder / "launch.sh"], capture_output=True, text=True, check=False, env={**path, **more})


def test_the_script_launches_each_task_once_and_wants_to_know_the_kind_of_gpu(plan_path, tmp_path):
    emit(plan_path, "skypilot", tmp_path / "sky")

    without = launched(tmp_path / "sky", tmp_path / "tools")
    first = launched(tmp_path / "sky", tmp_path / "tools", GPU="H100")
    launched(tmp_path / "sky", tmp_path / "tools", GPU="H100")

    assert without.returncode != 0
    assert "GPU=H100" in without.stderr
    assert first.returncode == 0, first.stderr
    called = (tmp_path / "tools" / "called").read_text().splitlines()
    assert called == [
        "jobs launch --yes --detach-run script.yaml",
        "jobs launch --yes --detach-run --gpus H100:2 train-x-1.yaml",
        "jobs launch --yes --detach-run --gpus H100:2 train-x-2.yaml",
    ]


def test_a_job_that_pauses_is_refused_with_who_can_run_it(plan: dict[str, Any]):
    document = json.loads(json.dumps(plan))
    (piece,) = document["jobs"][1]["pieces"]
    start = datetime.fromisoformat(piece["start"])
    later = {"start": (start + timedelta(hours=3)).isoformat(), "end": (start + timedelta(hours=4)).isoformat()}
    document["jobs"][1]["pieces"] = [piece, {**piece, **later}]

    with pytest.raises(UsageError, match="outweigh run"):
        starts(document, "plan.json")


def test_a_site_that_skypilot_cannot_know_is_refused_with_a_name_it_would(plan: dict[str, Any], tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan).replace("aws/eu-north-1", "stockholm"), encoding="utf-8")

    with pytest.raises(UsageError, match="eu-north-1"):
        emit(path, "skypilot", tmp_path / "sky")
    assert not (tmp_path / "sky").exists()


def test_a_place_that_cannot_be_written_is_said(plan_path, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"plan\.py"):
        emit(plan_path, "airflow", tmp_path / "night.txt")
    with pytest.raises(OutputError):
        emit(plan_path, "airflow", tmp_path / "nowhere" / "night.py")
    with pytest.raises(OutputError):
        emit(plan_path, "skypilot", tmp_path / "file")


def test_the_verb_writes_the_files_and_says_where(plan_path, tmp_path, capsys):
    assert run(["plan", "--emit", "airflow", str(plan_path), "--out", str(tmp_path / "night.py"), "--json"]) == 0

    said = capsys.readouterr()
    assert json.loads(said.out) == {"kind": "airflow", "jobs": 3, "written": str(tmp_path / "night.py")}
    assert run(["plan", "--emit", "airflow", str(tmp_path / "none.json"), "--out", str(tmp_path / "n.py")]) == 2
    assert "cannot be read" in capsys.readouterr().err
