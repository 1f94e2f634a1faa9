"""Prices of different markets are not weighed against one another, unless somebody says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.app.commanding import Ask, choose, wait
from outweigh.app.planning import Planned, plan_file
from outweigh.core.errors import SeriesMismatch, UsageError
from outweigh.run.learning import Learned

START = datetime(2026, 12, 1, tzinfo=UTC)
JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
step = "60 min"
{plan}
[site.a]
zone = "FR"
pue = 1.2
{site}
[site.b]
zone = "DE"
pue = 1.2
[[job]]
name = "a"
within = "20 h"
work = "4 h"
power = "40 kW"
"""
RETAIL, DAY_AHEAD, TAXED = "retail,out", "day-ahead,out", "day-ahead,in"


def prices(folder: Path, *, fr: str, de: str, unit: str = "EUR/MWh") -> Path:
    """A file of a flat price in each zone, each of its market; Germany's is the lower one."""
    path = folder / "prices.csv"
    span = "2026-12-01T00:00Z,2026-12-03T00:00Z"
    rows = [f"FR,{span},90,EUR/MWh,{fr},measured", f"DE,{span},40,{unit},{de},measured"]
    path.write_text("\n".join(["zone,start,end,value,unit,market,taxes,quality", *rows]), encoding="utf-8")
    return path


def planned(folder: Path, file: Path, *, plan: str = "", site: str = "") -> Planned:
    path = folder / "jobs.toml"
    path.write_text(JOBS.format(plan=plan, site=site), encoding="utf-8")
    return plan_file(path, files=[file], frontier=False, now=START)


@pytest.mark.parametrize(("fr", "de"), [(RETAIL, DAY_AHEAD), (DAY_AHEAD, TAXED)])
def test_a_plan_refuses_to_weigh_prices_of_different_markets_and_names_them(tmp_path: Path, fr: str, de: str):
    with pytest.raises(SeriesMismatch, match="mixed_prices = true") as refused:
        planned(tmp_path, prices(tmp_path, fr=fr, de=de))

    assert "FR" in str(refused.value)
    assert "DE" in str(refused.value)


def test_a_plan_weighs_prices_of_one_market(tmp_path: Path):
    done = planned(tmp_path, prices(tmp_path, fr=DAY_AHEAD, de=DAY_AHEAD))

    assert done.document["jobs"][0]["sites"] == ["b"]
    assert not any("not of one kind" in note for note in done.document["notes"])


def test_a_plan_that_says_so_weighs_them_all_the_same_with_a_note(tmp_path: Path):
    done = planned(tmp_path, prices(tmp_path, fr=RETAIL, de=DAY_AHEAD), plan="mixed_prices = true")

    assert any("Prices are not of one kind" in note for note in done.document["notes"])


def test_a_declared_price_is_weighed_beside_a_looked_up_one_with_a_note(tmp_path: Path):
    done = planned(tmp_path, prices(tmp_path, fr=RETAIL, de=DAY_AHEAD), site='price = "0.03 EUR/kWh"')

    assert done.document["jobs"][0]["sites"] == ["a"]
    assert any("Prices are not of one kind" in note for note in done.document["notes"])


def asked(file: Path, **options: object) -> Ask:
    given = {"when": "cheap", "expect_s": 3600.0, "zones": ("a=FR", "b=DE"), "files": (file,), "offline": True}
    return Ask((), **(given | options))


def test_a_command_waits_for_no_price_of_another_market(tmp_path: Path):
    file = prices(tmp_path, fr=RETAIL, de=DAY_AHEAD)
    end = START + timedelta(hours=12)

    with pytest.raises(SeriesMismatch, match="--mixed-prices"):
        choose(asked(file), START, end, Learned())
    mixed = choose(asked(file, mixed_prices=True), START, end, Learned())

    assert mixed.start.site == "b"
    assert any("not of one kind" in note for note in mixed.notes)


def test_prices_in_two_currencies_are_refused_even_where_markets_may_be_mixed(tmp_path: Path):
    file = prices(tmp_path, fr=DAY_AHEAD, de=DAY_AHEAD, unit="CHF/MWh")

    with pytest.raises(UsageError, match="CHF, EUR"):
        choose(asked(file, mixed_prices=True), START, START + timedelta(hours=12), Learned())


def test_a_source_that_falls_silent_while_a_command_waits_leaves_the_last_choice(tmp_path: Path):
    file, span = tmp_path / "prices.csv", timedelta(hours=6)
    head = "zone,start,end,value,unit,market,taxes,quality\n"
    rows = [
        f"{zone},{START + n * span:%Y-%m-%dT%H:%MZ},{START + (n + 1) * span:%Y-%m-%dT%H:%MZ},{value},EUR/MWh,"
        "day-ahead,out,measured\n"
        for zone, values in {"FR": (90, 20), "DE": (80, 70)}.items()
        for n, value in enumerate(values)
    ]
    file.write_text(head + "".join(rows), encoding="utf-8")
    clock = [START]

    def sleep(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)
        file.write_text(head + "".join(rows[2:]), encoding="utf-8")  # France is gone: its table's retail price is not

    chosen = wait(asked(file, within_s=12 * 3600.0), told=lambda _: None, sleep=sleep, now=lambda: clock[0])

    assert (chosen.start.site, chosen.start.at) == ("a", START + span)
    assert clock[0] == START + span
