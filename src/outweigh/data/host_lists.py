"""Slurm's short way of writing many host names."""

from __future__ import annotations

import re


def hosts(text: str) -> tuple[str, ...]:
    """Names of a host list, in its order.

    Source: scontrol(1), "show hostnames".

    >>> hosts("se[1-3,07],fr1")
    ('se1', 'se2', 'se3', 'se07', 'fr1')
    """
    names = []
    for head, inside, tail in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?([^,\[\]]*)", text):
        for part in inside.split(",") if inside else [""]:
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last) + 1) if first.isdecimal() and last.isdecimal() else None
            width = len(first)
            names += [f"{head}{each:0{width}d}{tail}" for each in numbers] if numbers else [f"{head}{part}{tail}"]
    return tuple(names)
