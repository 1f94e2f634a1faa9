"""A fleet out of what is scraped already, and `outweigh ledger fleet`. Figures here are invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("duckdb")

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.fleet.incoming import read_prometheus
from outweigh.ledger.imports import About

FOREIGN = Path(__file__).parent / "foreign"
AT = 1_772_366_400  # a whole minute
ABOUT = About("power.json")


def answer(*found):
    """Each (name, labels, [(seconds after AT, value)])."""
    result = [
        {"metric": {"__name__": name, **labels}, "values": [[AT + at, str(value)] for at, value in values]}
        for name, labels, values in found
    ]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def table(minutes):
    names = [[labels.names[code] for code in labels.codes] for labels in (minutes.node, minutes.owner, minutes.site)]
    return list(zip((minutes.t_s - AT).tolist(), *names, minutes.power_w.tolist(), strict=True))


def test_a_gauge_is_averaged_over_each_minute_and_a_silent_minute_is_missing():
    text = answer(
        ("ipmi_dcmi_power_consumption_watts", {"instance": "n1"}, [(0, 100), (30, 300), (60, 400), (185, 500)])
    )
    minutes, how, _ = read_prometheus(text, ABOUT, site="fra")

    assert table(minutes) == [(0, "n1", "unknown", "fra", 200), (60, "n1", "unknown", "fra", 400),
                              (180, "n1", "unknown", "fra", 500)]  # fmt: skip
    assert (how.scope, how.grade, how.method, how.synthetic) == (Scope.NODE, Grade.B, Method.INTEGRATED, False)


def test_a_counter_is_divided_over_the_minutes_it_was_read_around_and_nothing_bridges_a_restart():
    text = answer(
        ("kepler_node_cpu_joules_total", {"node_name": "n1", "zone": "package-0"},
         [(0, 0), (60, 6_000), (120, 18_000), (150, 0), (180, 3_000), (240, 9_000)]),
        ("kepler_node_cpu_joules_total", {"node_name": "n1", "zone": "package-1"}, [(-30, 0), (270, 6_000)]),
        ("kepler_node_cpu_joules_total", {"node_name": "n1", "zone": "dram"}, [(0, 0), (240, 900)]),
    )  # fmt: skip
    minutes, how, left_out = read_prometheus(text, ABOUT)

    # 100 and 200 W of the one package, 100 W after its restart; 20 W of the other.
    assert [(at, power) for at, *_, power in table(minutes)] == [(0, 120), (60, 220), (180, 120)]
    assert (how.scope, how.method) == (Scope.PACKAGE, Method.COUNTER)
    assert any("dram" in sentence for sentence in left_out)


def test_a_board_is_a_unit_with_its_own_owner_and_how_busy_it_was():
    board = {"Hostname": "n1", "gpu": "0", "UUID": "GPU-a"}
    text = answer(
        ("DCGM_FI_DEV_POWER_USAGE", {**board, "namespace": "ann"}, [(0, 300), (30, 300)]),
        ("DCGM_FI_DEV_POWER_USAGE", {"Hostname": "n1", "gpu": "1"}, [(0, 70), (30, 70)]),
        ("DCGM_FI_DEV_GPU_UTIL", board, [(0, 90), (30, 70)]),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", {"Hostname": "n1", "gpu": "1"}, [(0, 0.0), (30, 0.02)]),
    )
    minutes, how, _ = read_prometheus(text, ABOUT, owner_labels=["pod_owner", "namespace"])

    assert table(minutes) == [(0, "n1/gpu0", "ann", "", 300), (0, "n1/gpu1", "", "", 70)]
    assert minutes.busy.tolist() == pytest.approx([0.8, 0.01])
    assert minutes.gpus.tolist() == [1, 1]
    assert (how.scope, how.doubt) == (Scope.GPU, 0.05)


def test_a_board_scraped_under_two_owners_belongs_to_both_and_is_counted_once():
    board = {"Hostname": "n1", "gpu": "0"}
    text = answer(
        *(("DCGM_FI_DEV_POWER_USAGE", {**board, "namespace": name}, [(0, 300), (30, 300)]) for name in ("bob", "ann"))
    )
    minutes, *_ = read_prometheus(text, ABOUT, owner_labels=["namespace"])

    assert table(minutes) == [(0, "n1/gpu0", "ann + bob", "", 300)]


def test_a_coarse_query_says_what_to_ask_instead():
    text = answer(("ipmi_dcmi_power_consumption_watts", {"node": "n1"}, [(at, 100) for at in range(0, 3_000, 300)]))
    minutes, _, left_out = read_prometheus(text, ABOUT)

    assert len(minutes) == 10
    assert any("step=60" in sentence for sentence in left_out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "power.json"),
        ("{", "power.json"),
        (answer(("up", {}, [(0, 1), (60, 1)])), "Query one of"),
        (answer(("DCGM_FI_DEV_POWER_USAGE", {"gpu": "0"}, [(0, 3e5), (60, 3e5)])), "unit"),
        (answer(("kepler_node_cpu_joules_total", {"zone": "package"}, [(0, 0), (50, 1)])), "read whole"),
        (answer(("kepler_node_cpu_joules_total", {"zone": "core"}, [(0, 0), (500, 1)])), "read whole"),
    ],
)
def test_what_is_no_answer_or_has_no_power_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        read_prometheus(text, ABOUT)


def test_a_metric_of_unknown_unit_is_refused():
    with pytest.raises(UsageError, match="unit"):
        read_prometheus(answer(), ABOUT, metric="my_power")


# --- the verb ---------------------------------------------------------------------------------------------


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = outweigh(["ledger", "fleet", *arguments])
        return Done(code, *capsys.readouterr())

    return call


def test_a_fleet_is_imported_shown_and_imported_again_without_doubling(run, tmp_path):
    (tmp_path / "power.json").write_text(
        answer(("ipmi_dcmi_power_consumption_watts", {"node": "n1", "team": "ann"},
                [(60 * at, 100) for at in range(40)]))
    )  # fmt: skip
    for _ in range(2):
        done = run("import", "power.json", "--owner-label", "team", "--site", "fra", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["samples"] == 40
    (row,) = map(json.loads, run("show", "--json").stdout.splitlines())

    assert (row["nodes"], row["samples"], row["sites"], row["owners"]) == (1, 40, ["fra"], ["ann"])
    assert (row["power_w"], row["grade"], row["coverage"], row["synthetic"]) == (100.0, "B", 1.0, False)
    assert (tmp_path / ".outweigh" / "fleet").is_dir()


def test_a_made_up_fleet_is_shown_and_says_that_it_is(run):
    assert run("synthetic", "made", "--servers", "3", "--days", "1").exit_code == 0
    for arguments in (("show",), ("hum", "--days", "0.5"), ("nodes", "--by", "peak", "--limit", "2")):
        done = run(*arguments, "--folder", "made")
        assert done.exit_code == 0, done.stderr
        assert "made up" in done.stderr
        rows = [json.loads(line) for line in run(*arguments, "--folder", "made", "--json").stdout.splitlines()]
        assert rows
        assert all(row["synthetic"] and row["grade"] == "D" for row in rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",),
        ("hum", "--folder", "nowhere"),
        ("hum", "--folder", "made", "--days", "nan"),
        ("hum", "--folder", "made", "--days", "-1"),
        ("hum", "--folder", "made", "--site", "x"),
        ("nodes", "--folder", "made", "--owner", "x"),
        ("nodes", "--folder", "made", "--limit", "0"),
        ("synthetic", "made"),
        ("synthetic", "other", "--servers", "1000000"),
        ("synthetic", "other", "--start", "yesterday"),
        ("synthetic", "other", "--start", "1900-01-01"),
        ("import", "missing.json"),
        ("import", "text.json"),
        ("import", "bytes.json"),
    ],
)
def test_bad_input_ends_with_2_and_a_word(run, tmp_path, arguments):
    run("synthetic", "made", "--servers", "1", "--days", "1")
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")

    done = run(*arguments)

    assert done.exit_code == 2
    assert done.stderr.strip()
