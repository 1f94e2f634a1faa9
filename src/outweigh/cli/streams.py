"""Standard output and error as the verbs need them: there, and able to take every sign that we print."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final

_HANDLER: Final = "outweigh"
#: Signs that figures need, as they are written without them: a minus that became "?" would be another figure.
_PLAIN: Final = {"\N{MINUS SIGN}": "-", "±": "+-", "–": "-", "→": "->", "×": "x", "…": "...", "²": "2", "µ": "u"}


def make_ready() -> None:
    """For who closed a stream (`>&-`, daemons), and for encodings that lack a minus sign."""
    codecs.register_error(_HANDLER, _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors=_HANDLER)


def _replaced(err: UnicodeError) -> tuple[str, int]:
    """What stands for signs that an encoding lacks; others become escapes, which JSON reads back."""
    if not isinstance(err, UnicodeEncodeError):
        raise err
    text = err.object[err.start : err.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in text), err.end


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
