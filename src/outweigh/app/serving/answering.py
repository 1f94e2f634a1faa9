"""What the Carbon Aware API answers from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.grid import Sources, open_source


def open_answers(
    *,
    sources: Sequence[str] = (),
    files: Sequence[Path] = (),
    archive: Path | None = None,
    declared: Sequence[str] = (),
    demo: bool = False,
) -> CarbonAnswers:
    """What the Carbon Aware API answers from.

    Args:
        sources: live sources, "name" or "name:argument", in this order.
        files: the user's own files, asked next.
        archive: folder of a local archive.
        declared: "DE=230 gCO2e/kWh", where nothing else answers.
        demo: a typical day of 2022 where there is no forecast.

    Raises:
        UnknownBackend, UsageError, GridDataInvalid, MissingExtra: at once, not at the first request.
    """
    asked = Sources(
        [open_source(text) for text in sources],
        [open_source(f"file:{path}") for path in files],
        [open_source(f"static:{','.join(declared)}")] if declared else [],
    )
    return CarbonAnswers(asked, archive=archive, demo=demo)
