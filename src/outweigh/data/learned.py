"""What receipts said of earlier estimates, kept between runs: one JSON file of the user's, beside the calibration.

`estimates.json` lies in the folder of `outweigh.data.calibration.calibration_path`. It holds ratios of measured to
estimated energy by device and kind of work, with the receipts they came from: no names of machines, no paths.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from outweigh.core.errors import ConfigError, OutputError
from outweigh.core.measurement import Grade, Scope
from outweigh.data.calibration import calibration_path
from outweigh.data.whole_file import make_folder, write_whole

SCHEMA = 1
FILE = "estimates.json"
_REMEDY = "Move it away and reconcile again"


@dataclass(frozen=True, slots=True)
class Row:
    """One reconciled run: `key` is its device and kind of work, the rest as in `whatif.estimating.Observation`."""

    key: str
    receipts: tuple[str, ...]
    ratio: float
    relative: float
    grade: Grade
    scope: str
    at: str


def learned_path() -> Path | None:
    """Where the file is; None for a user without a home folder."""
    beside = calibration_path()
    return None if beside is None else beside.with_name(FILE)


def kept_rows(path: Path | None = None) -> tuple[Row, ...]:
    """Every row of the file; none when there is no file.

    Raises:
        ConfigError: it cannot be read, is not what we write, or was written by a newer outweigh.
    """
    path = path if path is not None else learned_path()
    if path is None:
        return ()
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        schema = body["schema"]
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise ConfigError(
                str(path), 0, f"it is of schema {schema!r} and this outweigh reads up to {SCHEMA}", "Update outweigh"
            )
        return tuple(_row(row) for row in body["runs"])
    except FileNotFoundError:
        return ()
    except OSError as err:
        problem = f"what was learned cannot be read ({err.strerror})"
        raise ConfigError(str(path), 0, problem, "Check its permissions") from err
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        problem = f"it is no file of estimates of ours ({type(err).__name__}: {err})"
        raise ConfigError(str(path), 0, problem, _REMEDY) from err


def keep_rows(rows: Sequence[Row], path: Path | None = None) -> Path:
    """Add runs, each in the place of an earlier row of the same key that shares a receipt with it.

    The file is replaced whole or not at all, and by one process at a time: none loses what another one adds.

    Raises:
        ConfigError: the file that is there cannot be read; it is left as it is.
        OutputError: it cannot be written, or not alone.
    """
    path = path if path is not None else learned_path()
    if path is None:
        raise OutputError("what was learned", "there is no home folder", "Name a file in OUTWEIGH_CALIBRATION")
    remedy = "Name another folder in OUTWEIGH_CALIBRATION"
    make_folder(path.parent, remedy)
    with _alone(path):
        kept = list(kept_rows(path))
        for row in rows:
            kept = [one for one in kept if one.key != row.key or not set(one.receipts) & set(row.receipts)]
            kept.append(row)
        body = {"schema": SCHEMA, "runs": [asdict(one) for one in kept]}
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        write_whole(path, text, remedy=remedy)
    return path


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Held over reading and writing. The lock has a file of its own, as `path` is replaced by another one."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        import fcntl
    except ImportError as err:
        problem = "this system has no locks that end with their process"
        raise OutputError(str(path), problem, "Add --no-keep, or reconcile on Linux or macOS") from err
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise OutputError(str(lock), err.strerror or type(err).__name__, "Make its folder writable") from err
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as err:
            remedy = "Name a folder on a local disk in OUTWEIGH_CALIBRATION"
            raise OutputError(str(lock), f"it cannot be locked ({err.strerror})", remedy) from err
        yield
    finally:
        os.close(handle)


def _row(row: Mapping[str, Any]) -> Row:
    """Raises KeyError, TypeError or ValueError."""
    ratio, relative = float(row["ratio"]), float(row["relative"])
    if not (math.isfinite(ratio) and ratio > 0 and math.isfinite(relative) and relative >= 0):
        raise ValueError(f"a ratio of {ratio:g} ± {relative:g} cannot be")
    receipts = tuple(str(one) for one in row["receipts"])
    if not receipts:
        raise ValueError("a run without a receipt")
    return Row(
        str(row["key"]), receipts, ratio, relative, Grade(row["grade"]), str(Scope(row["scope"])), str(row["at"])
    )
