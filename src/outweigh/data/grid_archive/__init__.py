"""What was known of a grid, and since when: an append-only archive of series as Parquet files, read by DuckDB.

It lies in `data`, the lowest room with files in it, because two rooms that may not import each other need it:
`backends/grid/archive.py` answers from it as a source, and `grid/archive.py` hands it to planners and verbs.
"""

from outweigh.data.grid_archive.archive import Archive, Asked, Look, default_folder, digest_of
from outweigh.data.grid_archive.layout import Held, SlotKind, meaning_fields, meaning_from
from outweigh.data.grid_archive.overlay import Put

__all__ = [
    "Archive",
    "Asked",
    "Held",
    "Look",
    "Put",
    "SlotKind",
    "default_folder",
    "digest_of",
    "meaning_fields",
    "meaning_from",
]
