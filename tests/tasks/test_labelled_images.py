from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from outweigh.backends.tasks._labelled_images import read_images
from outweigh.core.errors import TaskError
from outweigh.core.project import PrimaryMetric, TaskSpec
from outweigh.registry import tasks


def test_a_table_of_pixels_and_an_archive_of_the_same_images_give_the_same_items(tmp_path):
    images = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
    labels = np.array([0, 1, 0, 1, 0, 1])
    rows = np.column_stack([images.reshape(6, 4), labels])
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", fmt="%d")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    np.savez(tmp_path / "t.npz", images=images, labels=labels)

    found = [
        {(image.digest, image.label) for image in read_images(tmp_path / name, "t")}
        for name in ("t.csv", "t.csv.gz", "t.npz")
    ]

    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 6


def test_a_folder_of_class_folders_gives_its_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for label, shade in (("dark", 10), ("light", 200)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(2):
            image.new("L", (4, 3), shade + number).save(tmp_path / "set" / label / f"{number}.png")
    (tmp_path / "set" / "light" / "notes.txt").write_text("not a picture")

    found = read_images(tmp_path / "set", "t")

    assert [(item.label, item.pixels.shape, float(item.pixels[0, 0, 0])) for item in found] == [
        ("dark", (3, 4, 1), 10.0), ("dark", (3, 4, 1), 11.0), ("light", (3, 4, 1), 200.0), ("light", (3, 4, 1), 201.0),
    ]  # fmt: skip
    assert read_images(tmp_path / "set", "t", size="6x8")[0].pixels.shape == (6, 8, 1)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"1,2,3\n", "2 pixels a row, which is not 1x1"),
        ("t.csv", b"1,2,3,4,x\n", "no table of pixels"),
        ("t.csv", b"1,2,3,4,0.5\n", "holds no labels"),
        ("t.csv.gz", b"not gzip", "cannot be read"),
        ("t.npz", b"not zip", "not a readable .npz"),
        ("t.txt", b"", "no data set this task reads"),
    ],
)
def test_files_that_hold_no_images_are_refused(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TaskError, match=problem) as caught:
        read_images(tmp_path / name, "t")

    assert caught.value.remedy


def test_an_archive_with_pickled_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "t.npz", images=np.array([{"a": 1}], dtype=object), labels=np.array([1]))

    with pytest.raises(TaskError, match="not a readable"):
        read_images(tmp_path / "t.npz", "t")


def test_images_of_several_shapes_or_without_finite_pixels_are_refused(tmp_path):
    np.savez(tmp_path / "nan.npz", images=np.full((2, 2, 2), np.nan), labels=np.array([0, 1]))
    np.savez(tmp_path / "odd.npz", images=np.zeros((2, 2, 2)), labels=np.array([0]))

    with pytest.raises(TaskError, match="not finite"):
        read_images(tmp_path / "nan.npz", "t")
    with pytest.raises(TaskError, match="do not fit"):
        read_images(tmp_path / "odd.npz", "t")


def test_the_digits_of_scikit_learn_are_read_where_they_lie():
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed")
    task = tasks.get("image-classification")()
    dataset = "package:scikit-learn/sklearn/datasets/data/digits.csv.gz"
    spec = TaskSpec("image-classification", dataset, PrimaryMetric("accuracy"), options=(("scale", 16.0),))

    task.load(spec, Path())
    pixels, places = task.examples()

    # E. Alpaydin and C. Kaynak, UCI: the 1,797 digits of the test set, 8 × 8 pixels of 0 to 16.
    assert task.n_items + len(places) == 1797
    assert pixels.shape == (600, 1, 8, 8)
    assert pixels.max() == 1.0
    assert task.classes == tuple("0123456789")
