import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.compare.perunit import Facility, energy_per_unit, hum_share_j
from outweigh.core.constants import S_PER_MONTH
from outweigh.core.errors import InvalidQuantity, UnusableMeasurement
from outweigh.core.project import Serving


def facility(pue=1.0, utilisation=1.0, min_replicas=0.0, threads=1, volume=1e6, horizon=12.0, threads_total=4):
    return Facility(pue, Serving(utilisation, min_replicas, threads), volume, horizon, threads_total)


def test_energy_per_unit_by_hand():
    # One thread of four, half busy, a hum of 40 W: 0.2 s of service a unit reserve 0.4 s of a 10 W share = 4 J.
    # Work 100 J over 50 units = 2 J. PUE 1.5 on both: 3 + 6. Training 12 MJ over 12 million units: 1 J.
    per_unit = energy_per_unit(
        np.array([100.0]),
        np.array([50.0]),
        np.array([10.0]),
        hum_w=40.0,
        amortised_j=12e6,
        facility=facility(pue=1.5, utilisation=0.5),
    )

    assert per_unit.work_j == pytest.approx([3.0])
    assert per_unit.hum_j == pytest.approx([6.0])
    assert per_unit.amortised_j == pytest.approx(1.0)
    assert per_unit.energy_j == pytest.approx([10.0])


def test_replicas_that_are_always_on_set_a_floor_under_the_hum():
    # Two replicas at a tenth of the unit's share each second of the month, over the units of the month.
    idle = facility(min_replicas=2, volume=1e5)
    floor = 10.0 * 2 * S_PER_MONTH / 1e5

    assert hum_share_j(np.array([0.001]), 40.0, idle) == pytest.approx([floor])
    assert hum_share_j(np.array([1e6]), 40.0, idle) == pytest.approx([10.0 * 1e6])


positive = st.floats(1e-3, 1e4)


@given(positive, positive, positive, positive, st.floats(1, 3))
def test_energy_per_unit_is_the_sum_of_its_parts_and_grows_with_pue(work_j, service_s, hum_w, amortised_j, pue):
    rounds = (np.array([work_j]), np.array([10.0]), np.array([service_s]))
    here = energy_per_unit(*rounds, hum_w=hum_w, amortised_j=amortised_j, facility=facility(pue=pue))
    ideal = energy_per_unit(*rounds, hum_w=hum_w, amortised_j=amortised_j, facility=facility())

    assert here.energy_j == pytest.approx(here.work_j + here.hum_j + here.amortised_j)
    assert here.work_j + here.hum_j == pytest.approx(pue * (ideal.work_j + ideal.hum_j))
    assert here.amortised_j == ideal.amortised_j


@given(st.integers(2, 40), positive)
def test_serving_the_same_round_twice_as_long_does_not_change_the_energy_of_a_unit(units, service_s):
    short = hum_share_j(np.array([service_s]) / units, 30.0, facility())
    long = hum_share_j(np.array([2 * service_s]) / (2 * units), 30.0, facility())
    assert short == pytest.approx(long)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pue": 0.9},
        {"pue": float("nan")},
        {"utilisation": 0.0},
        {"utilisation": 1.5},
        {"min_replicas": -1},
        {"threads": 0},
        {"threads": 5},
        {"volume": 0.0},
        {"horizon": -1.0},
    ],
)
def test_an_impossible_facility_is_refused(wrong):
    with pytest.raises(InvalidQuantity) as caught:
        facility(**wrong)
    assert caught.value.remedy


def test_a_round_that_delivered_nothing_has_no_energy_per_unit():
    one = np.array([1.0])
    with pytest.raises(UnusableMeasurement, match="delivered nothing"):
        energy_per_unit(one, np.array([0.0]), one, hum_w=1.0, amortised_j=0.0, facility=facility())
