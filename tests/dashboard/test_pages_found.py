"""Files of a project's folder that pages can show: known by their content, and none from outside the folder."""

from pathlib import Path

import pytest

from outweigh.app.pages.found import FileKind, files_of, json_of, named
from outweigh.core.errors import UsageError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        ("levers/levers.toml", FileKind.LEVERS),
        ("tariff/site.toml", FileKind.TARIFF),
        ("tariff/week.csv", FileKind.LOAD),
        ("placement/placement.toml", FileKind.PLACEMENT),
        ("finance/case.toml", FileKind.CASE),
    ],
)
def test_a_file_is_known_by_what_stands_in_it_whatever_its_name(tmp_path, example, kind):
    source = EXAMPLES / example
    (tmp_path / f"anything{source.suffix}").write_bytes(source.read_bytes())

    (found,) = files_of(tmp_path)

    assert found.kind is kind


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.toml", b"[base\n"),
        ("binary.toml", b"\xff\xfe\x00"),
        ("nested.toml", b"x = " + b"[" * 50_000),
        ("other.json", b'{"schema": "something.else/1"}'),
        ("week.csv", b"\xff\xfe,\x00"),
        ("empty.csv", b""),
    ],
)  # fmt: skip
def test_a_file_of_no_form_we_know_is_passed_over(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    assert files_of(tmp_path) == ()


def test_hidden_folders_and_deep_ones_are_not_looked_into(tmp_path):
    case = (EXAMPLES / "finance" / "case.toml").read_bytes()
    for folder in (".outweigh", "node_modules", "a/b/c/d", "a/b/c"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "case.toml").write_bytes(case)

    assert [one.name for one in files_of(tmp_path)] == ["a/b/c/case.toml"]


def test_only_what_was_found_can_be_named(tmp_path):
    (tmp_path / "case.toml").write_bytes((EXAMPLES / "finance" / "case.toml").read_bytes())
    files = files_of(tmp_path, FileKind.CASE)

    assert named(files, "case.toml", "case").path == tmp_path / "case.toml"
    for other in ("../case.toml", str(tmp_path / "case.toml"), "./case.toml", ""):
        with pytest.raises(UsageError):
            named(files, other, "case")


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text('{"schema": "outweigh.plan/1", "a": 1}', encoding="utf-8")
    first = json_of(files_of(tmp_path)[0])
    path.write_text('{"schema": "outweigh.plan/1", "a": 22}', encoding="utf-8")

    assert (first["a"], json_of(files_of(tmp_path)[0])["a"]) == (1, 22)
