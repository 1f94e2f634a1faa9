"""The line of every key, in every way TOML has of writing one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.config.locate import Path, line_of, locate


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\n\nb = 2", ("b",), 3),
        ("[t]\nx = 1", ("t", "x"), 2),
        ("[t.u]\nx = 1\n[t]\ny = 1", ("t",), 3),  # the header itself, not the mention before it
        ("[t.u]\nx = 1", ("t",), 1),
        ("a.b . c = 1", ("a", "b", "c"), 1),
        ("\"a.b\".'c d' = 1", ("a.b", "c d"), 1),
        ('"\\u00e9" = 1', ("é",), 1),
        ('"" = 1', ("",), 1),
        ("t = { x = 1, y = { z = 2 } }", ("t", "y", "z"), 1),
        ("a = [\n 1, # ] \n [2,\n 3]\n]", ("a", 1, 1), 4),
        ("a = [\n { x = 1 },\n { x = 2 },\n]\nb = 1", ("a", 1, "x"), 3),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1, "x"), 4),
        ("[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2", ("a", 1, "b", "x"), 6),
        ("[[a]]\n[[a.b]]\n[[a.b]]\nx = 1\n[[a]]\n[[a.b]]\nx = 2", ("a", 1, "b", 0, "x"), 7),
        ('a = """\nb = 1\n\\"""" # "\nc = 1', ("c",), 4),
        ('a = """x"""""\nc = 1', ("c",), 2),
        ("a = '''\n[b]\n'''''\nc = 1", ("c",), 4),
        ("a = '\\'\nc = 1", ("c",), 2),
        ('a = "\\\\"\nc = 1', ("c",), 2),
        ("a = 1979-05-27 07:32:00 # when\nc = 1", ("c",), 2),
        ("a = []\nb = {}\nc = 1", ("c",), 3),
    ],
)
def test_a_key_is_found_on_its_line(text: str, path: Path, line: int):
    tomllib.loads(text)  # the case itself is valid TOML

    assert locate(text)[path] == line


def test_a_key_that_is_not_there_stands_where_its_table_does():
    lines = locate("a = 1\n[t.u]\nx = 1\n")

    assert line_of(lines, ("t", "u", "missing", 3)) == 2
    assert line_of(lines, ("nowhere",)) == 0


# --- the law: whoever writes the file knows the lines ------------------------------------------------


@dataclass
class Writer:
    """Writes a tree as TOML in the layout that `choices` picks, noting the line of every key it writes."""

    choices: st.DataObject
    text: str = ""
    keys: int = 0
    lines: dict[Path, int] = field(default_factory=dict)

    def note(self, path: Path) -> Path:
        self.lines[path] = self.text.count("\n") + 1
        return path

    def key(self, table: Path) -> Path:
        self.keys += 1
        name = f"k{self.keys}"
        path = self.note((*table, name))
        self.text += self.choices.draw(st.sampled_from([name, f'"{name}"', f"'{name}'"]))
        return path

    def pair(self, value: object, table: Path) -> None:
        path = self.key(table)
        self.text += self.choices.draw(st.sampled_from(["=", " = ", "\t= "]))
        self.value(value, path)

    def blank(self) -> None:
        self.text += self.choices.draw(st.sampled_from(["", " ", "\n", " # ] } ' \"\n", "\n\n\t"]))

    def value(self, value: object, path: Path) -> None:
        if isinstance(value, list):
            self.text += "["
            for index, element in enumerate(value):
                self.blank()
                self.note((*path, index))
                self.value(element, (*path, index))
                self.blank()
                self.text += ","
            self.blank()
            self.text += "]"
        elif isinstance(value, tuple):
            self.text += "{ "
            for index, element in enumerate(value):
                self.text += ", " if index else ""
                self.pair(element, path)
            self.text += " }"
        else:
            self.text += str(value)


PLAIN = ["1", "-2.5e3", "true", "nan", "2026-01-01T00:00:00Z", "07:32:00"]
ON_ONE_LINE = ['""', "''", '"a # ] } \\" b"', "'# ] \" {'", '"\\\\"', '"""a""b"""', "'''a''''"]
ON_SEVERAL = ['"""\n# [x]\ny = 1\n"""', '"""q\\""""""', "'''\n]\n[x]\n'''"]
SCALARS = st.sampled_from([*PLAIN, *ON_ONE_LINE, *ON_SEVERAL])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


@given(tables=st.lists(st.lists(TREES, max_size=3), max_size=4), choices=st.data())
def test_every_key_of_any_document_is_found_on_the_line_it_was_written_on(
    tables: list[list[object]], choices: st.DataObject
):
    writer = Writer(choices)
    for pairs in tables:
        writer.blank()
        writer.text += "\n["
        table = writer.key(())
        writer.text += "]\n"
        for value in pairs:
            writer.pair(value, table)
            writer.text += "\n"
    tomllib.loads(writer.text)

    assert locate(writer.text) == writer.lines
