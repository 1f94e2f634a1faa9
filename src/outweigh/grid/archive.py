"""The local archive of what was known when, for planners, back-tests and verbs.

The storage itself lies in `outweigh.data.grid_archive`, below back-ends and rooms alike, because the grid source
`archive` (`backends/grid/archive.py`) answers from the same files, and neither may import the other. As a source it is
bound to a moment: `open_source("archive:FOLDER@2026-01-01T00:00Z")`.

>>> import tempfile
>>> from datetime import UTC, datetime, timedelta
>>> from outweigh.core.intervals import Interval
>>> from outweigh.core.series import CarbonSeries, DataQuality, Origin
>>> from outweigh.grid import open_source
>>> meaning = open_source("tables").limits.meanings[0]
>>> noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
>>> hour = Interval(noon, noon + timedelta(hours=1))
>>> def said(value):
...     origin = Origin("a provider", "DE", "made here", "CC0")
...     return CarbonSeries.flat(value, hour, DataQuality.ESTIMATED, meaning, origin)
>>> with tempfile.TemporaryDirectory() as folder:
...     archive = Archive(Path(folder))
...     _ = archive.put(said(300.0), retrieved_at=noon + timedelta(hours=2))
...     _ = archive.put(said(320.0), retrieved_at=noon + timedelta(days=9))
...     early = archive.known("DE", meaning, hour, at=noon + timedelta(days=1))
...     late = archive.known("DE", meaning, hour)
>>> early.values, late.values
((300.0,), (320.0,))
"""

from pathlib import Path

from outweigh.data.grid_archive import (
    Archive,
    Asked,
    Held,
    Look,
    Put,
    SlotKind,
    default_folder,
    digest_of,
    meaning_fields,
    meaning_from,
)

__all__ = [
    "Archive",
    "Asked",
    "Held",
    "Look",
    "Path",
    "Put",
    "SlotKind",
    "default_folder",
    "digest_of",
    "meaning_fields",
    "meaning_from",
]
