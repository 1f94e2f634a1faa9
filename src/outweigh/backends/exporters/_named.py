"""Names that another program allows."""

from __future__ import annotations

import re
from collections.abc import Sequence


def slugs(names: Sequence[str], *, also: str = "", most: int = 200) -> list[str]:
    """The names of ASCII letters, digits, `-` and what `also` holds; none twice, none empty, in their order.

    >>> slugs(["train 1", "train-1", "{{}}", "x" * 300], most=10)
    ['train-1', 'train-1-2', 'job', 'xxxxxxxxxx']
    """
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        base = re.sub(f"[^A-Za-z0-9{re.escape(also)}]+", "-", name)[:most].strip("-") or "job"
        slug, number = base, 2
        while slug in taken:
            slug, number = f"{base}-{number}", number + 1
        taken.add(slug)
        found.append(slug)
    return found
