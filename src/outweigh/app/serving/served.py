"""What one server shows: a project, its ledger, a fleet, and what is known of the grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.app.files import find_ledger
from outweigh.app.keeping import beside
from outweigh.app.serving.answering import open_answers
from outweigh.app.serving.settings import Settings
from outweigh.core.errors import UsageError
from outweigh.core.project import Project
from outweigh.ledger import default_path, open_ledger
from outweigh.ports import Store
from outweigh.ports.serving import Access, Documents, KeepsTexts

if TYPE_CHECKING:
    from outweigh.ledger.fleet import Fleet


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Served:
    """What one server shows. All of it may be asked from several threads at once.

    Attributes:
        folder: of the project.
        project: as its energy.toml says; None where there is none.
        running, samples: folders of runs in flight and of power samples, beside the ledger.
        ledger: open; `texts`, `documents` and `access` are the same store by what else it promises.
        fleet: minute samples of many nodes, where there are any.
        answers: what the Carbon Aware API answers from.
        now: the time in UTC.
    """

    folder: Path
    running: Path
    samples: Path
    project: Project | None
    ledger: Store
    fleet: Fleet | None
    documents: Documents
    texts: KeepsTexts
    access: Access
    answers: CarbonAnswers
    now: Callable[[], datetime] = _now

    def close(self) -> None:
        self.ledger.close()
        if self.fleet is not None:
            self.fleet.close()


def open_served(
    settings: Settings,
    *,
    now: Callable[[], datetime] = _now,
    progress: Callable[[str, float], None] | None = None,
) -> Served:
    """Open all that these settings name.

    Args:
        progress: told what is being made of a fleet's samples, and the share that is done.

    Raises:
        ConfigError: the project's energy.toml is refused.
        LedgerError, UsageError: the ledger cannot be opened, or its store cannot be served from.
        UnknownBackend, GridDataInvalid, MissingExtra: of the sources, at once.
    """
    from outweigh.config import FILE_NAME, load_project

    folder = Path(settings.folder)
    project = load_project(folder) if (folder / FILE_NAME).is_file() else None
    where = find_ledger(settings.ledger or None, folder)
    store = open_ledger(where)
    fleet = _fleet(settings, folder, progress)
    answers = open_answers(
        sources=settings.sources,
        files=[Path(path) for path in settings.files],
        archive=Path(settings.archive) if settings.archive else None,
        declared=settings.declared,
        demo=settings.demo,
    )
    return serving(store, folder=folder, where=where, project=project, fleet=fleet, answers=answers, now=now)


def _fleet(settings: Settings, folder: Path, progress: Callable[[str, float], None] | None) -> Fleet | None:
    from outweigh.ledger.fleet import Fleet, fleet_folder, has_fleet

    if settings.fleet:
        return Fleet.open(Path(settings.fleet), progress=progress)
    own = fleet_folder(folder)
    return Fleet.open(own, progress=progress) if has_fleet(own) else None


def serving(
    store: Store,
    *,
    folder: Path,
    answers: CarbonAnswers,
    where: Path | str | None = None,
    project: Project | None = None,
    fleet: Fleet | None = None,
    now: Callable[[], datetime] = _now,
) -> Served:
    """An open store as what a server shows.

    Args:
        where: path or URL of the ledger; None for that of the folder.

    Raises:
        UsageError: a store that cannot keep what a server needs.
    """
    if not (isinstance(store, Documents) and isinstance(store, Access) and isinstance(store, KeepsTexts)):
        raise UsageError(
            f"the store {type(store).__name__} keeps no tokens and documents, and cannot be served from",
            "Serve from a SQLite file or a PostgreSQL database",
        )
    running, samples = beside(default_path(folder) if where is None else where, folder)
    return Served(
        folder=folder,
        running=running,
        samples=samples,
        project=project,
        ledger=cast("Store", store),
        fleet=fleet,
        documents=store,
        texts=store,
        access=store,
        answers=answers,
        now=now,
    )


def has_ledger(settings: Settings) -> bool:
    """Whether serving this would start no new ledger: one was named, is there, or belongs to the project's folder."""
    from outweigh.config import FILE_NAME

    folder = Path(settings.folder)
    if settings.ledger or (folder / FILE_NAME).is_file():
        return True
    found = find_ledger(None, folder)
    return isinstance(found, Path) and found.exists()
