"""Is a history one: what a back-test plays has to have come, and says where it is from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from outweigh.app.places import Surveyed
from outweigh.app.planning import source_of
from outweigh.core.errors import GapsTooLarge
from outweigh.core.meaning import DataQuality, Gap
from outweigh.core.series import CarbonSeries, PriceSeries
from outweigh.plan.saving_error import KNOWN


def check_history(found: Surveyed) -> None:
    """Refuse what never came: the mean day of another year has no weather, and every policy looks good on it.

    Raises:
        GapsTooLarge: where.
    """
    for site, what, series in _series(found):
        typical = sum(quality is DataQuality.TYPICAL for quality in series.qualities)
        if typical:
            raise GapsTooLarge(
                f"the {what} of {site}",
                "the history that is to be played: the mean day of another year is none",
                math.ceil(100 * typical / len(series.qualities)),
                "Give the history as a file (--file), or name a source that has it (--source)",
            )


def not_measured(found: Surveyed) -> Iterator[str]:
    """What of the history nobody metered, settled or declared, in a sentence each."""
    for site, what, series in _series(found):
        each = zip(series.values, series.qualities, strict=True)
        known = [quality for value, quality in each if not isinstance(value, Gap)]
        guessed = [quality for quality in known if quality not in KNOWN]
        if guessed:
            kinds = ", ".join(sorted(set(guessed)))
            yield (
                f"NOT MEASURED: {len(guessed) / len(known):.0%} of the {what} of {site} is {kinds} "
                f"({series.origin.source}). What is saved on it is not what would have been."
            )


def sources_of(found: Surveyed) -> list[dict[str, Any]]:
    """Per site, what a plan says of its carbon and price, too."""
    return [
        {
            "name": one.site.name,
            "zone": one.carbon.zone.key,
            "carbon": source_of(one.carbon),
            "price": source_of(one.price),
        }
        for one in found.sited
    ]


def _series(found: Surveyed) -> Iterator[tuple[str, str, CarbonSeries | PriceSeries]]:
    for one in found.sited:
        yield one.site.name, "carbon intensity", one.carbon.series
        yield one.site.name, "price", one.price.series
