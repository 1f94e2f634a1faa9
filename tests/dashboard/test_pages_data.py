"""Hum, Runs, a receipt and the Evidence: what they say of made-up receipts, and how they refuse."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.serving.served import Served
from outweigh.core import Energy, Grade, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.core.errors import OutputError
from outweigh.core.measurement import UncertaintyComponent

pytest.importorskip("fastapi")

from outweigh.dashboard.pages import PAGES
from outweigh.dashboard.pages.exporting import MANIFEST, export
from outweigh.dashboard.pages.page import Page
from outweigh.dashboard.pages.rendering import table_csv
from outweigh.dashboard.pages.shown import figure_text

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINE = tuple(page for page in PAGES if page.title in ("Hum", "Runs", "Receipt", "Evidence"))
SITE = """
[project]
name = "synthetic"
unit = "ticket"
volume = { per_month = 1e6 }
[task]
adapter = "text-classification"
dataset = "eval"
primary = { metric = "accuracy" }
[variants.base]
model = "base.onnx"
[variants.large]
model = "large.onnx"
[gate]
incumbent = "base"
proposal = "large"
[site.home]
zone = "US-CAL-CISO"
capacity = "5 kW"
pue = { idle = 1.5, full = 1.2 }
price = "0.20 EUR/kWh"
"""

Make = Callable[..., Receipt]
Folder = Callable[..., Served]
Client = Callable[[Served], httpx.Client]


def data_of(client: httpx.Client, name: str, **fields: str) -> dict[str, Any]:
    found = client.get(f"/api/v1/pages/{name}", params=fields)
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


def rows_of(answer: dict[str, Any], table: str) -> list[dict[str, Any]]:
    return list(answer["tables"][table]["rows"])


# --- hum ----------------------------------------------------------------------------------------------


def test_the_hum_of_owners_adds_up_to_the_hum_of_all_and_shares_to_one(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    owners = ("research", "support", "support", "platform")
    receipts = [made_receipt(i, labels=(("owner", owner),)) for i, owner in enumerate(owners)]

    client = page_client(served_folder("", *receipts, now=NOW))

    shown = data_of(client, "hum")

    by_owner = {row["owner"]: row for row in rows_of(shown, "owners")}
    hum_j = sum(one.hum.value.joules for one in receipts if one.hum)
    assert sum(row["hum_j"] for row in by_owner.values()) == pytest.approx(hum_j)
    assert sum(row["share"] for row in by_owner.values()) == pytest.approx(1)
    assert shown["figures"][1]["value_j"] == pytest.approx(hum_j)
    # 10 s each, a quarter of (100 + index) J of it hum.
    assert by_owner["support"]["power_w"] == pytest.approx((101 + 102) / 4 / 20)
    trend = shown["charts"]["trend"]["rows"]
    assert sum(row["hum_j"] for row in trend) == pytest.approx(hum_j)
    taken = csv.DictReader(io.StringIO(client.get("/hum.csv", params={"table": "trend"}).text))
    assert sum(float(row["hum_j"]) for row in taken) == pytest.approx(hum_j)


def test_a_month_of_hum_is_of_facility_energy_at_the_idle_end_of_the_declared_pue(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    shown = data_of(page_client(served_folder(SITE, made_receipt(0), now=NOW)), "hum")

    figures = {one["label"]: one for one in shown["figures"]}
    hum_kw = 100.0 / 4 / 10 / 1000
    hours = 365.2425 / 12 * 24  # a twelfth of the Gregorian year
    assert figures["a month costs"]["value"] == pytest.approx(hum_kw * hours * 1.5 * 0.20)
    assert figures["a month costs"]["value_currency"] == "EUR"
    assert "projected" in figures["a month costs"]["note"]
    assert "location" in next(label for label in figures if label.startswith("a month emits"))


def test_without_a_site_money_is_missing_and_says_why(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    client = page_client(served_folder("", made_receipt(0), now=NOW))

    shown = data_of(client, "hum")

    cost = next(one for one in shown["figures"] if one["label"] == "a month costs")
    assert cost["value"] is None
    assert cost["value_why"] == "no energy.toml here declares a site"
    assert "missing" in client.get("/").text


def test_a_receipt_that_knows_no_hum_leaves_its_owner_missing_and_not_at_nothing(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    blind = replace(made_receipt(1, labels=(("owner", "blind"),)), hum=None, work=None)

    shown = data_of(page_client(served_folder("", made_receipt(0), blind, now=NOW)), "hum")

    row = next(row for row in rows_of(shown, "owners") if row["owner"] == "blind")
    assert row["hum_j"] is None
    assert row["power_w"] is None
    assert row["hum_why"]


def test_the_hum_of_a_fleet_is_conserved_and_says_that_it_was_made_up(
    served_folder: Folder, page_client: Client, small_fleet: Path
) -> None:
    from outweigh.ledger.fleet import Fleet

    with Fleet.open(small_fleet) as fleet:
        client = page_client(replace(served_folder("", now=NOW), fleet=fleet))
        shown = data_of(client, "hum")
        text = client.get("/").text
        one = data_of(client, "hum", owner=rows_of(shown, "owners")[0]["owner"], site=shown["sites"][0])
        state = fleet.hum_by_owner(fleet.state().known.window)

    owners = rows_of(shown, "owners")
    assert sum(row["hum_j"] for row in owners) == pytest.approx(float(state.split.hum_j.sum()))
    assert shown["synthetic"]
    assert "Synthetic data." in text
    assert len(rows_of(one, "owners")) == 1
    assert 0 < rows_of(one, "owners")[0]["hum_j"] < owners[0]["hum_j"]
    assert all(row["hum_low_j"] <= row["hum_j"] <= row["hum_high_j"] for row in owners)


# --- runs ---------------------------------------------------------------------------------------------


def test_pages_of_runs_hold_every_receipt_once_the_newest_first(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    client = page_client(served_folder("", *(made_receipt(i) for i in range(7)), now=NOW))
    seen, query = [], "?limit=3"
    while query:
        answer = client.get(f"/api/v1/pages/runs{query}").json()
        seen += [row["start"] for row in rows_of(answer, "runs")]
        query = answer["next"]

    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("field", "text", "left"),
    [
        ("project", "synthetic", 3),
        ("phase", "training", 1),
        ("variant", "large", 1),
        ("owner", "research", 1),
        ("status", "failed", 1),
        ("grade", "C", 1),
        ("since", "2026-01-01T00:02Z", 1),
        ("until", "2026-01-01T00:01Z", 1),
    ],
)
def test_a_filter_leaves_the_runs_that_are_so(
    served_folder: Folder, page_client: Client, made_receipt: Make, field: str, text: str, left: int
) -> None:
    receipts = (
        made_receipt(0, phase=Phase.TRAINING, variant="large"),
        made_receipt(1, status=RunStatus.FAILED, labels=(("owner", "research"),)),
        made_receipt(2, grade=Grade.C),
    )

    shown = data_of(page_client(served_folder("", *receipts, now=NOW)), "runs", **{field: text})

    assert len(rows_of(shown, "runs")) == left


def test_an_unusable_run_has_no_energy_and_says_why(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    client = page_client(served_folder("", made_receipt(0, status=RunStatus.UNUSABLE), now=NOW))

    row = rows_of(data_of(client, "runs"), "runs")[0]
    shown = data_of(client, f"runs/{row['receipt']}")

    assert row["energy_j"] is None
    assert "samples" in row["energy_why"]
    assert all(one["energy_j"] is None for one in rows_of(shown, "energy"))
    assert "missing" in client.get(row["href"]).text


# --- one receipt --------------------------------------------------------------------------------------


def measured(joules: float, scope: Scope, like: Measurement) -> Measurement:
    return replace(like, value=Energy(joules), scope=scope, method=Method.COUNTER)


def test_levels_of_energy_hold_each_other_and_are_never_added(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipt = made_receipt(0, joules=100.0, scope=Scope.NODE)
    inside = ((60.0, Scope.GPU), (25.0, Scope.PACKAGE), (20.0, Scope.CORE))
    receipt = replace(receipt, overlapping=tuple(measured(joules, scope, receipt.total) for joules, scope in inside))
    served = served_folder("", receipt, now=NOW)

    shown = data_of(page_client(served), f"runs/{receipt.content_hash}")

    levels = {row["key"]: row for row in rows_of(shown, "energy")}
    assert levels["host"]["energy_j"] == 100.0
    # The core lies in the package: it is no third part.
    assert levels["devices"]["energy_j"] == 60.0 + 25.0
    assert levels["wall"]["energy_j"] is None
    assert levels["wall"]["energy_why"]
    assert [link["key"] for link in shown["chain"]] == ["devices", "host", "wall", "money", "carbon"]


def test_a_view_adds_the_wall_money_and_carbon_under_its_own_factors(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    from outweigh.grid import site_factors
    from outweigh.ledger import recompute
    from outweigh.ports import ReceiptFilter

    receipt = made_receipt(0, joules=3.6e6, scope=Scope.NODE)
    served = served_folder("", receipt, now=NOW)
    source = site_factors()
    intensity, price, pue = source.intensity("DE"), source.price("DE"), source.pue("aws:eu-central-1")
    for rate in (intensity, price):
        recompute(served.ledger, ReceiptFilter(), rate, pue=pue, now=NOW)

    shown = data_of(page_client(served), f"runs/{receipt.content_hash}")

    chain = {link["key"]: link for link in shown["chain"]}
    assert chain["wall"]["energy_j"] == pytest.approx(3.6e6 * pue[0])
    assert chain["carbon"]["carbon_g"] == pytest.approx(pue[0] * intensity[0].g_per_kwh)
    assert chain["money"]["money"] == pytest.approx(pue[0] * price[0].amount_per_kwh)
    assert chain["carbon"]["source"] == intensity[1].source
    assert "location" in chain["carbon"]["label"]


def test_shares_of_the_variance_add_up_to_one(served_folder: Folder, page_client: Client, made_receipt: Make) -> None:
    receipt = made_receipt(0)
    parts = tuple(UncertaintyComponent(name, standard) for name, standard in (("a", 3.0), ("b", 4.0)))
    receipt = replace(receipt, total=replace(receipt.total, components=parts))

    shown = data_of(page_client(served_folder("", receipt, now=NOW)), f"runs/{receipt.content_hash}")

    assert [row["share"] for row in rows_of(shown, "uncertainty")] == [pytest.approx(16 / 25), pytest.approx(9 / 25)]


def test_a_long_trace_is_thinned_and_keeps_its_peak(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    pytest.importorskip("duckdb")
    from outweigh.ledger.samples import SampleWriter, samples_folder

    receipt = made_receipt(0, seconds=9_000.0)
    served = served_folder("", receipt, now=NOW)
    start_s = receipt.interval.start.timestamp()
    with SampleWriter(samples_folder(served.folder), receipt.run_id, longest_s=1e6) as writer:
        for i in range(9_000):
            writer.append(start_s + i, "gpu", 900.0 if i == 4_321 else 100.0 + i % 7)

    client = page_client(served)
    trace = data_of(client, f"runs/{receipt.content_hash}")["trace"]

    channel = trace["channels"][0]
    assert trace["thinned"]
    assert trace["samples"] == 9_000
    assert len(channel["t_s"]) <= 2_000
    assert max(channel["power_w"]) == 900.0
    assert channel["t_s"][channel["power_w"].index(900.0)] == 4_321
    taken = client.get(f"/runs/{receipt.content_hash}.csv", params={"table": "trace"}).text
    assert len(taken.splitlines()) == len(channel["t_s"]) + 1


@pytest.mark.parametrize("address", ["0" * 64, "ffff", "nonsense", "..%2F..%2Fetc%2Fpasswd", "%00", "a" * 3000])
def test_an_address_of_nothing_is_not_found_and_says_where_to_look(
    served_folder: Folder, page_client: Client, address: str
) -> None:
    client = page_client(served_folder("", now=NOW))

    answers = [client.get(f"/runs/{address}"), client.get(f"/api/v1/pages/runs/{address}")]

    assert {one.status_code for one in answers} == {404}
    assert all("Traceback" not in one.text for one in answers)


# --- evidence -----------------------------------------------------------------------------------------


def test_every_shipped_table_is_listed_with_source_licence_and_age(served_folder: Folder, page_client: Client) -> None:
    from importlib import resources

    shown = data_of(page_client(served_folder("", now=datetime(2026, 12, 1, tzinfo=UTC))), "evidence")

    rows = {row["name"]: row for row in rows_of(shown, "sources")}
    files = {
        one.name.removesuffix(".csv") for one in resources.files("outweigh.data").iterdir() if one.name.endswith(".csv")
    }
    assert set(rows) == files
    assert all(row["sources"] and row["licences"] for row in rows.values())
    # 2026-04 is as much as its rows say; its first day, then, and 30 + 31 + ... days to the first of December.
    assert rows["zone_intensity"]["age_s"] == 244 * 86_400


def test_grades_share_out_the_energy_of_the_ledger(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipts = [made_receipt(0, joules=30.0, grade=Grade.A), made_receipt(1, joules=70.0, grade=Grade.C)]

    shown = data_of(page_client(served_folder("", *receipts, now=NOW)), "evidence")

    rows = {row["grade"]: row for row in rows_of(shown, "grades")}
    assert rows["A"]["share"] == pytest.approx(0.3)
    assert rows["C"]["energy_j"] == pytest.approx(70.0)
    assert rows["B"]["energy_j"] is None


# --- all pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if page.in_navigation], ids=lambda page: page.title)
def test_an_empty_ledger_is_answered_with_what_to_do(page: Page, served_folder: Folder, page_client: Client) -> None:
    answer = page_client(served_folder("", now=NOW)).get(page.path)

    assert answer.status_code == 200, answer.text
    assert "<code>" in answer.text
    assert "Traceback" not in answer.text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><b>out</b>",
    "{{ 7 * 7 }}",
    "\u202eright to left\u202c",
    "=HYPERLINK(1)",
    "long " * 2_000,
)


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_label_is_shown_as_text(
    label: str, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipt = made_receipt(
        0, project=label, variant=label, batch=label[:50], labels=(("owner", label), ("name", label))
    )
    receipt = replace(receipt, notes=(label,), unit=label, meter=label, total=replace(receipt.total, source=label))
    client = page_client(served_folder("", receipt, now=NOW))

    for path in ("/", "/runs", f"/runs/{receipt.content_hash}", "/evidence"):
        text = client.get(path).text

        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>out" not in text
        assert ">49<" not in text
        assert len(text) < 2_000_000
    taken = list(csv.reader(io.StringIO(client.get("/runs.csv").text)))
    assert not any(cell.startswith(("=", "@", "+")) for row in taken for cell in row)


@pytest.mark.parametrize("page", MINE, ids=lambda page: page.title)
@pytest.mark.parametrize(
    "query", ["?nonsense=1", "?since=yesterday", "?limit=0", "?since=2026-01-02&until=2026-01-01", "?phase=dreaming"]
)
def test_what_cannot_be_followed_is_said_at_its_field_and_nothing_else_is_lost(
    page: Page, query: str, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipt = made_receipt(0)
    client = page_client(served_folder("", receipt, now=NOW))
    path = page.path.replace("{address}", receipt.content_hash)

    shown, plain = client.get(path + query), client.get(f"/api/v1/pages/{path.strip('/') or 'hum'}{query}")

    assert shown.status_code == plain.status_code == 400
    assert 'role="alert"' in shown.text
    assert plain.headers["content-type"] == "application/problem+json"
    assert plain.json()["field"] in query
    assert plain.json()["remedy"]


@pytest.mark.parametrize("page", MINE, ids=lambda page: page.title)
def test_what_has_not_changed_is_not_sent_again(
    page: Page, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipt = made_receipt(0)
    served = served_folder("", receipt, now=NOW)
    client = page_client(served)
    paths = [path := page.path.replace("{address}", receipt.content_hash), f"/api/v1/pages/{path.strip('/') or 'hum'}"]

    for path in paths:
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304

    if page.title in ("Hum", "Runs", "Evidence"):
        served.ledger.append(made_receipt(1))
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("page", MINE, ids=lambda page: page.title)
def test_the_csv_of_every_table_has_the_figures_of_the_page(
    page: Page, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    receipt = made_receipt(0)
    client = page_client(served_folder("", receipt, now=NOW))
    path = page.path.replace("{address}", receipt.content_hash).strip("/") or "hum"
    answer = data_of(client, path)

    for name, table in answer["tables"].items():
        taken = list(csv.DictReader(io.StringIO(client.get(f"/{path}.csv", params={"table": name}).text)))
        assert len(taken) == len(table["rows"])
        for row, cells in zip(table["rows"], taken, strict=True):
            for key, cell in cells.items():
                if isinstance(row.get(key), float):
                    assert float(cell) == row[key]


@pytest.mark.parametrize("name", ["..%2Fpage.py", "../page.py", "%2e%2e/page.py", "pages.js%00", "nothing.js", ""])
def test_nothing_but_what_is_listed_comes_from_static(name: str, served_folder: Folder, page_client: Client) -> None:
    assert page_client(served_folder("", now=NOW)).get(f"/static/{name}").status_code == 404


def test_every_page_is_json_of_finite_numbers(served_folder: Folder, made_receipt: Make) -> None:
    receipt = made_receipt(0)
    served = served_folder("", receipt, now=NOW)

    for page in MINE:
        data = page.data(served, Asked({}, receipt.content_hash if "{" in page.path else ""))
        assert json.loads(json.dumps(data, allow_nan=False))["schema"].startswith("outweigh.page.")


# --- a copy -------------------------------------------------------------------------------------------


def test_a_later_copy_takes_away_what_an_earlier_one_left_and_nothing_else(
    served_folder: Folder, made_receipt: Make, tmp_path: Path
) -> None:
    served, folder = served_folder("", made_receipt(0), now=NOW), tmp_path / "copy"
    export(served, folder, pages=MINE)
    (folder / "mine.txt").write_text("kept")
    listing = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(listing | {"files": [*listing["files"], "../outside.txt", "gone.html"]}))
    (folder / "gone.html").write_text("of an earlier copy")
    (tmp_path / "outside.txt").write_text("not ours")

    export(served, folder, pages=MINE)

    assert (folder / "mine.txt").read_text() == "kept"
    assert (tmp_path / "outside.txt").exists()
    assert not (folder / "gone.html").exists()
    assert (folder / "index.html").exists()


@pytest.mark.parametrize("cut_at", ["first", "last"])
def test_a_copy_that_is_cut_off_leaves_the_earlier_one_whole_and_the_next_goes_through(
    cut_at: str, served_folder: Folder, made_receipt: Make, tmp_path: Path
) -> None:
    served, folder = served_folder("", made_receipt(0), now=NOW), tmp_path / "copy"
    export(served, folder, pages=MINE)
    before = {one: one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}
    served.ledger.append(made_receipt(1))

    def cut(title: str, share: float) -> None:
        if cut_at == "first" or title == MINE[-1].title:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(served, folder, pages=MINE, told=cut)

    assert {one: one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()} == before
    (folder / ".outweigh-copy").mkdir()  # as one that was killed leaves it
    (folder / ".outweigh-copy" / "half.html").write_text("half")
    written = export(served, folder, pages=MINE)
    assert {one for one in folder.rglob("*") if one.is_file()} == set(written)
    assert served.ledger.verify() == 2


def test_a_copy_that_is_cut_off_while_it_moves_in_names_every_file_of_both(
    served_folder: Folder, made_receipt: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, folder = served_folder("", made_receipt(0), now=NOW), tmp_path / "copy"
    export(served, folder, pages=MINE)
    served.ledger.append(made_receipt(1))
    moved = Path.replace

    def cut(self: Path, target: Path) -> Path:
        if Path(target).name == "runs.html":
            raise KeyboardInterrupt
        return moved(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        export(served, folder, pages=MINE)
    monkeypatch.undo()

    written = export(served, folder, pages=MINE)
    assert {one for one in folder.rglob("*") if one.is_file()} == set(written)


def test_a_copy_is_not_written_over_somebody_elses_files(served_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")

    with pytest.raises(OutputError, match=r"thesis\.tex"):
        export(served_folder("", now=NOW), folder, pages=MINE)

    assert [one.name for one in folder.iterdir()] == ["thesis.tex"]


# --- fields and figures -------------------------------------------------------------------------------


FIELDS = ("since", "limit", "phase", "share")


def refusal(field: str, text: str) -> FieldRefused | None:
    try:
        asked = Asked.of([(field, text)], takes=FIELDS)
        asked.window(NOW, 30)
        asked.whole("limit", 5, low=1, high=9)
        asked.choice("phase", tuple(Phase))
        asked.number("share", 0.5, low=0, high=1)
    except FieldRefused as err:
        return err
    return None


@given(st.text(max_size=80) | st.sampled_from(FIELDS), st.text(max_size=300))
def test_whatever_is_asked_ends_in_an_answer_or_a_refusal_with_a_remedy(field: str, text: str) -> None:
    refused = refusal(field, text)

    assert refused is None or (refused.field in (field, f"{field[:59]}…", "until") and refused.remedy)


@example(142.0, 1e-16)
@given(st.floats(1e-12, 1e15), st.floats(0, 2))
def test_a_figure_is_readable_whatever_its_size(value: float, relative: float) -> None:
    row = {"x_j": value, "x_low_j": value * (1 - relative), "x_high_j": value * (1 + relative)}

    text = figure_text(row, "x", "energy")

    assert text.endswith("Wh")
    assert len(text) < 60


@pytest.mark.parametrize(
    ("kind", "row", "text"),
    [
        ("energy", {"x_j": 3.6e6, "x_low_j": 3.564e6, "x_high_j": 3.636e6}, "1.000 ± 0.010 kWh"),
        ("share", {"x": 0.1234}, "12.3 %"),
        ("money", {"x": 12.345, "x_currency": "EUR"}, "12.3 EUR"),
        ("money", {"x": 2.2e-7, "x_currency": "USD"}, "220 nUSD"),
        ("carbon", {"x_g": 2.5e6}, "2.50 t"),
        ("carbon", {"x_g": 1234.0}, "1.23 kg"),
        ("power", {"x_w": None}, "missing"),
        ("power", {}, "–"),
        ("duration", {"x_s": 93784.0}, "1 d 2 h"),
    ],
)
def test_figures_are_written_as_people_read_them(kind: str, row: dict[str, Any], text: str) -> None:
    assert figure_text(row, "x", kind) == text


def test_a_formula_in_a_table_is_text_for_a_spreadsheet() -> None:
    table = {"columns": [{"key": "name", "kind": "text"}], "rows": [{"name": "=1+1"}, {"name": "-2"}, {"name": "fine"}]}

    assert table_csv(table).splitlines() == ["name", "'=1+1", "'-2", "fine"]
