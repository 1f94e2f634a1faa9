"""Line numbers of keys in a TOML text. tomllib reads values and forgets where they stood.

Only text that tomllib accepts comes here, so this scanner checks nothing: it walks keys, skips over values and notes
the line on which each key starts.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*(\.)?""")
# The order matters: three quotes before one. Up to two quotes may stand right before the closing three.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")


def locate(text: str) -> dict[Path, int]:
    """Line (1-based) on which each key, table, array element and inline key of a valid TOML text starts.

    An explicit `[table]` header wins over a mention of the table on the way to something deeper.

    >>> locate("[a]\\nb.c = 1\\nd = [\\n  { e = 2 },\\n]\\n")[("a", "d", 0, "e")]
    4
    """
    return _Scanner(text).scan()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Line of the key, or of the nearest table around it; 0 when none of it is in the file."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 0


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._tables_in: dict[Path, int] = {}  # array of tables -> how many so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header(array=True)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._header(array=False)
                self._at += 1
            else:
                self._pair(table)
        return self._lines

    def _skip_blank(self) -> bool:
        """True while there is text left."""
        self._at = self._skip(_BLANK)
        return self._at < len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        return match.end() if match else self._at

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)

    def _key(self) -> list[str]:
        """The parts of a dotted key; leaves the scanner behind it."""
        parts = []
        while match := _KEY.match(self._text, self._at):
            raw = match[1]
            parts.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
            self._at = match.end()
            if not match[2]:
                break
        return parts

    def _header(self, *, array: bool) -> Path:
        line = self._line()
        *outer, last = self._key()
        path: Path = ()
        for part in outer:
            path = self._newest((*path, part))
            self._lines.setdefault(path, line)
        path = (*path, last)
        if array:
            self._lines.setdefault(path, line)
            index = self._tables_in.get(path, 0)
            self._tables_in[path] = index + 1
            path = (*path, index)
        self._lines[path] = line
        return path

    def _newest(self, path: Path) -> Path:
        """The last element, where the path is an array of tables: that is what TOML extends."""
        return (*path, self._tables_in[path] - 1) if path in self._tables_in else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip_blank()
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            self._elements(path)
        elif opening == "{":
            self._at += 1
            self._inline(path)
        else:
            self._at = self._skip(_STRING if opening in "\"'" else _OTHER)

    def _elements(self, path: Path) -> None:
        index = 0
        while self._skip_blank() and self._text[self._at] != "]":
            self._lines.setdefault((*path, index), self._line())
            self._value((*path, index))
            self._pass_comma()
            index += 1
        self._at += 1

    def _inline(self, path: Path) -> None:
        while self._skip_blank() and self._text[self._at] != "}":
            self._pair(path)
            self._pass_comma()
        self._at += 1

    def _pass_comma(self) -> None:
        if self._skip_blank() and self._text[self._at] == ",":
            self._at += 1
