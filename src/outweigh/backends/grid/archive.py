"""What was known, from the local archive, at a moment: the source that planners and back-tests look through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, not_offered, plain_names, unknown_zone
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceMeaning, PriceSeries
from outweigh.data.grid_archive import Archive, Held, Look, SlotKind, default_folder
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources


@grid_sources.register("archive")
class ArchiveGrid:
    """Series as they were known at one moment; what came later does not exist for it.

    Args:
        archive: the archive, or its folder.
        as_of: None takes all that was ever put.

    `last_look` is the last answer with the puts it was made of, for the record of a decision.
    """

    name: ClassVar[str]

    def __init__(self, archive: Archive | Path, as_of: datetime | None = None) -> None:
        self.archive = Archive(archive) if isinstance(archive, Path) else archive
        self.as_of = as_of
        self.last_look: Look | None = None

    @classmethod
    def probe(cls) -> Availability:
        from importlib.util import find_spec

        sees = "what was known when, from your local archive"
        if find_spec("duckdb") is None:
            return Availability(
                cls.name, usable=False, sees=sees, reason="DuckDB is not installed",
                remedy="pip install 'outweigh[live]'",
            )  # fmt: skip
        return Availability(cls.name, usable=True, sees=sees, grade=Grade.B)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """Of "FOLDER", "FOLDER@ISO time", "@ISO time" (the default folder) or nothing.

        Raises:
            UsageError: there is no such folder, or the time is none or does not say its distance from UTC.
        """
        folder, at, time = argument.rpartition("@")
        if not at or Path(argument).is_dir():
            folder, time = argument, ""
        as_of = None
        if time:
            try:
                as_of = datetime.fromisoformat(time)
            except ValueError as err:
                raise UsageError(f"{time!r} is not an ISO 8601 time", "Write archive:FOLDER@2026-01-01T00:00Z") from err
            if as_of.tzinfo is None:
                raise UsageError(f"{time!r} does not say how far it is from UTC", "Write 2026-01-01T00:00Z or +02:00")
            if not 1900 < as_of.year < 2200:
                raise UsageError(f"{time!r} is no time of an electric grid", "Write a year such as 2026")
            as_of = as_of.astimezone(UTC)
        path = Path(folder) if folder else default_folder()
        if not path.is_dir():
            raise UsageError(
                f"there is no archive in {path}", f"`outweigh grid fetch ZONE --source NAME --into {path}` makes one"
            )
        return cls(Archive(path), as_of)

    @property
    def limits(self) -> SourceLimits:
        held = self.archive.held(at=self.as_of)
        offers = {
            Offer.CARBON: any(isinstance(one.meaning, CarbonMeaning) for one in held),
            Offer.FORECAST: any(_expected(one) for one in held),
            Offer.PRICES: any(isinstance(one.meaning, PriceMeaning) for one in held),
        }
        meanings = (one.meaning for one in held if isinstance(one.meaning, CarbonMeaning))
        return SourceLimits(frozenset(offer for offer, has in offers.items() if has), tuple(dict.fromkeys(meanings)))

    def zones(self) -> tuple[str, ...]:
        return self.archive.zones(self.as_of)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """What was known of the window; where that is nothing, the newest forecast, which says that it is one."""
        asked = self._asked(zone, meaning, lambda one: isinstance(one.meaning, CarbonMeaning), "carbon intensity")
        return self._carbon(self.archive.look(zone, asked, window, self.as_of))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The newest forecast of each slot; its origin says when the newest that was used was issued."""
        asked = self._asked(zone, meaning, _expected, "carbon forecast")
        return self._carbon(self.archive.look_ahead(zone, asked, window, self.as_of))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        """Prices of the zone's first market: day-ahead, then real-time, then retail; without taxes first."""
        held = [one.meaning for one in self._of(zone) if isinstance(one.meaning, PriceMeaning)]
        if not held:
            not_offered(self.name, "electricity price", zone)
        look = self.archive.look(zone, held[0], window, self.as_of)
        if not isinstance(look.series, PriceSeries):
            raise TypeError("the archive answered a question on prices with carbon")
        self.last_look = look
        return look.series

    def _carbon(self, look: Look) -> CarbonSeries:
        if not isinstance(look.series, CarbonSeries):
            raise TypeError("the archive answered a question on carbon with prices")
        self.last_look = look
        return look.series

    def _asked(self, zone: str, meaning: CarbonMeaning | None, has: Callable[[Held], bool], what: str) -> CarbonMeaning:
        held = tuple(one.meaning for one in self._of(zone) if has(one))
        if not held:
            not_offered(self.name, what, zone)
        known = tuple(one for one in held if isinstance(one, CarbonMeaning))
        return meaning_of(SourceLimits(frozenset(), known), meaning, self.name, zone)

    def _of(self, zone: str) -> tuple[Held, ...]:
        held = self.archive.held(zone, self.as_of) if zone else ()
        if not held:
            unknown_zone(f"{self.name}:{self.archive.folder}", zone, plain_names(self.zones()))
        return held


def _expected(held: Held) -> bool:
    return isinstance(held.meaning, CarbonMeaning) and SlotKind.FORECAST in held.kinds
