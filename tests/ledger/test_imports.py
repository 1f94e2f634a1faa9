"""Foreign records become ours with their own grade, or are refused with a reason. Figures are worked out by hand."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core import Energy, Grade, Interval, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.core.errors import LedgerError, OverlappingScopes, UsageError
from outweigh.ledger.drawn import add_up
from outweigh.ledger.imports import FORMATS, SLURM_JOB, About, guess_format, import_foreign, read_foreign
from outweigh.ports import ReceiptFilter

FILES = Path(__file__).with_name("foreign")
KINDS = {
    "codecarbon.csv": "codecarbon", "zeus_log.csv": "zeus", "zeus.json": "zeus", "zeus_power.csv": "zeus",
    "kepler.json": "kepler", "dcgm.json": "dcgm", "sacct.txt": "sacct", "sacct.json": "sacct", "vllm.json": "vllm",
    "trtllm.json": "trtllm",
}  # fmt: skip
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)  # 1772366400 s
J_PER_KWH = 3_600_000.0


def text(name):
    return (FILES / name).read_text()


def read(name, content=None, **about):
    return read_foreign(text(name) if content is None else content, About(name, **about), KINDS[name])


def joules(receipts):
    return [receipt.total.value.joules for receipt in receipts]


# --- what holds for every format ----------------------------------------------------------------------


def test_every_format_has_a_sample_and_every_sample_a_format():
    assert set(KINDS.values()) == set(FORMATS)
    assert {path.name for path in FILES.iterdir()} == {*KINDS, "README.md"}


@pytest.mark.parametrize("name", KINDS)
def test_a_format_is_known_by_its_content(name):
    assert guess_format(text(name)) == KINDS[name]
    assert guess_format("\ufeff" + text(name)) == KINDS[name]


@pytest.mark.parametrize("name", KINDS)
def test_a_file_read_twice_is_kept_once(store, name):
    about = About(name, ended=NOON)

    new, known, _ = import_foreign(store, text(name), about)
    again = import_foreign(store, text(name), about)

    assert new > 0
    assert known == 0
    assert again[:2] == (0, new)
    assert store.verify() == new


@pytest.mark.parametrize("name", KINDS)
def test_every_figure_has_a_time_a_doubt_and_says_whose_it_is(name):
    for receipt in read(name, ended=NOON).receipts:
        assert receipt.interval.seconds > 0
        assert receipt.total.standard_uncertainty.joules > 0 or receipt.status is RunStatus.UNUSABLE
        assert receipt.total.components[0].source
        assert receipt.meter == f"import:{KINDS[name]}"
        assert "not by outweigh" in receipt.notes[0]
        assert not receipt.grade.at_least(Grade.A)


@pytest.mark.parametrize("name", KINDS)
def test_no_host_is_named(name):
    for receipt in read(name, ended=NOON).receipts:
        assert "alpha" not in json.dumps(receipt.to_dict())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("content", ["", "a letter", "{", "[]", "{}", "[1]", '{"status": "error"}', "a,b\n1,2"])
def test_what_is_no_such_file_is_refused_or_empty_and_never_a_figure(kind, content):
    receipts, refused = (), None
    try:
        receipts = read_foreign(content, About("file"), kind).receipts
    except UsageError as err:
        refused = err

    assert receipts == ()
    assert refused is None or (str(refused).startswith("file") and refused.remedy)


@given(st.sampled_from(FORMATS), st.text(max_size=60))
def test_any_text_is_refused_by_type(kind, content):
    with contextlib.suppress(UsageError):
        read_foreign(content, About("file"), kind)


@pytest.mark.parametrize("name", sorted(KINDS))
@given(data=st.data())
def test_a_file_with_a_stretch_cut_out_is_read_or_refused_by_type(name, data):
    whole = text(name)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    with contextlib.suppress(UsageError):
        read(name, whole[:start] + whole[end:], ended=NOON)


def test_a_format_nobody_knows_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="codecarbon"):
        read_foreign("x", About("file"), "carbontracker")
    with pytest.raises(UsageError, match="no format outweigh imports"):
        read_foreign("nothing like it", About("file"))


def test_the_callers_word_stands_over_the_files():
    receipt = read("codecarbon.csv", project="mine", phase=Phase.TRAINING).receipts[0]

    assert (receipt.project, receipt.phase) == ("mine", Phase.TRAINING)
    assert read("codecarbon.csv").receipts[0].project == "triage"


# --- CodeCarbon ---------------------------------------------------------------------------------------


def test_codecarbon_energy_is_kilowatt_hours_up_to_the_stamp():
    first, second = read("codecarbon.csv").receipts

    assert joules([first, second]) == [0.0625 * J_PER_KWH, 0.1612 * J_PER_KWH]
    assert first.interval.end == NOON
    assert first.interval.seconds == 3600


def test_a_codecarbon_row_of_constants_says_so_and_is_of_the_lowest_grade():
    first, second = read("codecarbon.csv").receipts

    # 42.5 W x 1 h is its CPU energy to the last digit, and memory is a model of its size: nothing was measured.
    assert (first.grade, first.total.method) == (Grade.D, Method.MODELLED)
    assert "100% of its joules are constants" in " ".join(first.notes)
    assert "CPU at 42.5 W all along" in " ".join(first.notes)
    assert (second.grade, second.total.method) == (Grade.C, Method.MODELLED)
    assert "3% of its joules are constants" in " ".join(second.notes)  # 0.005 of 0.1612 kWh


def test_a_codecarbon_stamp_is_the_writers_local_time():
    (first, *_) = read("codecarbon.csv", zone=ZoneInfo("Europe/Paris")).receipts

    assert first.interval.end == NOON - timedelta(hours=1)
    assert "read as Europe/Paris" in " ".join(first.notes)


def test_the_same_file_in_another_time_zone_is_not_doubled(store):
    import_foreign(store, text("codecarbon.csv"), About("file"))

    with pytest.raises(LedgerError, match="other content"):
        import_foreign(store, text("codecarbon.csv"), About("file", zone=ZoneInfo("Europe/Paris")))


def test_a_codecarbon_run_of_no_length_is_left_out():
    assert read("codecarbon.csv").left_out == ("line 4: it lasted no time",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("energy_consumed", "energy_used", "line 1: it has no column energy_consumed"),
        ("0.1612", "much", "line 3: energy_consumed is 'much'"),
        ("0.1612", "-1", "line 3: energy_consumed is '-1'"),
        ("0.1612", "nan", "line 3: energy_consumed is 'nan'"),
        ("2026-03-01T14:00:00", "yesterday", "line 3: timestamp is 'yesterday'"),
        ("2026-03-01T14:00:00", "0026-03-01T14:00:00", "line 3: timestamp"),
    ],
)
def test_a_bad_codecarbon_row_is_refused_by_line_and_nothing_is_kept(store, old, new, said):
    with pytest.raises(UsageError, match=said):
        import_foreign(store, text("codecarbon.csv").replace(old, new), About("file"), "codecarbon")

    assert store.verify() == 0


# --- Zeus ---------------------------------------------------------------------------------------------


def test_a_zeus_log_gives_a_window_a_receipt_with_its_gpus_summed():
    found = read("zeus_log.csv")

    epoch, step = found.receipts
    assert joules(found.receipts) == [2750.0, 0.1]
    assert epoch.interval.start == NOON + timedelta(seconds=0.25)
    assert epoch.interval.seconds == 12.5
    assert (epoch.total.scope, epoch.grade, epoch.total.method) == (Scope.GPU, Grade.B, Method.COUNTER)
    assert epoch.labels == (("window", "epoch"),)
    assert step.status is RunStatus.UNUSABLE  # 0 J on one board in 1 ms
    assert found.left_out == ("line 4: its gpu_energy is negative, so the counter was reset on the way",)


def test_a_zeus_measurement_gives_disjoint_receipts_that_add_up():
    receipts = read("zeus.json").receipts

    assert [(receipt.total.scope, receipt.total.value.joules) for receipt in receipts] == [
        (Scope.GPU, 3000.0), (Scope.PACKAGE, 400.0), (Scope.DRAM, 50.0),
    ]  # fmt: skip
    assert add_up(receipts).energy.joules == 3450.0


def test_a_zeus_measurement_without_a_time_needs_one():
    content = '{"time": 10.0, "gpu_energy": {"0": 5.0}}'

    with pytest.raises(UsageError, match="when it ran"):
        read("zeus.json", content)

    (receipt,) = read("zeus.json", content, ended=NOON).receipts
    assert receipt.interval.end == NOON


def test_a_zeus_trace_is_integrated_by_the_trapezoid_rule():
    (receipt,) = read("zeus_power.csv").receipts

    assert joules([receipt]) == [150.0 + 150.0 + 50.0 + 50.0]
    assert (receipt.total.method, receipt.interval.seconds) == (Method.INTEGRATED, 2.0)


def test_a_zeus_trace_with_a_gap_is_left_out():
    found = read("zeus_power.csv", text("zeus_power.csv").replace("1772366402", "1772366502"))

    assert found.receipts == ()
    assert "gap of 101 s" in found.left_out[0]


def test_a_zeus_trace_out_of_order_is_refused_by_line():
    with pytest.raises(UsageError, match="line 4: its time does not grow"):
        read("zeus_power.csv", text("zeus_power.csv").replace("1772366402", "1772366400"))


# --- Prometheus: Kepler and DCGM ----------------------------------------------------------------------


def test_kepler_node_zones_become_disjoint_receipts_with_the_hum():
    by_scope = {receipt.total.scope: receipt for receipt in read("kepler.json").receipts}
    package, dram, pod = by_scope[Scope.PACKAGE], by_scope[Scope.DRAM], by_scope[Scope.CPU_THREADS]

    assert package.total.value.joules == 3000.0 + 1000.0  # two sockets; active is a part and not added
    assert package.hum.value.joules == 1200.0
    assert package.work.value.joules == 2800.0
    assert [beside.scope for beside in package.overlapping] == [Scope.CORE]
    assert dram.total.value.joules == 20.0 + 60.0  # it started again from 0: a lower bound
    assert "lower bound" in " ".join(dram.notes)
    assert (pod.total.value.joules, pod.grade, pod.total.method) == (600.0, Grade.C, Method.MODELLED)
    assert ("workload", "trainer") in pod.labels


def test_a_kepler_pod_is_never_added_to_its_node():
    receipts = read("kepler.json").receipts

    with pytest.raises(OverlappingScopes):
        add_up(receipts)
    assert add_up([r for r in receipts if r.total.scope is not Scope.CPU_THREADS]).energy.joules == 4080.0


def test_old_kepler_modes_are_added_and_the_idle_one_is_the_hum():
    values = [[1772366400, "0"], [1772366460, "100"]]
    series = [
        {"metric": {"__name__": "kepler_node_package_joules_total", "mode": mode, "instance": "a"}, "values": values}
        for mode in ("dynamic", "idle")
    ]
    content = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})

    (receipt,) = read("kepler.json", content).receipts

    assert receipt.total.value.joules == 200.0
    assert receipt.hum.value.joules == 100.0


def test_dcgm_counters_are_millijoules_under_their_old_name_and_power_is_integrated_where_there_is_none():
    counted, integrated = sorted(read("dcgm.json").receipts, key=lambda receipt: receipt.total.method.value)

    assert (counted.total.value.joules, counted.total.method) == (6000.0, Method.COUNTER)
    assert (integrated.total.value.joules, integrated.total.method) == (15 * 200.0 * 2, Method.INTEGRATED)
    assert dict(counted.versions)["driver"] == "580.1"
    assert add_up([counted, integrated]).energy.joules == 12_000.0  # two boards of one machine


def test_dcgm_counters_are_joules_under_a_name_that_says_so():
    content = text("dcgm.json").replace("TOTAL_ENERGY_CONSUMPTION", "TOTAL_ENERGY_CONSUMPTION_JOULES")
    content = content.replace('"5000000"', '"5000"').replace('"8000000"', '"8000"').replace('"11000000"', '"11000"')

    assert 6000.0 in joules(read("dcgm.json", content).receipts)


@pytest.mark.parametrize("gauge", [True, False])
def test_a_dcgm_unit_that_is_not_the_names_is_refused(gauge):
    content = text("dcgm.json").replace("TOTAL_ENERGY_CONSUMPTION", "TOTAL_ENERGY_CONSUMPTION_JOULES")
    if not gauge:
        content = content.replace("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_SM_CLOCK")

    with pytest.raises(UsageError, match=r"would mean 2e\+05 W"):
        read("dcgm.json", content)


def test_a_dcgm_counter_of_joules_under_the_old_name_is_found_by_the_gauge():
    content = text("dcgm.json").replace('"5000000"', '"5000"').replace('"8000000"', '"8000"')

    with pytest.raises(UsageError, match="beside a gauge of 200 W"):
        read("dcgm.json", content.replace('"11000000"', '"11000"'))


def test_a_power_trace_with_missing_scrapes_is_left_out():
    values = [[1772366400 + t, "100"] for t in (*range(0, 60, 15), *range(600, 660, 15))]
    series = [{"metric": {"__name__": "DCGM_FI_DEV_POWER_USAGE", "UUID": "GPU-a"}, "values": values}]
    content = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})

    found = read("dcgm.json", content)

    assert found.receipts == ()
    assert "gap of 555 s" in found.left_out[0]


def test_several_answers_may_stand_one_a_line():
    one = json.dumps(json.loads(text("dcgm.json")))

    assert len(read("dcgm.json", f"{one}\n{one}\n").receipts) == 2


def test_an_instant_query_is_refused_with_the_range_query_to_make():
    with pytest.raises(UsageError, match="query_range"):
        read("kepler.json", '{"status": "success", "data": {"resultType": "vector", "result": []}}')


# --- Slurm --------------------------------------------------------------------------------------------


def test_sacct_steps_that_hold_the_same_joules_are_never_added():
    found = read("sacct.txt")

    assert {dict(receipt.labels)["job"]: receipt.total.value.joules for receipt in found.receipts} == {
        "100": 720_000.0,  # the job's own, not its steps on top
        "101": 300_000.0,  # only batch has one
        "102": 3_000.0,  # two steps, one after the other
        "103": 5_000.0,  # two steps side by side: the larger
    }
    assert [said.split(":")[0] for said in found.left_out] == ["job 104", "job 105"]
    assert "AcctGatherEnergyType" in found.left_out[0]


def test_sacct_of_a_job_that_outweigh_run_followed_is_not_counted_again(store):
    ran = Interval(datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 11, tzinfo=UTC))
    long_ago = Interval(datetime(2025, 3, 1, 10, tzinfo=UTC), datetime(2025, 3, 1, 11, tzinfo=UTC))

    def followed(job, interval, status=RunStatus.COMPLETED):
        total = Measurement(Energy(1e6), interval, Scope.NODE, Grade.D, Method.DECLARED, "made up")
        return Receipt(f"run-{job}", "made-up", Phase.TRAINING, status, total, None, None, labels=((SLURM_JOB, job),))

    address = store.append(followed("100", ran))
    store.append(followed("101", ran, RunStatus.UNUSABLE))  # of which nothing is counted
    store.append(followed("102", long_ago))  # another job of that number

    new, known, left_out = import_foreign(store, text("sacct.txt"), About("file"))

    assert (new, known) == (3, 0)
    assert f"job 100: receipt {address[:12]} of `outweigh run` has its energy" in left_out


def test_sacct_states_and_exit_codes_are_taken_over():
    by_job = {dict(receipt.labels)["job"]: receipt for receipt in read("sacct.txt").receipts}

    assert [by_job[job].status for job in ("100", "101", "102")] == [
        RunStatus.COMPLETED, RunStatus.INTERRUPTED, RunStatus.FAILED,
    ]  # fmt: skip
    assert by_job["102"].exit_code == 1
    assert by_job["100"].interval.seconds == 3600


def test_what_slurm_saw_is_not_guessed():
    unknown, rapl = (read("sacct.txt", plugin=plugin).receipts[0] for plugin in ("", "rapl"))

    assert (unknown.total.scope, unknown.grade) == (Scope.NODE, Grade.C)
    assert (rapl.total.scope, rapl.grade) == (Scope.PACKAGE, Grade.B)
    with pytest.raises(UsageError, match="no energy plugin"):
        read("sacct.txt", plugin="crystal-ball")


def test_two_jobs_on_one_node_are_charged_with_it_once_together():
    hour = "2026-03-01T10:00:00|2026-03-01T11:00:00"
    rows = (
        "JobID|State|Start|End|ConsumedEnergyRaw|NodeList|AllocCPUS",
        f"1|COMPLETED|{hour}|360000|n1|2",
        f"2|COMPLETED|{hour}|360000|n1|6",
        f"3|COMPLETED|{hour}|720000|n[2-3]|16",  # alone on its nodes
        "4|COMPLETED|2026-03-01T11:00:00|2026-03-01T12:00:00|360000|n1|2",  # after them
    )
    by_job = {dict(receipt.labels)["job"]: receipt for receipt in read("sacct.txt", "\n".join(rows)).receipts}

    assert {job: receipt.total.value.joules for job, receipt in by_job.items()} == {
        "1": 90_000.0, "2": 270_000.0, "3": 720_000.0, "4": 360_000.0,
    }  # fmt: skip
    assert [by_job[job].total.method for job in "123"] == [Method.MODELLED, Method.MODELLED, Method.INTEGRATED]
    assert by_job["1"].grade is Grade.C
    assert any("360000 J" in note for note in by_job["1"].notes)


def test_a_job_is_charged_with_its_part_for_as_long_as_another_was_there():
    rows = (
        "JobID|State|Start|End|ConsumedEnergyRaw|NodeList|AllocCPUS",
        "1|COMPLETED|2026-03-01T10:00:00|2026-03-01T12:00:00|720000|n1|4",
        "2|COMPLETED|2026-03-01T11:00:00|2026-03-01T12:00:00|360000|n1|4",
    )
    joules = [receipt.total.value.joules for receipt in read("sacct.txt", "\n".join(rows)).receipts]

    assert joules == pytest.approx([360_000.0 + 180_000.0, 180_000.0])  # 100 W: an hour alone, an hour of halves


def test_sacct_json_gives_a_job_its_batch_steps_energy():
    found = read("sacct.json")

    (receipt,) = found.receipts
    assert receipt.total.value.joules == 360_000.0
    assert receipt.interval.start == NOON
    assert found.left_out == ("job 201: no energy was recorded (is AcctGatherEnergyType set?)",)


def test_parsable_with_its_bar_at_the_end_reads_the_same():
    content = "".join(f"{line}|\n" for line in text("sacct.txt").splitlines())

    assert read("sacct.txt", content).receipts == read("sacct.txt").receipts


def test_sacct_without_its_energy_column_is_refused():
    with pytest.raises(UsageError, match="no column ConsumedEnergyRaw"):
        read("sacct.txt", text("sacct.txt").replace("ConsumedEnergyRaw", "ConsumedEnergy"))


# --- serving benchmarks -------------------------------------------------------------------------------


def test_a_vllm_result_is_energy_of_whole_boards_for_requests():
    (receipt,) = read("vllm.json").receipts

    assert (receipt.total.value.joules, receipt.interval.seconds) == (25_000.0, 50.0)
    assert receipt.interval.end == NOON
    assert (receipt.units, receipt.unit, receipt.variant) == (100.0, "request", "synthetic/model")
    assert (receipt.grade, receipt.total.method) == (Grade.B, Method.COUNTER)


def test_a_trtllm_report_needs_to_be_told_when():
    with pytest.raises(UsageError, match="when it ran"):
        read("trtllm.json")

    (receipt,) = read("trtllm.json", ended=NOON).receipts
    assert (receipt.total.value.joules, receipt.interval.seconds) == (24_000.0, 40.0)
    assert dict(receipt.versions)["tensorrt-llm"] == "1.3.0"


def test_a_trtllm_figure_of_several_nodes_is_scaled_up_and_so_modelled():
    content = text("trtllm.json").replace('"world_size": 2', '"world_size": 16')

    (receipt,) = read("trtllm.json", content, ended=NOON).receipts

    assert (receipt.grade, receipt.total.method) == (Grade.C, Method.MODELLED)


@pytest.mark.parametrize(("name", "key"), [("vllm.json", '"gpu_energy_j"'), ("trtllm.json", '"total_energy_j"')])
def test_a_benchmark_without_energy_is_no_receipt(name, key):
    with pytest.raises(UsageError, match="outweigh measure --"):
        read(name, text(name).replace(key, '"something_else"'), ended=NOON)


def test_what_was_imported_is_listed_with_its_grade(store):
    import_foreign(store, text("vllm.json"), About("vllm.json", project="mine"))

    ((_, receipt),) = store.receipts(ReceiptFilter(project="mine"))
    assert receipt.grade is Grade.B
