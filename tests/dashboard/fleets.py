"""A small made-up fleet for the pages: 50 servers for 2 days, the same each time."""

from __future__ import annotations

from pathlib import Path

from outweigh.ledger.fleet import Fleet, synthetic


def make_small_fleet(folder: Path) -> Path:
    """Samples and roll-ups in `folder`; half a second. `synthetic.SMALL` says what is in it."""
    synthetic.make(folder, synthetic.SMALL)
    Fleet.open(folder).close()
    return folder
