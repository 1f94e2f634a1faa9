"""What a fleet answers, beside the same worked out the long way from the samples; and the made-up fleet."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("duckdb")

from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Method
from outweigh.ledger.fleet import Fleet, append_minutes, synthetic

_SPEC = importlib.util.spec_from_file_location("fleeting", Path(__file__).with_name("fleeting.py"))
fleeting = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fleeting)
keep, rows, stretch, window = fleeting.keep, fleeting.rows, fleeting.stretch, fleeting.window
START, START_S = fleeting.START, fleeting.START_S
SHAPE = synthetic.Shape(((9, 16), (5, 18)), days=2, start=START, seed=7)


@pytest.fixture(scope="module")
def made():
    """The samples of a small made-up fleet, as arrays."""
    days = list(synthetic.days(SHAPE))

    def joined(name):
        parts = [getattr(day, name) for day in days]
        if name in ("node", "owner", "site"):
            return np.concatenate([np.array(part.names, dtype=object)[part.codes] for part in parts])
        return np.concatenate(parts).astype(float)

    return {name: joined(name) for name in ("t_s", "node", "owner", "site", "power_w", "gpus", "busy")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    synthetic.make(folder, SHAPE)
    with Fleet(folder, threads=1) as opened:
        yield opened


def chosen(made, of, **equal):
    start_s, end_s = of.start.timestamp(), of.end.timestamp()
    rows = (made["t_s"] >= start_s) & (made["t_s"] < end_s)
    for name, value in equal.items():
        rows &= made[name] == value
    return rows


@pytest.mark.parametrize("points", [1_000, 200, 37, 5, 2])
@pytest.mark.parametrize("of", [window(0, 2_880), window(17, 1_500)])
@pytest.mark.parametrize("asked", [{}, {"site": "fra-1"}, {"owner": "research"}, {"owner": "", "site": "lul-1"}])
def test_power_over_time_keeps_every_peak_and_the_mean(fleet, made, asked, of, points):
    found = fleet.power(of, points=points, **asked)

    rows = chosen(made, of, **asked)
    minute = ((made["t_s"] - START_S) // 60).astype(int)
    sums = np.bincount(minute[rows], weights=made["power_w"][rows], minlength=2_880)
    start, end = ((int(stamp.timestamp()) - START_S) // 60 for stamp in (of.start, of.end))
    assert len(found.t_s) <= points
    assert found.max_w.max() == pytest.approx(sums[start:end].max())
    for at, first_s in enumerate(found.t_s.tolist()):
        first = max(start, (first_s - START_S) // 60)
        last = min(end, (first_s - START_S + found.step_s) // 60)
        assert found.mean_w[at] == pytest.approx(sums[first:last].mean())
        assert found.min_w[at] == pytest.approx(sums[first:last].min())
        assert found.max_w[at] == pytest.approx(sums[first:last].max())


@pytest.mark.parametrize("points", [1_000, 30])
def test_a_nodes_power_is_the_same_from_minutes_and_from_hours(fleet, made, points):
    of, node = window(60, 2_400), "gpu16-0002"
    found = fleet.power(of, node=node, points=points)

    rows = chosen(made, of, node=node)
    step = (made["t_s"][rows].astype(int) - int(found.t_s[0])) // found.step_s
    for at in range(len(found.t_s)):
        powers = made["power_w"][rows][step == at]
        assert found.nodes[at] == pytest.approx(1 if len(powers) else np.nan, nan_ok=True)
        if len(powers):
            assert (found.min_w[at], found.mean_w[at], found.max_w[at]) == pytest.approx(
                (powers.min(), powers.mean(), powers.max())
            )
    assert (found.hum_w + found.unsplit_w <= found.mean_w + 1e-6)[~np.isnan(found.mean_w)].all()


def test_the_top_nodes_are_those_with_the_most(fleet, made):
    of = window(120, 1_200)
    rows = chosen(made, of)
    energy_j = {node: 60 * made["power_w"][rows & (made["node"] == node)].sum() for node in sorted(set(made["node"]))}
    peak_w = {node: made["power_w"][rows & (made["node"] == node)].max() for node in energy_j}

    by_energy = fleet.top_nodes(of, by="energy", limit=4)
    by_peak = fleet.top_nodes(of, by="peak", limit=1)

    assert list(by_energy.nodes) == sorted(energy_j, key=lambda node: -energy_j[node])[:4]
    assert by_energy.split.energy_j.tolist() == pytest.approx([energy_j[node] for node in by_energy.nodes])
    assert by_energy.total_nodes == 14
    assert by_energy.known.coverage.read == int(rows.sum())
    assert by_peak.max_w[0] == max(peak_w.values())


def test_hum_of_nodes_and_of_owners_and_of_days_are_the_same_energy(fleet):
    of = window(0, 2_880)
    owners, nodes = fleet.hum_by_owner(of).split, fleet.top_nodes(of, limit=100).split
    days, months = fleet.used_by_day(of).split, fleet.used_by_month(of).split
    power = fleet.power(of, points=50)

    for part in ("energy_j", "hum_j", "hum_low_j", "hum_high_j", "unsplit_j"):
        whole = pytest.approx(float(getattr(owners, part).sum()))
        assert [float(getattr(split, part).sum()) for split in (nodes, days, months)] == [whole] * 3
    assert float((power.hum_w * power.step_s).sum()) == pytest.approx(float(owners.hum_j.sum()), rel=2e-3)


def test_sites_add_up_to_the_fleet(fleet):
    of = window(77, 2_000)
    whole = fleet.hum_by_owner(of)
    parts = [fleet.hum_by_owner(of, site=site) for site in fleet.state().sites]

    assert sum(float(part.split.hum_j.sum()) for part in parts) == pytest.approx(float(whole.split.hum_j.sum()))
    assert sum(part.known.coverage.read for part in parts) == whole.known.coverage.read
    assert sum(part.known.coverage.expected for part in parts) == whole.known.coverage.expected


def test_a_trace_is_the_nodes_own_minutes(fleet, made):
    of, node = window(600, 1_440), "gpu18-0010"
    found = fleet.trace(node, of)

    rows = chosen(made, of, node=node)
    read = ~np.isnan(found.power_w)
    assert len(found.t_s) == 1_440
    assert found.t_s[read].tolist() == sorted(made["t_s"][rows])
    order = np.argsort(made["t_s"][rows])
    assert found.power_w[read].tolist() == made["power_w"][rows][order].tolist()
    assert found.busy[read].tolist() == pytest.approx(made["busy"][rows][order].tolist())
    assert [name for name in found.owners if name is not None] == made["owner"][rows][order].tolist()
    assert found.gpus == 18
    assert (found.hum_w <= found.power_w)[read & ~np.isnan(found.hum_w)].all()


def test_what_was_used_is_told_by_the_month_it_was_used_in(tmp_path):
    keep(tmp_path, *stretch("a", "ann", -60, 60, 100.0, 0.0), *stretch("a", "bob", 0, 120, 200.0, 0.0))
    with Fleet(tmp_path) as fleet:
        found = fleet.used_by_month(Interval(START - timedelta(days=400), START + timedelta(days=400)))
        days = fleet.used_by_day(window(0, 10))

    assert found.periods == ("2026-10", "2026-11")
    assert found.owners == ("ann", "bob")
    assert found.split.energy_j == pytest.approx(np.array([[60 * 60 * 100.0, 0.0], [0.0, 120 * 60 * 200.0]]))
    assert [(each.read, each.expected) for each in found.coverages] == [(60, 60), (120, 120)]
    assert days.periods == ("2026-11-01",)
    assert days.split.energy_j == pytest.approx(np.array([[120 * 60 * 200.0]]))  # the whole day, as it says
    assert days.known.window == window()


def test_the_latest_minute_is_told_by_owner(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0), *stretch("b", "bob", 20, 41, 300.0, 0.9))
    with Fleet(tmp_path) as fleet:
        found = fleet.latest()

    assert found.known.window == window(60, 1)
    assert (found.owners, found.power_w.tolist(), found.nodes.tolist()) == (("bob",), [300.0], [1])
    assert found.unsplit_w.tolist() == [300.0]


@pytest.mark.parametrize("start", [datetime(1901, 1, 1, tzinfo=UTC), datetime(2150, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("days", [0, 1e-5, 30, 20_000])
def test_a_window_without_samples_is_answered_with_nothing(fleet, start, days):
    of = Interval(start, start + timedelta(days=days))
    assert fleet.hum_by_owner(of).owners == ()
    assert np.isnan(fleet.power(of).mean_w).all()
    assert np.isnan(fleet.power(of, owner="research", site="fra-1").mean_w).all()
    assert np.isnan(fleet.power(of, node="gpu16-0002").mean_w).all()
    assert fleet.top_nodes(of).nodes == ()
    assert fleet.used_by_month(of).periods == ()
    if days <= 7:
        assert np.isnan(fleet.trace("gpu16-0002", of).power_w).all()


def test_a_window_as_long_as_the_calendar_has_all_there_is(fleet):
    of = Interval(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    rows = fleet.state().rows

    assert fleet.hum_by_owner(of).known.coverage.read == rows
    assert fleet.power(of).known.coverage.read == rows
    assert fleet.power(of, node="gpu16-0002", points=2).known.coverage.read > 0
    assert fleet.top_nodes(of).known.coverage.read == rows
    assert fleet.used_by_day(of).known.coverage.read == rows


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda fleet: fleet.hum_by_owner(window(), site="fra1"), "'fra-1'"),
        (lambda fleet: fleet.power(window(), owner="reserch"), "'research'"),
        (lambda fleet: fleet.power(window(), node="gpu16-9999"), "gpu16-"),
        (lambda fleet: fleet.power(window(), node="gpu16-0002", owner=""), "one of them"),
        (lambda fleet: fleet.power(window(), points=1), "2 to"),
        (lambda fleet: fleet.power(window(), points=10**9), "2 to"),
        (lambda fleet: fleet.top_nodes(window(), by="colour"), "hum, energy"),
        (lambda fleet: fleet.top_nodes(window(), limit=0), "1 or more"),
        (lambda fleet: fleet.trace("gpu16-0002", window(0, 8 * 1_440)), "a week or less"),
        (lambda fleet: fleet.trace("", window()), "no node"),
        (lambda fleet: fleet.used_by_day(window(), site="?"), "no site"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_can(fleet, ask, said):
    with pytest.raises(UsageError, match=said):
        ask(fleet)


def test_a_node_of_two_hours_is_shown_minute_by_minute_and_one_of_a_month_by_the_hour(fleet):
    assert fleet.power(window(0, 120)).step_s == 60
    assert fleet.power(window(0, 30 * 1_440)).step_s == 3_600
    assert fleet.power(window(0, 10 * 365 * 1_440)).step_s == 4 * 86_400


# --- made up ------------------------------------------------------------------------------------------------


def test_ten_thousand_accelerators_are_600_servers_and_26_million_minutes_in_30_days():
    assert synthetic.TEN_THOUSAND.gpus == 10_000
    assert synthetic.TEN_THOUSAND.nodes == 600
    assert synthetic.TEN_THOUSAND.nodes * synthetic.TEN_THOUSAND.days * 1_440 == 25_920_000


def test_the_same_seed_makes_the_same_samples_and_another_makes_others():
    one, same = (synthetic.days(synthetic.SMALL)[1] for _ in range(2))
    other = synthetic.days(synthetic.Shape(synthetic.SMALL.servers, days=2, seed=2))[1]

    assert one.power_w.tolist() == same.power_w.tolist()
    assert one.owner.codes.tolist() == same.owner.codes.tolist()
    assert one.power_w.tolist() != other.power_w.tolist()


def test_what_is_made_up_says_so_in_every_answer(fleet):
    of = window()
    answers = [
        fleet.state(), fleet.hum_by_owner(of), fleet.power(of), fleet.top_nodes(of), fleet.used_by_day(of),
        fleet.latest(), fleet.trace("gpu16-0002", of), fleet.power(of, node="gpu16-0002"),
    ]  # fmt: skip

    assert fleet.synthetic
    for answer in answers:
        assert answer.known.synthetic
        assert answer.known.grade is Grade.D
        assert answer.known.methods == (Method.REPLAYED,)
        assert "nothing was measured" in answer.known.sources[0]


def test_a_made_up_fleet_has_owners_idle_servers_and_silences(fleet):
    found = fleet.hum_by_owner(window(0, 2_880))

    assert len(found.owners) > 3
    assert 0 < found.idle_node_minutes.sum() < found.node_minutes.sum()
    assert 0.9 < found.known.coverage.share <= 1


def test_nothing_is_made_up_where_samples_are(tmp_path):
    append_minutes(tmp_path, rows(*stretch("a", "", 0, 3, 1.0, 0.0)), fleeting.BMC)

    with pytest.raises(UsageError, match="empty folder"):
        synthetic.make(tmp_path, synthetic.SMALL)


@pytest.mark.parametrize(
    "shape",
    [
        synthetic.Shape(((0, 16),), days=2),
        synthetic.Shape(days=0),
        synthetic.Shape(days=2, start=START + timedelta(hours=1)),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path, shape):
    with pytest.raises(UsageError):
        synthetic.make(tmp_path, shape)
