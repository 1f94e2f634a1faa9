"""What stands behind the colon of an executor's name: `slurm:partition=eco,licence=watts`."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from datetime import UTC, datetime

from outweigh.core.errors import SiteUnknown, UsageError


def options(executor: str, argument: str, known: Collection[str]) -> dict[str, str]:
    """Names and values. Raises UsageError for one that is not known, given twice, or has no value."""
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in argument.split(","))):
        name, equals, value = part.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            all_of_them = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"the executor {executor} has no option {name!r}",
                f"Did you mean {near[0]!r}?" if near else f"Its options are: {all_of_them}",
            )
        if not equals or not value or name in found:
            said = "is given twice" if name in found else "has no value"
            raise UsageError(f"the option {name} of the executor {executor} {said}", f"Write {executor}:{name}=VALUE")
        found[name] = value
    return found


def known_site(executor: str, site: str, known: Collection[str]) -> None:
    """Raises SiteUnknown, with the nearest name, unless `site` is among them or empty."""
    if site and site not in known:
        near = difflib.get_close_matches(site, known, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else "Plan again without it, or bring it back"
        raise SiteUnknown(executor, site, tuple(sorted(known)), remedy)


def system_now() -> datetime:
    return datetime.now(UTC)
