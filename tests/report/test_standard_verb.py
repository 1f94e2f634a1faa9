"""`outweigh report` at the command line, on a ledger and files of its own."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from outweigh.cli.main import cli, run
from outweigh.config.report_facts import EXAMPLE, load_facts
from outweigh.core.errors import ConfigError, UsageError
from outweigh.core.measurement import Scope
from outweigh.ledger import open_ledger

KWH = 3.6e6
NINE = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
STANDARDS = ("sci", "sci-ai", "annex-xi", "scope2", "focus", "spdx", "hf-card", "otel", "mlperf-check")
COMMANDS = [(name, form) for name in STANDARDS[:4] for form in ("markdown", "html", "csv", "json")] + [
    ("focus", "csv"), ("focus", "json"), ("spdx", "json"), ("hf-card", "markdown"), ("otel", "json"),
    ("mlperf-check", "html"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch, made_run):
    store = open_ledger(tmp_path / "ledger.sqlite")
    for one in (
        made_run(80 * KWH, start=NINE, phase="training", seconds=7200.0, half_j=KWH),
        made_run(KWH, start=NINE, units=1000.0, unit="ticket", half_j=0.1 * KWH, variant="<b>int8</b>"),
        made_run(3 * KWH, start=NINE + timedelta(days=40), units=1000.0, unit="ticket"),
    ):
        store.append(one)
    store.close()
    (tmp_path / "facts.toml").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*arguments):
    return CliRunner().invoke(cli, ["report", *arguments], standalone_mode=False)


def printed(*arguments):
    result = report(*arguments, "--ledger", "ledger.sqlite", "--facts", "facts.toml")
    assert result.exception is None, result.exception
    return result.stdout


@pytest.mark.parametrize(("standard", "form"), COMMANDS)
def test_every_standard_writes_every_form_it_has(folder, standard, form):
    text = printed(standard, "--format", form)

    if form == "json":
        assert isinstance(json.loads(text), dict)
    elif form == "html":
        assert text.startswith("<!doctype html>")
    elif form == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) >= 1
    else:
        assert text.startswith(("# ", "---\n"))


def test_all_forms_of_a_sheet_are_of_one_model(folder):
    figures = json.loads(printed("sci", "--json"))
    row = next(r for r in csv.DictReader(io.StringIO(printed("sci", "--format", "csv"))) if r["term"] == "E")

    assert float(row["energy_j"]) == figures["figures"]["energy_j"] == pytest.approx(4 * KWH * 1.25)
    assert dict(figures["key"])["score"].split()[0] in printed("sci")
    assert dict(figures["key"])["score"].split()[0] in printed("sci", "--format", "html")


def test_runs_belong_to_the_time_they_began_in(folder):
    first = json.loads(printed("sci", "--json", "--until", "2026-12-01"))["figures"]["energy_j"]
    later = json.loads(printed("sci", "--json", "--since", "2026-12-01"))["figures"]["energy_j"]

    assert (first, later) == pytest.approx((KWH * 1.25, 3 * KWH * 1.25))


def test_a_score_without_its_facts_ends_with_4_and_asks_for_them(folder):
    result = report("sci", "--ledger", "ledger.sqlite")

    assert result.return_value == 4
    assert "score: **not given**" in result.stdout
    assert 'total = "1310 kgCO2e"' in result.stderr
    assert "0 g" not in result.stdout


def test_facts_beside_energy_toml_are_taken_without_being_named(folder):
    (folder / "facts.toml").rename(folder / "report-facts.toml")
    starter = CliRunner().invoke(cli, ["init"], standalone_mode=False)
    assert starter.exception is None

    result = report("sci-ai", "--ledger", "ledger.sqlite", "--json")

    # The starter's project has another name, so that the ledger has nothing of it: the facts were read all the same.
    assert "no receipts" in str(result.exception)


def test_carbon_by_hour_comes_from_a_file_and_its_gaps_are_missing(folder):
    (folder / "facts.toml").write_text('[grid]\nzone = "DE"\n', encoding="utf-8")
    hours = "zone,start,end,value,unit,kind,scope,accounting,source,licence\n" + "".join(
        f"DE,2026-11-03T{hour:02}:00Z,2026-11-03T{hour + 1:02}:00Z,{value},gCO2e/kWh,average,direct,production,me,own\n"
        for hour, value in ((9, 100), (10, 300))
    )
    (folder / "de.csv").write_text(hours, encoding="utf-8")

    given = ("--ledger", "ledger.sqlite", "--facts", "facts.toml", "--carbon", "de.csv", "--json")
    training = json.loads(report("scope2", "--phase", "training", *given).stdout)
    everything = report("scope2", *given)

    rows = {row["matching"]: row for row in training["figures"]["rows"]}
    assert rows["hour by hour"]["carbon_g"] == pytest.approx(40 * 100 + 40 * 300)
    unknown = {row["matching"]: row for row in json.loads(everything.stdout)["figures"]["rows"]}["hour by hour"]
    assert rows["hour by hour"]["is_scope_2"]  # the file's factors are direct, and the tables' are not mixed in
    assert "one figure for the period" not in rows
    assert unknown["carbon_g"] is None
    assert unknown["hours_unknown"] == 1
    assert everything.return_value == 4


def test_a_file_of_marginal_carbon_is_refused_where_averages_are_counted(folder):
    (folder / "facts.toml").write_text('[grid]\nzone = "DE"\n', encoding="utf-8")
    hours = "zone,start,end,value,unit,kind,scope,accounting,source,licence\n" + "".join(
        f"DE,2026-11-03T{hour:02}:00Z,2026-11-03T{hour + 1:02}:00Z,900,gCO2e/kWh,marginal,direct,consumption,me,own\n"
        for hour in (9, 10)
    )
    (folder / "de.csv").write_text(hours, encoding="utf-8")

    result = report("scope2", "--ledger", "ledger.sqlite", "--facts", "facts.toml", "--carbon", "de.csv")

    assert isinstance(result.exception, UsageError)
    assert "marginal" in str(result.exception)
    assert not result.stdout


def test_a_name_from_a_label_stays_text_on_a_page(folder):
    page = printed("mlperf-check", "--format", "html")

    assert "<b>int8</b>" not in page


def test_the_file_of_facts_that_is_printed_is_one_that_is_read(folder):
    result = report("facts")

    assert result.stdout == EXAMPLE
    given, zone = load_facts(folder / "facts.toml")
    assert (given.model.supplier, given.pue[0], zone) == ("Example GmbH", 1.25, "")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ("[grid]\nzoen = 'DE'\n", "zone"),
        ("[site]\npue = 0.9\n", "pue"),
        ("[grid]\nzone = 'DE'\nintensity = '3 gCO2e/kWh'\n", "Keep one"),
        ("[[embodied]]\nname = 'x'\nlifespan_years = 4\n", "total or device"),
        ("[[embodied]]\nname = 'x'\ndevice = 'abacus'\nlifespan_years = 4\n", "nvidia-h100-sxm"),
        ("[[embodied]]\nname = 'x'\ntotal = '3 tons'\nlifespan_years = 4\n", "1310 kgCO2e"),
        ("[[market.instrument]]\nname = 'x'\nintensity = '0 g/kWh'\nhourly = 'none.csv'\n", "none.csv"),
        ("[grid\n", "TOML"),
    ],
)
def test_facts_that_cannot_be_are_refused_with_their_place(tmp_path, facts, says):
    path = tmp_path / "facts.toml"
    path.write_text(facts, encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        load_facts(path)

    assert says in str(refused.value)


@pytest.mark.parametrize("line", ["2026-11-03T09:30Z,1", "2026-11-03T09:00,1", "2026-11-03T09:00Z,-1", "soon,1"])
def test_hours_of_a_contract_that_cannot_be_are_refused_with_their_line(tmp_path, line):
    (tmp_path / "wind.csv").write_text(f"hour,kwh\n{line}\n", encoding="utf-8")
    path = tmp_path / "facts.toml"
    path.write_text("[[market.instrument]]\nname='w'\nintensity='0 g/kWh'\nhourly='wind.csv'\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"wind\.csv:2"):
        load_facts(path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("scope3",), "scope2"),
        (("sci", "--since", "tomorrow"), "2026-11-23"),
        (("sci", "--since", "2026-11-03T09:00"), "zone"),
        (("sci", "--facts", "nowhere.toml"), "nowhere.toml"),
        (("sci", "nowhere"), "nowhere"),
        (("sci", "--format", "csv", "--table", "x"), "terms"),
        (("sci", "--out", "no/such/folder/x.md"), "folder"),
        (("sci", "--phase", "training", "--until", "2020-01-01"), "selection"),
        (("focus",), "[billing]"),
        (("digest", "nowhere"), "nowhere"),
        (("finance", "nowhere.toml"), "nowhere.toml"),
        (("review", "facts.toml"), "JSON"),
    ],
)
def test_bad_input_ends_in_a_sentence_and_never_in_a_traceback(folder, capfd, arguments, says):
    ledger = () if arguments[0] in ("scope3", "finance", "review") else ("--ledger", "ledger.sqlite")

    code = run(["report", *arguments, *ledger])

    told = capfd.readouterr().err
    assert code in (2, 3, 4)
    assert "Traceback" not in told
    assert says in told


def test_a_meter_below_the_machine_is_named_in_the_boundary(folder, made_run):
    store = open_ledger(folder / "ledger.sqlite")
    store.append(made_run(KWH, start=NINE + timedelta(days=80), scope=Scope.GPU, units=1.0, unit="ticket"))
    store.close()

    assert "gpu" in json.loads(printed("sci", "--json"))["figures"]["scopes"]
