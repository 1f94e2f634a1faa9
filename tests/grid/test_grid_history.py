"""A zone's past: asked of a provider month by month, within its limits; of a file by the question it knows most of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from outweigh.app.grid_history import History, history_of
from outweigh.backends.grid.energy_charts import EnergyChartsGrid
from outweigh.core.errors import GridBusy
from outweigh.core.series import CarbonSeries
from outweigh.ports import GridSource

pytest.importorskip("hishel")
pytest.importorskip("httpx_retries")

NOW = datetime(2026, 11, 27, 10, 20, tzinfo=UTC)
READY = datetime(2026, 3, 1, tzinfo=UTC)


class Time:
    """A clock that stands still until somebody waits."""

    def __init__(self) -> None:
        self.now, self.waits = NOW, list[float]()

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


def hourly(answer: Any) -> Callable[[Any], Any]:
    """Energy-Charts with 300 g/kWh at every quarter."""

    def respond(asked: Any) -> Any:
        start, end = (datetime.fromisoformat(asked.query[name]).timestamp() for name in ("start", "end"))
        starts = list(range(int(start), int(end), 900))
        body = {"unix_seconds": starts, "co2eq": [300.0] * len(starts), "co2eq_forecast": [None] * len(starts)}
        return answer(body)

    return respond


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch, time: Time) -> Callable[..., History]:
    """The history of DE from Energy-Charts, by this clock."""

    def opened(_: str) -> GridSource:
        return EnergyChartsGrid(now=time)

    monkeypatch.setattr("outweigh.app.grid_history.open_source", opened)

    def ask(**given: Any) -> History:
        return history_of(
            "DE", price=False, source="energy-charts", last_h=365 * 24, now=time.now, sleep=time.sleep, **given
        )

    return ask


def test_a_year_of_a_provider_with_two_requests_a_minute_comes_in_one_go(past, provider, answer, time):
    provider.stands_in_for("energy-charts").on("/co2eq", hourly(answer))
    told: list[str] = []

    history = past(tell=lambda what, _: told.append(what))

    assert history.series.missing_share == 0
    assert history.series.seconds == 365 * 86400
    assert len(provider.asked) == 13
    assert sum(time.waits) <= 6 * 60
    assert "DE 2025-11" in told
    assert any(what.startswith("waiting") for what in told)


def test_the_next_hour_asks_for_the_running_month_alone(past, provider, answer, time):
    provider.stands_in_for("energy-charts").on("/co2eq", hourly(answer))
    past()
    asked = len(provider.asked)
    time.now += timedelta(hours=1)

    history = past()

    assert [one.query["start"] for one in provider.asked[asked:]] == ["2026-11-01T00:00Z"]
    assert history.series.seconds == 365 * 86400


def test_a_provider_that_asks_for_too_long_a_pause_says_how_to_go_on(past, provider, answer, time):
    good = hourly(answer)
    provider.stands_in_for("energy-charts").on("/co2eq", good, good, answer(None, 429, {"Retry-After": "3600"}))

    with pytest.raises(GridBusy) as caught:
        past()

    assert caught.value.retry_after_s == 3600
    assert "outweigh grid fetch DE --source energy-charts --from 2026-01-01" in str(caught.value)


def test_of_a_file_with_several_questions_the_one_it_knows_most_of_is_taken_and_said(tmp_path: Path):
    path = tmp_path / "own.csv"
    rows = ["zone,start,end,value,unit,kind,scope,accounting,quality"]
    for hour in range(48):
        at = READY + timedelta(hours=hour)
        span = f"DE,{at.isoformat()},{(at + timedelta(hours=1)).isoformat()}"
        if hour < 12:
            rows.append(f"{span},{200 + hour},gCO2e/kWh,average,direct,production,measured")
        rows.append(f"{span},{300 + hour},gCO2e/kWh,average,lifecycle,production,measured")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")

    whole = history_of("DE", price=False, file=path, last_h=None, now=NOW)
    direct = history_of("DE", price=False, file=path, last_h=None, now=NOW, meaning=_first_meaning(path, "direct"))

    assert whole.series.seconds == 48 * 3600
    assert "--question names another" in whole.notes[-1]
    assert (direct.series.seconds, direct.notes) == (12 * 3600, ())


def _first_meaning(path: Path, scope: str) -> Any:
    from outweigh.backends.grid.file import FileGrid

    return next(one for one in FileGrid(path).limits.meanings if one.scope.value == scope)


def test_the_verbs_take_a_question(tmp_path: Path):
    from outweigh.app.grid_bound import zone_bound
    from outweigh.core.errors import FactorMissing

    path = tmp_path / "own.csv"
    rows = ["zone,start,end,value,unit,kind,scope,accounting,quality"]
    for hour in range(24 * 50):
        at = READY + timedelta(hours=hour)
        span = f"DE,{at.isoformat()},{(at + timedelta(hours=1)).isoformat()}"
        for scope, base in (("direct", 200), ("lifecycle", 300)):
            rows.append(f"{span},{base + hour % 24},gCO2e/kWh,average,{scope},production,measured")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    size = {"jobs": ("4h",), "windows": ("24h",), "file": path, "now": NOW}

    (body,) = zone_bound("DE", question="lifecycle-production", **size).documents

    assert body["scope"] == "lifecycle"
    with pytest.raises(FactorMissing):
        zone_bound("DE", question="marginal-direct-consumption", **size)
    assert isinstance(history_of("DE", price=False, file=path, last_h=None, now=NOW).series, CarbonSeries)
