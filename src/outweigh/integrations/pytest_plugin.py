"""pytest: `@pytest.mark.energy_budget("3 J")` fails a test whose work draws more.

A test fails when the lower bound of its work energy (about 95 %) exceeds the budget. When the interval straddles the
budget the answer is inconclusive and a warning (EnergyBudgetWarning). Energy that was modelled or replayed makes the
answer provisional, and the summary says so. Only the test itself is measured, not its fixtures.

    pytest --energy-meter rapl      the meter; the best that works by default
    pytest --energy                 measure every test, for the summary
    pytest --energy-ledger PATH     keep a receipt for each measured test
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from outweigh.core.quantities import Energy
    from outweigh.measure import MeterSession, WindowReading

_OVER, _PERHAPS, _WITHIN = "over", "inconclusive", "within"
_KEY = "outweigh_energy_"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("energy", "energy of tests (outweigh)")
    group.addoption("--energy", action="store_true", help="Measure every test, with or without a budget.")
    group.addoption("--energy-meter", metavar="NAME", help="Meter by name, as `outweigh doctor` lists them.")
    group.addoption("--energy-ledger", metavar="PATH", help="Keep a receipt for each measured test in this ledger.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "energy_budget(limit): fail when the test's work draws more than this, such as '3 J'"
    )
    config.stash[_METER] = _TestMeter(config.getoption("--energy-meter"), config.getoption("--energy-ledger"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _METER in config.stash:
        config.stash[_METER].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    marker = item.get_closest_marker("energy_budget")
    if marker is None and not item.config.getoption("--energy"):
        return (yield)
    from outweigh.core.errors import OutweighError

    try:
        budget = None if marker is None else _budget(marker)
        meter = item.config.stash[_METER]
        session = meter.session()
    except OutweighError as err:
        pytest.fail(f"energy budget: {err}", pytrace=False)
    window = session.window()
    passed = False
    try:
        with window:
            result = yield
        passed = True
    finally:
        reading = window.reading
        meter.keep(item.nodeid, reading, passed)
        told, outcome = _told(reading, budget, session)
        item.user_properties += [(f"{_KEY}{key}", value) for key, value in told.items()]
    if outcome == _OVER:
        pytest.fail(f"over its energy budget: {told['says']}", pytrace=False)
    if outcome == _PERHAPS:
        from outweigh.app.blocks import EnergyBudgetWarning

        item.warn(EnergyBudgetWarning(f"{item.nodeid}: energy budget inconclusive: {told['says']}"))
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows: list[tuple[str, dict[str, object]]] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            # Under xdist the figures come from the workers, in the report itself.
            found = {
                key.removeprefix(_KEY): value
                for key, value in getattr(report, "user_properties", ())
                if str(key).startswith(_KEY)
            }
            if found and getattr(report, "when", "") == "call":
                rows.append((report.nodeid, found))
    if not rows:
        return
    how = ", ".join(sorted({str(told["how"]) for _, told in rows}))
    terminalreporter.section(f"energy ({how})")
    for nodeid, told in rows:
        terminalreporter.write_line(f"{told['says']}   {nodeid}")


class _TestMeter:
    """One open session for the whole test run, opened by the first test that needs it."""

    def __init__(self, name: str | None, ledger: str | None) -> None:
        self._name, self._ledger = name, ledger
        self._session: MeterSession | None = None
        self._store: Any = None

    def session(self) -> MeterSession:
        if self._session is None:
            from outweigh.measure import MeterSession, choose_meter

            if self._ledger is not None:
                from outweigh.ledger import open_ledger

                self._store = open_ledger(self._ledger)
            chosen, _ = choose_meter(self._name)
            self._session = MeterSession(chosen).__enter__()
            if self._session.latest_hum is None:
                self._session.hum(1.0)
        return self._session

    def keep(self, nodeid: str, reading: WindowReading, passed: bool) -> None:
        if self._store is None or self._session is None:
            return
        from outweigh.app.surroundings import booked_on
        from outweigh.core.budget import Phase
        from outweigh.core.receipt import RunStatus
        from outweigh.measure import receipt_for

        self._store.append(
            receipt_for(
                reading,
                meter=self._session.meter.name,
                project=booked_on(),
                phase=Phase.DEVELOPMENT,
                status=RunStatus.COMPLETED if passed else RunStatus.FAILED,
                units=1,
                unit="test",
                labels={"test": nodeid},
            )
        )

    def close(self) -> None:
        if self._session is not None:
            self._session.__exit__(None, None, None)
        if self._store is not None:
            self._store.close()


_METER = pytest.StashKey[_TestMeter]()


def _budget(marker: pytest.Mark) -> Energy:
    from outweigh.core.errors import UsageError
    from outweigh.core.quantities import Energy
    from outweigh.core.units import parse_energy

    limit = marker.args[0] if len(marker.args) == 1 and not marker.kwargs else None
    if isinstance(limit, Energy):
        return limit
    if isinstance(limit, str):
        return parse_energy(limit)
    raise UsageError("the mark energy_budget takes one energy", "Write @pytest.mark.energy_budget('3 J')")


def _told(reading: WindowReading, budget: Energy | None, session: MeterSession) -> tuple[dict[str, object], str]:
    """What the report says of a test, and how its budget came out ("" without one)."""
    from outweigh.core.measurement import Scope
    from outweigh.core.receipt import RunStatus
    from outweigh.core.rounding import si

    drawn = reading.work or reading.total
    what = "work" if reading.work is not None else "work and hum"
    how = f"{session.meter.name}, {drawn.method}, grade {drawn.grade}"
    if not drawn.method.is_measured:
        how += ", provisional"
    figure = f"{si(drawn.value.joules, 'J', drawn.bounds_j.half_width)} of {what}"
    outcome, why = "", ""
    if budget is not None:
        low, high = drawn.bounds_j.low, drawn.bounds_j.high
        outcome = _OVER if low > budget.joules else _PERHAPS if high > budget.joules else _WITHIN
        if reading.status is RunStatus.UNUSABLE:
            outcome, why = _PERHAPS, f" ({'; '.join(reading.notes)})"
        elif os.environ.get("PYTEST_XDIST_WORKER") and drawn.scope is not Scope.CPU_THREADS:
            outcome, why = _PERHAPS, f" (other workers draw on the same {drawn.scope})"
        figure += f", {outcome} its budget of {si(budget.joules, 'J')}" if outcome != _PERHAPS else (
            f" against a budget of {si(budget.joules, 'J')}: inconclusive{why}"
        )  # fmt: skip
    told: dict[str, object] = {"j": drawn.value.joules, "standard_uncertainty_j": drawn.standard_uncertainty.joules}
    return {**told, "outcome": outcome, "how": how, "says": f"{figure}   [{how}]"}, outcome
