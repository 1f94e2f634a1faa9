"""The command line of tariffs: what it prints adds up, and what it refuses teaches."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from outweigh.cli.main import run as outweigh

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "tariff"
LOAD = ["--load", str(SITE / "week.csv"), "--history", str(SITE / "history.csv"), "--from", "2026-01-01"]
FIFTEEN_MONTHS = [*LOAD, "--to", "2027-04-01"]
JANUARY = ["--from", "2026-01-01", "--to", "2026-02-01"]
RUN = ["--gpus", "512", "--per-gpu", "1.275 kW", "--pue", "1.2", "--for", "14 d", "--start", "2026-03-23T09:00"]
KINDS = ("energy", "demand", "ratchet", "fixed", "rider", "minimum", "tax", "rounding")


def asked(capsys, *words):
    code = outweigh(["whatif", "tariff", *words])
    return code, capsys.readouterr()


def rows(capsys, *words):
    code, said = asked(capsys, *words, "--json")
    assert code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def test_the_months_of_a_bill_add_up_to_its_last_row(capsys):
    *months, total = rows(capsys, "bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS)

    assert len(months) == 15
    assert sum(row["total"] for row in months) == pytest.approx(total["total"], abs=1e-6)
    assert sum(total[kind] for kind in KINDS) == pytest.approx(total["total"], abs=1e-6)
    assert total["notes"] == []


def test_the_lines_of_a_bill_add_up_to_its_rows(capsys):
    lines = rows(capsys, "bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS, "--lines")
    total = rows(capsys, "bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS)[-1]

    assert sum(line["amount"] for line in lines) == pytest.approx(total["total"], abs=1e-6)


def test_now_the_best_start_the_contract_and_the_average_price_give_four_different_prices(capsys):
    found = rows(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN, "--latest", "2026-04-20",
                 "--every", "1 d")  # fmt: skip

    nothing, now, best, held = found
    assert [row["way"] for row in found] == ["not running", "now", "best start", "held under the contract"]
    assert not any(nothing[name] for name in (*KINDS, "cooling", "total", "naive", "energy_j"))
    assert nothing["peak_w"] == 6.5e6
    assert len({now["total"], best["total"], held["total"], now["naive"]}) == 4
    assert now["naive"] < held["total"] < best["total"] < now["total"]
    assert held["peak_w"] == pytest.approx(7e6)
    assert held["peak_w"] <= 7e6
    # By hand: two months of 652.8 kW at 11.40, 152.8 kW of them above the contract at 24.00; then 130.56 kW of cooling.
    assert now["demand"] == pytest.approx(2 * (7441.92 + 3667.20))
    assert now["cooling_parts"]["demand"] == pytest.approx(2 * (1488.38 + 3133.44))
    # 90 % of 7,283.36 kW is 55.024 kW above what history makes them pay, for eleven months; IT alone stays below it.
    assert (now["ratchet"], now["cooling_parts"]["ratchet"]) == (0, pytest.approx(11 * 627.27))
    assert sum(now[kind] for kind in KINDS) + now["cooling"] == pytest.approx(now["total"], abs=1e-6)


def test_a_run_that_lifts_the_hall_into_the_next_stage_of_cooling_pays_for_that_step(capsys):
    steps = [*RUN[:4], "--cooling", str(SITE / "cooling.csv"), *RUN[6:]]

    flat, stepped = (
        rows(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *run)[1] for run in (RUN, steps)
    )

    # 60 kW more in the 131 hours in which the site and the run need the second stage.
    assert stepped["cooling_energy_j"] - flat["cooling_energy_j"] == pytest.approx(131 * 60 * 3.6e6, rel=1e-6)
    assert stepped["peak_w"] - flat["peak_w"] == pytest.approx(60e3)
    assert stepped["demand"] == flat["demand"]
    assert stepped["cooling"] > flat["cooling"]


BAD_STAGES = {
    "no columns": ("a,b\n1,2\n", "holds no stages"),
    "out of order": ("up_to_kw,fixed_kw,share\n500,1,0.1\n400,2,0.1\n,3,0.1\n", "each stage ends above"),
    "an end": ("up_to_kw,fixed_kw,share\n500,1,0.1\n", "leave up_to_kw of the last stage empty"),
    "falling": ("up_to_kw,fixed_kw,share\n500,90,0.1\n,0,0.1\n", "more load does not take less cooling"),
    "no number": ("up_to_kw,fixed_kw,share\n,much,0.1\n", "not a number"),
}


@pytest.mark.parametrize(("text", "says"), BAD_STAGES.values(), ids=BAD_STAGES)
def test_stages_of_cooling_that_cannot_be_are_refused(capsys, tmp_path, text, says):
    (tmp_path / "cooling.csv").write_text(text)
    run = [*RUN[:4], "--cooling", str(tmp_path / "cooling.csv"), *RUN[6:]]

    code, said = asked(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *run)

    assert code == 2
    assert says in said.err


def test_pue_and_stages_of_cooling_together_are_refused(capsys):
    both = [*RUN, "--cooling", str(SITE / "cooling.csv")]

    code, said = asked(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *both)

    assert code == 2
    assert "Give one of them" in said.err


def test_the_curve_names_the_run_that_passes_the_contract(capsys):
    small = ["--power", "100 kW", "--for", "14 d", "--start", "2026-04-01"]

    code, said = asked(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *small, "--runs", "6")

    assert code == 0
    assert "passes the contract" in said.out
    assert "The price of one more run rises." in said.out


RATCHET = """
name = "r"
currency = "EUR"
timezone = "UTC"
[[energy]]
price = "0.10 EUR/kWh"
[[demand]]
name = "cap"
price = "10 EUR/kW"
ratchet = { share = "90%", months = 11 }
"""
HALF = ["--power", "500 kW", "--for", "2 d", "--start", "2026-03-01", "--latest", "2026-06-28", "--every", "1 d"]


def metered(folder, days):
    """A megawatt, hour by hour, from January 2026 on, as a meter writes it."""
    hours = (datetime(2026, 1, 1) + timedelta(hours=one) for one in range(24 * days))  # noqa: DTZ001
    (folder / "meter.csv").write_text("start,kw\n" + "".join(f"{one.isoformat()},1000\n" for one in hours))
    return ["--load", str(folder / "meter.csv")]


def test_a_repeating_load_that_ends_within_a_ratchets_tail_is_repeated_so_that_no_start_looks_cheap(capsys, tmp_path):
    (tmp_path / "r.toml").write_text(RATCHET)

    short, long = (
        rows(capsys, "marginal", str(tmp_path / "r.toml"), "--flat", "1 MW", "--from", "2026-01-01", "--to", to, *HALF)
        for to in ("2026-07-01", "2028-01-01")
    )

    # 24,000 kWh x 0.10; 500 kW x 10 in one month; 350 kW above the flat load for eleven months.
    assert [row["total"] for row in short] == [row["total"] for row in long] == [0, *[2400 + 5000 + 38_500] * 2]
    assert any("repeated up to 2027-06-01" in note for note in short[1]["notes"])
    assert not any("repeated" in note for note in long[1]["notes"])


def test_a_metered_load_that_ends_within_the_tail_compares_only_starts_with_equal_tails_and_says_so(capsys, tmp_path):
    (tmp_path / "r.toml").write_text(RATCHET)

    _, now, best = rows(capsys, "marginal", str(tmp_path / "r.toml"), *metered(tmp_path, 181), *HALF)

    # In June the run would cost 7,400 EUR, with a tail of eleven months that the file does not hold.
    assert best["start"] == now["start"]
    assert best["total"] == now["total"] == 2400 + 5000 + 3 * 3500
    assert any("now: the ratchet of 'cap' may bill this run's peak until 2027-02" in note for note in now["notes"])
    assert any("90 of 120 starts are not compared" in note for note in best["notes"])


def test_a_curve_over_runs_reaches_as_far_as_the_ratchet_and_starts_with_not_running(capsys, tmp_path):
    (tmp_path / "r.toml").write_text(RATCHET)
    site = ["--flat", "1 MW", "--from", "2026-01-01", "--to", "2026-07-01"]

    none, first = rows(capsys, "marginal", str(tmp_path / "r.toml"), *site, *HALF[:6], "--runs", "1")

    assert (none["run"], none["total"], none["peak_w"]) == (0, 0, 1e6)
    assert first["total"] == 2400 + 5000 + 38_500


def test_more_starts_than_can_be_billed_are_refused_at_once(capsys):
    code, said = asked(capsys, "marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN, "--latest", "2027-02-20",
                       "--every", "1 min")  # fmt: skip

    assert code == 2
    assert "look at 10,000 at most" in said.err


def test_a_ratchet_without_history_is_said_on_standard_error(capsys):
    code, said = asked(capsys, "bill", str(SITE / "site.toml"), "--flat", "5 MW", *JANUARY)

    assert code == 0
    assert "looks back to 2025-02" in said.err


def test_a_rate_of_the_database_is_imported_and_billed(capsys, tmp_path):
    hours = [[0] * 24] * 12
    rate = {"label": "x", "utility": "U", "name": "R", "energyratestructure": [[{"rate": 0.1, "adj": 0.02}]],
            "energyweekdayschedule": hours, "energyweekendschedule": hours, "demandreactivepowercharge": 1}  # fmt: skip
    (tmp_path / "rate.json").write_text(json.dumps({"items": [rate]}))

    code, said = asked(capsys, "import", str(tmp_path / "rate.json"), "--timezone", "America/Chicago")
    (tmp_path / "site.toml").write_text(said.out)
    total = rows(capsys, "bill", str(tmp_path / "site.toml"), "--flat", "1 kW", *JANUARY)

    assert code == 0
    assert "reactive" in said.err
    assert total[-1]["total"] == 89.28


def test_spot_prices_come_from_a_file_with_their_unit(capsys, tmp_path):
    (tmp_path / "spot.toml").write_text('name = "s"\ncurrency = "EUR"\ntimezone = "UTC"\n[spot]\n')
    (tmp_path / "prices.csv").write_text("start,EUR/MWh\n2026-01-01T00:00,50\n2026-01-01T01:00,-10\n")
    (tmp_path / "load.csv").write_text("start,kwh\n2026-01-01T00:00,10\n2026-01-01T01:00,20\n")

    found = rows(capsys, "bill", str(tmp_path / "spot.toml"), "--load", str(tmp_path / "load.csv"), "--spot",
                 str(tmp_path / "prices.csv"))  # fmt: skip

    assert found[-1]["total"] == 0.30


SPOT = 'name = "s"\ncurrency = "EUR"\ntimezone = "%s"\n[spot]\n'


def under_spot(capsys, folder, prices, zone="UTC"):
    (folder / "spot.toml").write_text(SPOT % zone)
    (folder / "prices.csv").write_text(prices)
    (folder / "load.csv").write_text("start,kwh\n2026-01-01T00:00,0\n2026-01-01T01:00,0\n2026-01-01T02:00,1000\n")
    return asked(capsys, "bill", str(folder / "spot.toml"), "--load", str(folder / "load.csv"), "--spot",
                 str(folder / "prices.csv"), "--json")  # fmt: skip


BAD_PRICES = {
    "a row left out": ("00:00,10 01:00,10 03:00,500 04:00,10", "prices.csv:4: a step of 7200 s"),
    "a row astray": ("00:00,10 01:00,10 00:30,500 03:00,10", "prices.csv:4: a step of -1800 s"),
    "a row twice": ("00:00,10 01:00,10 01:00,10 02:00,10", "prices.csv:4: a step of 0 s"),
    "all rows one": ("00:00,10 00:00,10 00:00,10", "prices.csv:3: a step of 0 s"),
    "an empty price": ("00:00,10 01:00,10 02:00, 03:00,10", "spot prices"),
}


@pytest.mark.parametrize(("given", "says"), BAD_PRICES.values(), ids=BAD_PRICES)
def test_a_spot_price_that_is_missing_or_astray_is_refused_with_its_line(capsys, tmp_path, given, says):
    rows = "".join(f"2026-01-01T{row}\n" for row in given.split(" "))

    code, said = under_spot(capsys, tmp_path, f"start,EUR/MWh\n{rows}")

    assert code in (2, 4)
    assert says in said.err


def test_times_of_prices_without_a_zone_are_local_as_those_of_the_load_are(capsys, tmp_path):
    local = "start,EUR/MWh\n2026-01-01T00:00,10\n2026-01-01T01:00,20\n2026-01-01T02:00,30\n"
    zoned = "start,EUR/MWh\n2025-12-31T23:00Z,10\n2026-01-01T00:00Z,20\n2026-01-01T01:00Z,30\n"

    for prices in (local, zoned):
        code, said = under_spot(capsys, tmp_path, prices, "Europe/Berlin")

        assert code == 0, said.err
        assert json.loads(said.out.splitlines()[-1])["total"] == 30


def test_history_of_a_charge_that_is_misspelt_is_refused_with_the_nearest_name(capsys, tmp_path):
    (tmp_path / "history.csv").write_text("charge,month,kw\ncapacty,2025-12,6500\n")

    code, said = asked(capsys, "bill", str(SITE / "site.toml"), "--flat", "5 MW", *JANUARY, "--history",
                       str(tmp_path / "history.csv"))  # fmt: skip

    assert code == 2
    assert "history.csv:2" in said.err
    assert "'capacity'" in said.err


BAD_LOADS = {
    "a comma too many": ("start,kw\n2026-01-01T00:00,1,7\n2026-01-01T01:00,1\n", "2: 3 cells under 2 headings"),
    "a cell without end": ("start,kw\n2026-01-01T00:00," + "1" * 140_000 + "\n", "is no CSV"),
    "a column twice": ("start,kw,kw\n2026-01-01T00:00,1,2\n2026-01-01T01:00,1,2\n", "two columns are called 'kw'"),
    "no time": ("start,kw\nnoon,5\n2026-01-01T01:00,5\n", "2: 'noon' is not a time"),
    "negative": ("start,kw\n2026-01-01T00:00,5\n2026-01-01T01:00,-5\n", "3: a negative demand of -5 kw"),
    "missing": ("start,kw\n2026-01-01T00:00,5\n2026-01-01T01:00,\n", "3: kw is ''"),
    "a gap": ("start,kw\n2026-01-01T00:00,5\n2026-01-01T01:00,5\n2026-01-01T03:00,5\n", "4: a step of 7200 s"),
    "a short week": ("day,hour,kw\nmon,0,5\n", "the week lacks mon 1"),
    "no such hour": ("day,hour,kw\nmon,24,5\n", "'24' is no hour"),
    "another table": ("a,b\n1,2\n3,4\n", "it is no load"),
    "empty": ("start,kw\n", "holds no rows"),
}


@pytest.mark.parametrize(("text", "says"), BAD_LOADS.values(), ids=BAD_LOADS)
def test_a_load_that_is_wrong_is_refused_with_its_line(capsys, tmp_path, text, says):
    (tmp_path / "load.csv").write_text(text)

    load = str(tmp_path / "load.csv")
    code, said = asked(capsys, "bill", str(SITE / "site.toml"), "--load", load, *JANUARY)

    assert code == 2
    assert says in said.err


BAD_ASKS = {
    "no load": (["bill", str(SITE / "site.toml")], "a bill needs a load"),
    "no span": (["bill", str(SITE / "site.toml"), "--flat", "5 MW"], "needs its span"),
    "no power": (["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN[6:]], "a run needs its power"),
    "outside": (["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN[:-1], "2028-01-01"], "time of a run"),
    "half a carbon": (
        ["bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS, "--carbon-price", "80 EUR/t"],
        "needs an intensity",
    ),
    "no tariff": (["bill", "none.toml", "--flat", "5 MW"], "no such file"),
    "two loads": (["bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS, "--flat", "5 MW"], "Give one of them"),
    "before all clocks": (
        ["bill", str(SITE / "site.toml"), "--flat", "5 MW", "--from", "0001-01-01", "--to", "2026-01-01"], "1900"),
    "after all clocks": (
        ["bill", str(SITE / "site.toml"), "--flat", "5 MW", "--from", "9999-01-01", "--to", "9999-12-31"], "2199"),
    "carbon that is paid for": (
        ["bill", str(SITE / "site.toml"), *FIFTEEN_MONTHS, "--carbon-price", "-80 EUR/t", "--intensity", "350 g/kWh"],
        "0 or more"),
    "an eternal run": (
        ["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN[:6], "--for", "1e300 d", *RUN[8:]], "years"),
    "starts an eternity apart": (
        ["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN, "--latest", "2026-04-20", "--every", "1e300 h"],
        "distance of starts"),
    "a PUE of nowhere": (
        ["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN[:4], *RUN[6:], "--pue", "1e300"], "PUE"),
    "more runs than can be billed": (
        ["marginal", str(SITE / "site.toml"), *FIFTEEN_MONTHS, *RUN, "--runs", "1000000"], "at most 1,000"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "says"), BAD_ASKS.values(), ids=BAD_ASKS)
def test_a_question_that_lacks_something_says_what(capsys, words, says):
    code, said = asked(capsys, *words)

    assert code == 2
    assert says in said.err


def test_carbon_at_a_declared_price_stands_beside_the_bill_and_not_in_it(capsys):
    # 5 MW for the 744 hours of January: 3,720 MWh x 0.350 t/MWh x 80 EUR/t = 104,160 EUR.
    flat = ["bill", str(SITE / "site.toml"), "--flat", "5 MW", *JANUARY]
    plain = rows(capsys, *flat)[-1]

    found = rows(capsys, *flat, "--carbon-price", "80 EUR/t", "--intensity", "350 gCO2e/kWh")[-1]

    assert plain["carbon"] is None
    assert found["carbon"] == pytest.approx(104_160)
    assert found["total"] == plain["total"]


def test_the_list_of_rooms_names_each_with_a_sentence_that_is_not_cut(capsys):
    assert outweigh(["whatif", "--help"]) == 0
    said = capsys.readouterr().out

    rooms = ["cooling", "finance", "hardware", "levers", "links", "negotiate", "policy", "supply", "tariff", "world"]
    told = {line.split()[0]: line for line in said.splitlines() if line.split() and line.split()[0] in rooms}
    assert sorted(told) == rooms
    assert not [line for line in told.values() if line.endswith("...")]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal is a POSIX thing")
@pytest.mark.parametrize("columns", [40, 80])
def test_no_figure_is_cut_on_a_narrow_terminal(columns):
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    words = ["whatif", "tariff", "bill", str(SITE / "site.toml"), "--flat", "5 MW", *JANUARY]
    with subprocess.Popen([sys.executable, "-m", "outweigh", *words], stdout=theirs, stderr=subprocess.DEVNULL,
                          env=os.environ | {"COLUMNS": str(columns), "TERM": "dumb"}) as running:  # fmt: skip
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)

    assert running.returncode == 0
    assert "586,640.00" in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said


def _read(descriptor):
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux tells a closed terminal so
        return b""


def test_a_reader_that_goes_away_is_no_verdict():
    words = ["whatif", "negotiate", str(ROOT / "examples" / "negotiation" / "sheet.toml")]
    with subprocess.Popen([sys.executable, "-m", "outweigh", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as running:  # fmt: skip
        running.stdout.close()
        said = running.stderr.read().decode()

    assert running.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in said
