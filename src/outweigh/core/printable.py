"""Text from a file, as it can be shown: a terminal obeys some signs instead of printing them."""

from __future__ import annotations

import unicodedata
from typing import Final

# They turn the direction of what follows, so that a name reads as another one.
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_OBEYED: Final = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of signs, breaks of lines and paragraphs


def printable(text: str) -> str:
    """Signs that a terminal would obey become their escapes; all others stay, in whatever script.

    >>> printable("train\\x1b[31m"), printable("trénì, 訓練")
    ('train\\\\x1b[31m', 'trénì, 訓練')
    """
    return "".join(_escaped(sign) if _obeyed(sign) else sign for sign in text)


def _obeyed(sign: str) -> bool:
    return sign in _TURNING or unicodedata.category(sign) in _OBEYED


def _escaped(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
