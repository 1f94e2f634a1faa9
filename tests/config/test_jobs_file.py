"""Files of jobs: what they say is what is planned, and what is wrong is said by its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.config.jobs import load_jobs
from outweigh.core.errors import ConfigError
from outweigh.core.quantities import Money, Power
from outweigh.plan.problem import Level

NOW = datetime(2026, 11, 30, 22, 12, tzinfo=UTC)
WHOLE = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "48 h"
step = "30 min"
carbon_price = "100 EUR/t"
work_quantile = 0.9
queue = "queue.csv"

[site.fra-1]
zone = "DE"
pue = 1.25
capacity = "150 kW"
price = "0.15 EUR/kWh"
demand_charge = "12 EUR/kW"
peak_so_far = "80 kW"

[site.lul-1]
zone = "SE-SE1"
region = "aws:eu-north-1"
move = "0.02 EUR/GB"

[[job]]
name = "train"
release = 2026-12-01T01:00:00+01:00
deadline = "2026-12-02T12:00Z"
work = "6 h"
levels = [{ speed = 1, power = "40 kW" }, { speed = 1.8, power = "90 kW" }]
preemptible = true
checkpoint = { time = "6 min", energy = "2 kWh" }
home = "lul-1"
data_gb = 120
quantiles = [{ p = 0.5, work = "6 h" }, { p = 0.9, work = "9 h" }]
command = ["sbatch", "train.sh"]

[[job]]
name = "evaluate"
within = "24 h"
work = "30 min"
power = "700 W"
movable = false
count = 8
"""
QUEUE = """name,release,within,work,power,preemptible,sites,count
q1,2026-12-01T04:00Z,12 h,90 min,2 kW,yes,fra-1 lul-1,3
q2,,6 h,1 h,500 W,,,
"""


def write(folder: Path, text: str, queue: str = QUEUE) -> Path:
    (folder / "queue.csv").write_text(queue, encoding="utf-8")
    file = folder / "jobs.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_jobs_is_read_whole_with_its_queue(tmp_path: Path):
    spec = load_jobs(write(tmp_path, WHOLE), NOW)

    train, evaluate, first, second = spec.jobs
    assert (spec.start, spec.steps, spec.step_s) == (datetime(2026, 12, 1, tzinfo=UTC), 96, 1800.0)
    assert spec.carbon_price == Money(100.0, "EUR")
    assert spec.work_quantile == 0.9
    assert spec.sites[0].capacity == Power(150e3)
    assert spec.sites[0].demand_charge == Money(12.0, "EUR")
    assert spec.sites[1].move_per_gb == Money(0.02, "EUR")
    assert train.release == datetime(2026, 12, 1, tzinfo=UTC)
    assert train.levels == (Level(1, 40e3), Level(1.8, 90e3))
    assert (train.checkpoint_h, train.checkpoint_kwh) == (0.1, 2.0)
    assert train.work_at(spec.work_quantile) == 9.0
    assert (evaluate.home, evaluate.count, evaluate.movable) == ("fra-1", 8, False)
    assert evaluate.deadline == datetime(2026, 12, 2, tzinfo=UTC)
    assert (first.count, first.sites, first.preemptible) == (3, {"fra-1", "lul-1"}, True)
    assert (second.release, second.work_h) == (spec.start, 1.0)
    assert dict(spec.asks)["train"].command == ("sbatch", "train.sh")


def test_without_a_start_the_horizon_begins_with_the_next_step(tmp_path: Path):
    text = '[site.a]\nzone = "DE"\n[[job]]\nname = "x"\nwithin = "4 h"\nwork = "1 h"\npower = "1 kW"\n'

    assert load_jobs(write(tmp_path, text), NOW).start == datetime(2026, 11, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "marked", "said"),
    [
        ('zone = "DE"', 'zon = "DE"', 'zon = "DE"', "Did you mean 'zone'"),
        ('power = "700 W"', 'power = "700"', 'power = "700"', "not a valid power"),
        ('power = "700 W"\n', "", '[[job]]\nname = "evaluate"', "needs power, or levels"),
        ('within = "24 h"\n', "", '[[job]]\nname = "evaluate"', "needs a deadline, or within"),
        ('home = "lul-1"', 'home = "lul-2"', 'home = "lul-2"', "Did you mean 'lul-1'"),
        ("speed = 1.8", "speed = 0.5", "[[job]]", "peeds increase strictly"),
        ('step = "30 min"', 'step = "0 s"', 'step = "0 s"', "no length"),
        ('horizon = "48 h"', 'horizon = "47.9 h"', 'horizon = "47.9 h"', "whole number of steps"),
        ('step = "30 min"', 'step = "1 ms"', "horizon", "at most"),
        ('"0.15 EUR/kWh"', '"0.15 USD/kWh"', 'price = "0.15', "Use one currency"),
        ('name = "train"', 'name = "train"\nname = "train"', 'name = "train"\nrelease', "not valid TOML"),
        ("+01:00\n", "\n", "release", "distance from UTC"),
        ("count = 8", "count = 0", "count", "at least 1"),
        ("count = 8", "count = nan", "count", "not a whole number"),
        ("pue = 1.25", "pue = 0.8", "pue", "at least 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_to_write(
    tmp_path: Path, old: str, new: str, marked: str, said: str
):
    text = WHOLE.replace(old, new, 1)
    assert text != WHOLE

    with pytest.raises(ConfigError, match=said) as caught:
        load_jobs(write(tmp_path, text), NOW)

    assert caught.value.line == text[: text.index(marked, text.index("[plan]"))].count("\n") + 1


@pytest.mark.parametrize(
    ("queue", "line", "said"),
    [
        (QUEUE.replace("within", "whithin"), 1, "Did you mean 'within'"),
        (QUEUE.replace(",power", ""), 1, "lacks the column 'power'"),
        (QUEUE.replace("500 W", "lots"), 3, "not a valid power"),
        (QUEUE.replace("12 h", ""), 2, "give the deadline"),
        (QUEUE.replace("fra-1 lul-1", "fra-9"), 2, "the sites are fra-1, lul-1"),
        (QUEUE.replace("2026-12-01T04:00Z", "2026-12-01T04:00"), 2, "distance from UTC"),
        (QUEUE.replace("yes", "perhaps"), 2, "true or false"),
        (QUEUE.replace("90 min", "-90 min"), 2, "above 0"),
        (QUEUE.replace("q2", "q1"), 0, "two jobs are called 'q1'"),
    ],
)
def test_a_bad_row_of_the_queue_is_said_by_its_line(tmp_path: Path, queue: str, line: int, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load_jobs(write(tmp_path, WHOLE, queue), NOW)

    assert caught.value.line == line


def test_a_file_without_jobs_or_that_is_not_there_says_what_to_write(tmp_path: Path):
    with pytest.raises(ConfigError, match="no job in it"):
        load_jobs(write(tmp_path, '[site.a]\nzone = "DE"\n'), NOW)
    with pytest.raises(ConfigError, match="no such file"):
        load_jobs(tmp_path / "none.toml", NOW)
    with pytest.raises(ConfigError, match=r"queue.*no such file|no such file"):
        load_jobs(write(tmp_path, WHOLE.replace("queue.csv", "gone.csv")), NOW)
