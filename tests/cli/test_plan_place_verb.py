"""`outweigh plan --place` and `--scenarios` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from outweigh.cli.main import run

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "placement" / "placement.toml"


def plan(*options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [OUTWEIGH, "plan", *map(str, options)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_regions_of_three_clouds_are_one_json_line_with_a_source_for_every_figure() -> None:
    done = plan("--place", "--country", "EU", "--spread", 3, "--cap", "provider=34%", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {one["region"].partition(":")[0] for one in found["regions"]} == {"aws", "azure", "gcp"}
    cells = [cell for one in found["regions"] for cell in one["cells"].values()]
    assert all("missing" in cell or (cell["source"] and cell["issued"] and cell["unit"]) for cell in cells)
    assert found["spread"]["hhi"]["provider"] == pytest.approx(1 / 3)


def test_home_is_the_first_row_and_what_is_missing_is_named() -> None:
    done = plan("--place", "--home", "aws:eu-central-1", "--top", 3)

    rows = [line for line in done.stdout.splitlines() if ":" in line and "region" not in line]
    assert done.returncode == 0
    assert "home" in rows[0]
    assert "aws:eu-central-1" in rows[0]
    assert "water is missing for" in done.stderr


def test_a_placement_shows_what_is_done_now_first_and_carries_a_checked_certificate() -> None:
    done = plan("--scenarios", EXAMPLE, "--no-sensitivity", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert [way["way"] for way in found["ways"]] == ["as now", "cheapest on average", "hedged"]
    assert found["certificate"]["checked"] is True
    assert found["certificate"]["lower_bound"] <= found["certificate"]["objective"]
    for way in found["ways"]:
        assert way["cvar"] >= way["expected_cost"]
        assert sum(way["shares"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--country", "Germany"), "no cloud region has country"),
        (("--provider", "awss"), "Did you mean 'aws'"),
        (("--weight", "carbn=1"), "Did you mean 'carbon'"),
        (("--weight", "carbon"), "carbon=3"),
        (("--weight", "carbon=nan"), "weight of carbon"),
        (("--near", "here"), "is no place"),
        (("--near", "nan,1"), "place"),
        (("--max-km", "100"), "needs a place"),
        (("--near", "1,1", "--max-km", "5", "--max-ms", "5"), "one thing twice"),
        (("--rate", "EUR=0"), "rate of EUR"),
        (("--rate", "EURO=1"), "currency"),
        (("--currency", "usd"), "currency"),
        (("--data-gb", "5"), "its size, its price"),
        (("--gpu", "H100"), "a GPU needs its prices"),
        (("--home", "aws:eu-central-9"), "no region is called that"),
        (("--least-known", "lots"), "share"),
        (("--least-known", "2"), "between 0 and 1"),
        (("--spread", "0"), "--spread"),
        (("--spread", "3", "--cap", "grid=1%"), "the caps allow 0 of the 3"),
        (("--cap", "planet=50%"), "groups are country"),
        (("--file", "nowhere.csv"), "nowhere.csv"),
        (("--near", "-60,0", "--max-km", "10"), "no region passes the filters"),
    ],
)
def test_bad_questions_end_with_2_or_4_and_a_remedy(
    options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["plan", "--place", *options])

    shown = capsys.readouterr()
    assert code in (2, 4), shown.err
    assert says in shown.err
    assert shown.out == ""


def test_a_placement_file_with_a_slip_ends_with_2_and_its_line(tmp_path: Path) -> None:
    path = tmp_path / "placement.toml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8").replace("risk_weight", "risk_wieght"), encoding="utf-8")

    done = plan("--scenarios", path)
    assert done.returncode == 2
    assert f"{path}:" in done.stderr
    assert "Did you mean 'risk_weight'" in done.stderr


def test_caps_that_leave_no_room_end_with_2_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "placement.toml"
    text = EXAMPLE.read_text(encoding="utf-8").replace('site = "60%"', 'site = "30%"')
    path.write_text(text, encoding="utf-8")

    done = plan("--scenarios", path)
    assert done.returncode == 2
    assert "short by 10.00% of the load" in done.stderr
