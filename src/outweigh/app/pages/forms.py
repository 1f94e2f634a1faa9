"""Errors of the rooms behind a form, told at the field that they are about and in its words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from outweigh.app.pages.asked import Asked, FieldRefused, clipped
from outweigh.core.errors import ConfigError, InvalidQuantity, OutweighError

_OPTION = re.compile(r"--([a-z][a-z-]*)")


def told_at(
    err: OutweighError,
    asked: Asked,
    fields: Sequence[str],
    *,
    folder: Path,
    other: str,
    options: Mapping[str, str],
) -> FieldRefused:
    """The error as the form tells it.

    It is about the field that `options` has for its quantity, else about the one whose text it quotes, else about the
    one whose option of the command line, or whose quantity, it names.

    Args:
        fields: of the form, in its order.
        folder: of the project, whose files are named from there.
        other: the field that is told what is about none.
        options: option of the command line, or quantity, -> field, where they are not called alike.
    """
    problem, remedy = _in_words(err, folder)
    given = err.given if isinstance(err, InvalidQuantity) else ""
    quoted = [name for name in fields if (text := asked.text(name)) and (repr(text) in str(err) or text in given)]
    about = [err.quantity] if isinstance(err, InvalidQuantity) else []
    known = [options[one] for one in about if one in options]
    named = [options.get(one, one.replace("-", "_")) for one in (*_OPTION.findall(str(err)), *about)]
    field = next((name for name in (*known, *quoted, *named) if name in fields), other)
    return FieldRefused(clipped(problem, 300), field, clipped(remedy, 300))


def _in_words(err: OutweighError, folder: Path) -> tuple[str, str]:
    problem, remedy = str(err).removesuffix(err.remedy).rstrip(". :"), err.remedy
    if isinstance(err, ConfigError):
        where = f"{Path(err.path).name}, line {err.line}: " if err.line else f"{Path(err.path).name}: "
        problem = f"{where}{err.problem}"
    inside = f"{folder.resolve()}/"
    problem, remedy = (_OPTION.sub(_plain, text.replace(inside, "")) for text in (problem, remedy))
    return problem, remedy


def _plain(found: re.Match[str]) -> str:
    return found[1].replace("-", " ")
