from __future__ import annotations

import csv
import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from outweigh.backends.tasks._labelled_text import Labelled, read_labelled
from outweigh.backends.tasks._splitting import shuffle_labels, split_labelled
from outweigh.core.errors import MissingExtra, TaskError


def items(sizes: dict[str, int]) -> list[Labelled]:
    return [Labelled(f"{c} {i}", c, f"{hash_of(c)}{i:04d}") for c, size in sizes.items() for i in range(size)]


def hash_of(name: str) -> str:
    return name.encode().hex()


def test_folder_csv_and_json_lines_of_the_same_texts_give_the_same_items(tmp_path):
    rows = [("Tea, with\nmilk", "drink"), ("Bread \N{LINE SEPARATOR} and butter", "food"), ("Überraschung", "drink")]
    for number, (text, label) in enumerate(rows):
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / label / f"{number}.txt").write_text(text, encoding="utf-8")
    with (tmp_path / "set.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
    (tmp_path / "set.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    folder, table, json_lines = (
        {(item.digest, item.label) for item in read_labelled(tmp_path / name, "t")}
        for name in ("set", "set.csv", "set.jsonl")
    )

    assert folder == table == json_lines
    assert len(folder) == 3


def test_a_text_that_occurs_twice_is_kept_once_under_its_first_label(tmp_path):
    (tmp_path / "set.csv").write_text("text,label\nsame,b\nother,a\nsame,a\n")

    found = read_labelled(tmp_path / "set.csv", "t")

    assert [(item.text, item.label) for item in found] == [("same", "b"), ("other", "a")]


def test_a_text_file_that_is_not_utf_8_is_read_as_windows_1252(tmp_path):
    (tmp_path / "set" / "money").mkdir(parents=True)
    (tmp_path / "set" / "money" / "1.txt").write_bytes("costs £5".encode("cp1252"))

    assert read_labelled(tmp_path / "set", "t")[0].text == "costs £5"


def test_columns_can_have_other_names(tmp_path):
    (tmp_path / "set.jsonl").write_text('{"body": "x", "queue": 3}\n{"body": "y", "queue": 4}\n')

    found = read_labelled(tmp_path / "set.jsonl", "t", "body", "queue")

    assert [(item.text, item.label) for item in found] == [("x", "3"), ("y", "4")]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("set.csv", b"txt,label\nx,a\n", "no column 'text'"),
        ("set.csv", b"text,label\nx\n", "set.csv:2 has no label"),
        ("set.csv", b'text,label\n"x,a\n', "is not CSV"),
        ("set.csv", b"text,label\n\xff,a\n", "is not UTF-8"),
        ("set.csv", b"text,label\n", "holds no texts"),
        ("set.csv", b"", "no column 'text'"),
        ("set.jsonl", b'{"text": "x"\n', "set.jsonl:1 is not JSON"),
        ("set.jsonl", b'["x", "a"]\n', "set.jsonl:1 is not a JSON object"),
        ("set.jsonl", b'{"text": 5, "label": "a"}\n', "text is not a string"),
        ("set.jsonl", b'{"text": "\\ud800", "label": "a"}\n', "is not Unicode"),
        ("set.jsonl", b'{"text": " ", "label": "a"}\n', "set.jsonl:1 has no text"),
        ("set.xlsx", b"PK", "no data set this task reads"),
        ("set/a/1.txt", "text".encode("utf-16"), "a/1.txt is not text"),
        ("set/a/1.txt", b"", "a/1.txt has no text"),
        ("set/1.txt", b"x", "has no class folders"),
    ],
)
def test_data_that_cannot_be_read_is_named_with_its_place(tmp_path, name, content, problem):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    with pytest.raises(TaskError, match=problem) as caught:
        read_labelled(tmp_path / Path(name).parts[0], "t")

    assert caught.value.remedy


def test_the_nearest_column_is_offered(tmp_path):
    (tmp_path / "set.csv").write_text("txt,label\nx,a\n")

    with pytest.raises(TaskError, match="Did you mean 'txt'"):
        read_labelled(tmp_path / "set.csv", "t")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_names_the_package_and_another_way(tmp_path):
    (tmp_path / "set.parquet").write_bytes(b"PAR1")

    with pytest.raises(MissingExtra, match="pyarrow") as caught:
        read_labelled(tmp_path / "set.parquet", "t")

    assert "CSV" in caught.value.remedy


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet_is_read_where_pyarrow_is_installed(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["x", "y"], "label": [1, 2]}), tmp_path / "set.parquet")

    found = read_labelled(tmp_path / "set.parquet", "t")

    assert [(item.text, item.label) for item in found] == [("x", "1"), ("y", "2")]


sizes_of_classes = st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 40), min_size=2)


@given(sizes=sizes_of_classes, seed=st.integers(0, 99), data=st.data())
def test_a_split_trains_on_as_many_as_asked_each_class_by_its_share_and_shares_no_text(sizes, seed, data):
    everything = items(sizes)
    train = data.draw(st.integers(len(sizes), len(everything) - len(sizes)))

    try:
        split = split_labelled(everything, train, seed, "t")
    except TaskError:
        assume(False)  # the training texts used up all classes but one

    assert len(split.train) == train
    assert {item.digest for item in split.train} | {item.digest for item in split.evaluation} == {
        item.digest for item in everything
    }
    assert len(split.train) + len(split.evaluation) == len(everything)
    for label, count in Counter(item.label for item in split.train).items():
        assert count >= 1
        # Largest remainder moves a class by less than one; a class lifted to its one text takes it from another.
        assert abs(count - train * sizes[label] / len(everything)) < len(sizes)
    assert {item.label for item in split.train} == set(sizes)


@given(sizes=sizes_of_classes, seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_the_data(sizes, seed, order):
    everything = items(sizes)
    shuffled = order.sample(everything, len(everything))

    assert split_labelled(everything, len(sizes), seed, "t") == split_labelled(shuffled, len(sizes), seed, "t")


def test_another_seed_draws_another_split():
    everything = items({"a": 50, "b": 50})

    assert split_labelled(everything, 50, 0, "t") != split_labelled(everything, 50, 1, "t")


@given(sizes=sizes_of_classes, seed=st.integers(0, 99))
def test_shuffled_labels_keep_the_texts_and_the_size_of_each_class(sizes, seed):
    everything = items(sizes)

    shuffled = shuffle_labels(everything, seed)

    assert {item.digest for item in shuffled} == {item.digest for item in everything}
    assert Counter(item.label for item in shuffled) == Counter(sizes)


@pytest.mark.parametrize(
    ("sizes", "train", "problem"),
    [
        ({"a": 20}, 5, "quality set with one class"),
        ({"a": 10, "b": 10}, 19, "too few"),
        ({"a": 10, "b": 10, "c": 10}, 2, "cannot cover 3 classes"),
        ({"a": 10, "b": 1}, 5, "quality set with one class"),
    ],
)
def test_a_set_that_cannot_judge_anything_is_refused(sizes, train, problem):
    with pytest.raises(TaskError, match=problem) as caught:
        split_labelled(items(sizes), train, 0, "t")

    assert caught.value.remedy
