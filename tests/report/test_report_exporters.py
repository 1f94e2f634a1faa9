"""HTML, Markdown and JSON from one document: complete, offline, and safe against what a name may hold."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from outweigh.core.errors import OutputError
from outweigh.core.verdict import Outcome
from outweigh.ports import Exporter
from outweigh.registry import exporters
from outweigh.report import review_document

ATTACK = "</script><img src=https://evil.example/x onerror=alert(1)>|`x` @you <!--"
NAMES = {"html": "report.html", "markdown": "report.md", "json": "review.json"}
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page, checks that tags close in order, and keeps what a browser would see of it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.visible: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.visible.append(data)

    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.visible))


def written(kind: str, facts, folder: Path) -> str:
    path = folder / NAMES[kind]
    exporters.get(kind)().write(review_document(facts), path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", NAMES)
def test_every_exporter_keeps_the_promise_of_the_port(kind):
    exporter = exporters.get(kind)()

    assert isinstance(exporter, Exporter)
    assert exporter.name == kind


def test_json_is_the_document_at_full_precision_in_reading_order(make_facts, tmp_path):
    document = review_document(make_facts())

    text = written("json", make_facts(), tmp_path)

    assert json.loads(text) == document
    assert list(json.loads(text)) == list(document)
    assert '\n  "schema": 1' in text


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_a_provisional_verdict_says_so_before_anything_else(kind, make_facts, tmp_path):
    text = written(kind, make_facts(), tmp_path)
    text = Page(text).text() if kind == "html" else text

    badge = text.index("PROVISIONAL · energy is modelled, grade C")
    assert badge < text.index("Decided by proportion")
    assert "not read from a counter" in text


def test_json_says_that_the_verdict_is_provisional(make_facts, tmp_path):
    found = json.loads(written("json", make_facts(), tmp_path))

    assert found["evidence"]["provisional"] is found["verdict"]["provisional"] is True


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_measured_evidence_carries_no_badge(kind, make_facts, tmp_path):
    firm = replace(make_facts().verdict, provisional=False, outcome=Outcome.PASS)

    text = written(kind, make_facts(verdict=firm), tmp_path)

    assert "PROVISIONAL" not in text


@pytest.mark.parametrize("kind", ["html", "markdown"])
@pytest.mark.parametrize(
    "figure",
    [
        "95.1 (93.9 to 96.2) %",  # quality with its interval
        "0.161 (0.128 to 0.204) J",  # energy with the meter's own uncertainty
        "rounds ± 0.00037 J",
        "× 2.152 ± 0.014",
        "190 (150 to 240) Wh",  # the plan
        "0.190 EUR/kWh",
        "a gap of 0.065 %",
        "2.40 ± 0.72 W",  # the hum
        "± 24 % (k = 2)",
        "CC-BY-4.0",
        "retrieved",
        "21,800 more evaluation items",
        "1.18 ± 0.28",  # what it cost
        "Does the gain outweigh the growth in energy?",
        "team-platform",
        "/sys/class/powercap is empty",
        "onnxruntime",
    ],
)
def test_the_report_shows_the_figures_people_decide_on(kind, figure, make_facts, tmp_path):
    text = written(kind, make_facts(), tmp_path)
    text = Page(text).text() if kind == "html" else text

    assert figure.lower() in text.lower().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_a_missing_plan_shows_its_reason(kind, make_facts, no_plan, tmp_path):
    text = written(kind, make_facts(plan=no_plan), tmp_path)

    assert "No plan: the project declares one site, and a plan needs two" in text


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_a_number_the_advice_names_already_is_not_said_twice(kind, make_facts, tmp_path):
    advised = replace(make_facts().verdict, advice="measure 21,800 more evaluation items")

    text = written(kind, make_facts(verdict=advised), tmp_path)

    assert "Measure 21,800 more evaluation items." in text
    assert "would settle it" not in text


def test_the_page_is_well_formed_and_readable_without_javascript(make_facts, tmp_path):
    page = Page(written("html", make_facts(), tmp_path))

    assert page.open == []
    assert sum(tag == "table" for tag, _ in page.tags) == 7
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    labelled = [attrs for tag, attrs in page.tags if attrs.get("class") == "plot"]
    assert len(labelled) == 2
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in labelled)


def test_the_page_loads_nothing_from_anywhere(make_facts, tmp_path):
    text = written("html", make_facts(), tmp_path)
    page = Page(text)

    addresses = [
        value
        for _, attrs in page.tags
        for key, value in attrs.items()
        if key in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    ]
    styles = text[text.index("<style>") : text.index("</style>")]
    assert addresses == []
    assert "url(" not in styles
    assert "@import" not in styles
    assert not any(tag in {"link", "iframe", "object", "img"} for tag, _ in page.tags)


def test_only_the_scripts_of_the_package_may_run(make_facts, tmp_path):
    page = Page(written("html", make_facts(), tmp_path))

    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 4
    assert "script-src 'unsafe-inline'" not in policy


def test_the_page_stays_under_900_kilobytes(make_facts, tmp_path):
    assert len(written("html", make_facts(), tmp_path).encode()) < 900_000


def test_a_name_cannot_break_out_of_the_page(make_facts, tmp_path):
    page = Page(written("html", make_facts(ATTACK), tmp_path))

    data = next(script for script in page.scripts if script.startswith('{"unit"'))
    assert json.loads(data)["variants"][1]["name"] == ATTACK
    assert "<" not in data
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert page.open == []
    assert "</script><img src=https://evil.example/x onerror=alert(1)>" in page.text()


def test_a_name_cannot_break_out_of_markdown(make_facts, tmp_path):
    text = written("markdown", make_facts(ATTACK), tmp_path)

    assert "<img" not in text
    assert "</script" not in text
    assert "<!--" not in text
    assert "@you" not in text


def tables_of(markdown: str) -> list[list[str]]:
    blocks = re.findall(r"(?:^\|.*\|\n?)+", markdown, flags=re.MULTILINE)
    return [block.strip().splitlines() for block in blocks]


@pytest.mark.parametrize("name", ["minilm-l6", ATTACK])
def test_markdown_tables_have_one_cell_a_column(name, make_facts, tmp_path):
    tables = tables_of(written("markdown", make_facts(name), tmp_path))

    assert len(tables) == 7
    for lines in tables:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(columns) == 1
        assert re.fullmatch(r"\|( :?-+:? \|)+", lines[1])


def test_markdown_prose_is_wrapped(make_facts, tmp_path):
    text = written("markdown", make_facts(), tmp_path)

    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 112


@pytest.mark.parametrize("kind", NAMES)
def test_a_missing_folder_is_an_output_error_with_a_remedy(kind, make_facts, tmp_path):
    with pytest.raises(OutputError, match="cannot write") as caught:
        written(kind, make_facts(), tmp_path / "missing")

    assert caught.value.remedy
    assert caught.value.path.endswith(NAMES[kind])


@pytest.mark.parametrize("kind", NAMES)
def test_a_refused_write_leaves_the_old_report_whole(kind, make_facts, tmp_path, monkeypatch):
    path = tmp_path / NAMES[kind]
    path.write_text("the last report")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        written(kind, make_facts(), tmp_path)

    assert path.read_text() == "the last report"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_report_over_a_folder_is_an_output_error(make_facts, tmp_path):
    (tmp_path / "report.html").mkdir()

    with pytest.raises(OutputError):
        written("html", make_facts(), tmp_path)


def test_the_vendored_scripts_are_those_whose_licences_are_shipped():
    import hashlib
    from importlib import resources

    vendor = resources.files("outweigh.data.web")
    licences = vendor.joinpath("LICENSES.txt").read_text()

    for name in ("d3.min.js", "plot.umd.min.js", "uplot.min.js", "uplot.min.css"):
        content = vendor.joinpath(name).read_bytes()
        assert hashlib.sha256(content).hexdigest() in licences
        assert b"</script" not in content
        assert b"<!--" not in content
