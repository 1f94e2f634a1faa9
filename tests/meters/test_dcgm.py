"""dcgm-exporter: its page in the recorded shape, played by a real HTTP server. No test machine runs the exporter."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.dcgm import DcgmMeter, read_page, unit_of
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Method
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
page, serving = further.dcgm_page, further.serving

# Fields 156 and 1611 of DCGM 4.7. The help text that 4.9.0 gives the new one was not at hand: its name says enough.
OLD, NEW = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL"


def reading(text, query=""):
    with serving(lambda *_: (200, text)) as address:
        meter = DcgmMeter(f"{address}/metrics{query}")
        meter.open()
        return meter, meter.read().values


def test_millijoules_of_releases_before_4_9_become_joules():
    meter, values = reading(page([4_742_776], [16.365]))
    assert values == (4742.776, 16.365)
    assert [c.counted for c in meter.channels] == [True, False]
    assert "[mJ]" in meter.source


@pytest.mark.parametrize(
    ("name", "said", "joules"),
    [
        (OLD, "Total energy consumption since boot (in J).", 5000.0),
        (NEW, "Total energy consumption since the driver was loaded.", 5000.0),
        (NEW, "Total energy consumption in joules.", 5000.0),
        (OLD, "Energy mJ", 5.0),
    ],
)
def test_the_unit_is_what_the_metric_says_of_itself(name, said, joules):
    assert reading(page([5000], [16.0], name, said))[1][0] == joules


@pytest.mark.parametrize(("name", "said"), [(OLD, "Total energy."), (OLD, ""), (NEW, "Total energy (in mJ).")])
def test_a_unit_that_is_not_said_or_contradicts_itself_is_refused_until_it_is_given(name, said):
    with pytest.raises(MeterUnavailable) as caught:
        unit_of(name, said)
    assert "unit=mJ" in caught.value.remedy
    assert reading(page([5000], [16.0], name, said), "?unit=mJ")[1][0] == 5.0


@pytest.mark.parametrize(("watts", "status"), [(16, "completed"), (300, "unusable")])
def test_a_unit_given_wrongly_cannot_pass_unseen(watts, status):
    clock = FakeClock()

    def answer(*_):
        return 200, page([round(1e3 * watts * clock.monotonic_s())], [watts])

    with serving(answer) as address:
        meter = DcgmMeter(f"{address}/metrics?unit=J&every=1", now=clock.monotonic_s)
        with MeterSession(meter, clock) as session, session.window() as window:
            clock.sleep(20.0)
    assert window.reading.status == status
    assert window.reading.total.grade > "B"
    assert any("sensors disagree" in note or "is more than" in note for note in window.reading.notes)


def test_the_step_of_a_counter_is_one_of_its_units():
    assert reading(page([5_000_000], [16.0]))[0].channels[0].resolution == pytest.approx(1e-3)
    assert reading(page([5_000], [16.0], NEW, ""))[0].channels[0].resolution == 1.0


def test_power_is_found_under_its_old_and_its_new_name():
    renamed = page([5_000], [16.0], NEW, "").replace("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS")
    assert reading(renamed)[1] == (5000.0, 16.0)


def test_where_both_names_are_there_the_one_that_says_its_unit_is_read():
    both = page([5_000_000], [16.0]) + page([5_000], [], NEW, "Total energy.")
    meter, values = reading(both)
    assert values[0] == 5000.0
    assert NEW in meter.source


def test_rows_of_instances_repeat_the_card_which_is_counted_once():
    row = page([257_858_316], [55.0])
    instances = row.replace("modelName", 'GPU_I_PROFILE="2g.20gb",GPU_I_ID="3",modelName')
    again = instances.splitlines()[-1].replace('GPU_I_ID="3"', 'GPU_I_ID="5"')
    meter, values = reading(instances + again + "\n")
    assert values == (257858.316, 55.0)
    assert any("whole card" in note for note in meter.notes)


def test_boards_can_be_picked_by_index_and_uuid_and_unknown_ones_are_an_error():
    text = page([1000, 2000], [10.0, 20.0])
    assert reading(text, "?gpu=1")[1] == (2.0, 20.0)
    assert reading(text, "?gpu=GPU-c2f76b33-0000-0000-0000-000000000000")[1] == (1.0, 10.0)
    with pytest.raises(MeterUnavailable, match="no such board"):
        reading(text, "?gpu=7")


def test_a_page_with_power_only_is_integrated():
    text = "\n".join(page([], [42.0]).splitlines()[:3])
    meter, values = reading(text)
    assert values == (42.0,)
    assert meter.method is Method.INTEGRATED


def test_an_exporter_exchanged_during_a_run_is_not_read_on():
    now, said = [0.0], ["Total energy (in mJ)."]
    with serving(lambda *_: (200, page([5000], [16.0], OLD, said[0]))) as address:
        meter = DcgmMeter(f"{address}/metrics", now=lambda: now[0])
        meter.open()
        now[0], said[0] = 60.0, "Total energy (in J)."
        with pytest.raises(MeterUnavailable, match="exchanged meanwhile"):
            meter.read()


def test_values_that_are_no_numbers_are_no_readings():
    assert read_page(page(["NaN"], [float("inf")])).energy == {}


@pytest.mark.parametrize(("status", "text"), [(200, "up 1\n"), (500, ""), (200, "<html></html>")])
def test_another_page_is_said_to_be_one(status, text):
    with serving(lambda *_: (status, text)) as address, pytest.raises(MeterUnavailable) as caught:
        DcgmMeter(f"{address}/metrics").open()
    assert caught.value.remedy


@pytest.mark.parametrize("query", ["?evry=1", "?every=soon", "?every=0", "?unit=kWh"])
def test_parameters_that_mean_nothing_are_refused(query):
    with pytest.raises(MeterUnavailable):
        reading(page([1], [1.0]), query)
