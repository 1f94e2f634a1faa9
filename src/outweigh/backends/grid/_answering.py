"""What several grid sources say alike: refusals, and the name nearest to one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NoReturn

from outweigh.core.errors import FactorMissing, UnknownZone, UsageError
from outweigh.core.series import CarbonMeaning
from outweigh.ports import SourceLimits


def no_argument(name: str, argument: str) -> None:
    """Refuses an argument where a source takes none."""
    if argument:
        raise UsageError(f"grid source {name} takes no argument, and was given {argument!r}", f"Write just {name!r}")


def meaning_of(limits: SourceLimits, asked: CarbonMeaning | None, source: str, zone: str) -> CarbonMeaning:
    """The meaning asked for, or the source's own; raises FactorMissing where it does not publish that."""
    if not limits.meanings:
        not_offered(source, "carbon intensity", zone)
    if asked is None:
        return limits.meanings[0]
    if asked not in limits.meanings:
        known = "; ".join(str(meaning) for meaning in limits.meanings)
        raise FactorMissing(
            str(asked), zone, (), f"Grid source {source} publishes {known}; take another source for what you ask"
        )
    return asked


def not_offered(source: str, what: str, zone: str) -> NoReturn:
    raise FactorMissing(what, zone, (), f"Grid source {source} does not publish it; `outweigh grid zones` lists others")


def unknown_zone(source: str, zone: str, known: Mapping[str, tuple[str, ...]]) -> NoReturn:
    """
    Args:
        known: zone -> its name and whatever else it goes by.
    """
    raise UnknownZone(zone, nearest(zone, known), f"Grid source {source} knows {len(known)} zones; take one of those")


def nearest(asked: str, names: Mapping[str, tuple[str, ...]], n: int = 4) -> tuple[str, ...]:
    """Keys nearest to `asked` by key, name or alias, the enclosing country first ("CA" for "CA-QC").

    Args:
        names: key -> its name, then other keys it goes by; an empty text is no name.
    """
    wanted = asked.casefold()
    by_text: dict[str, str] = {}
    for key, others in names.items():
        for text in (key, *others):
            if text:
                by_text.setdefault(text.casefold(), key)
    # "eu-central-1" misses its provider and is contained in the full key: containment before similarity.
    inside = [key for text, key in by_text.items() if len(wanted) > 2 and wanted in text]
    country = [by_text[head] for head in wanted.split("-")[:1] if head in by_text]
    similar = [by_text[text] for text in difflib.get_close_matches(wanted, list(by_text), n=n)]
    found = list(dict.fromkeys([*country, *inside, *similar]))[:n]
    return tuple(f"{key} ({names[key][0]})" if names[key] and names[key][0] else key for key in found)


def plain_names(zones: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(zones, ())
