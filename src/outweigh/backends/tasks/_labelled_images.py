"""Labelled images: read from a folder of class folders, a NumPy archive, or a table of pixels (CSV, also gzipped).

Pixels are kept as read; scaling and layout belong to what a variant is charged for.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._options import brief, need
from outweigh.backends.tasks._splitting import distinct
from outweigh.core.errors import TaskError

Floats = NDArray[np.float32]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_READ = "Give a folder of class folders, a .npz file with `images` and `labels`, or a .csv or .csv.gz table of pixels"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image with its class.

    Attributes:
        pixels: as read, shape (height, width, channels), float32.
        digest: SHA-256 of shape and pixels, in hexadecimal.
    """

    pixels: Floats = field(repr=False, compare=False)
    label: str
    digest: str


def read_images(path: Path, task: str, shape: str = "", size: str = "") -> list[LabelledImage]:
    """All distinct images of a data set, with their labels; one that occurs again is dropped.

    Args:
        path: a folder of class folders (needs pillow); a .npz file with the arrays `images`, shape (n, h, w) or
            (n, h, w, c), and `labels`, shape (n,); or a .csv or .csv.gz table without a heading, a row an image:
            its pixels, then its label as a whole number.
        task: name of the task, for errors.
        shape: "28x28" or "32x32x3" of the rows of a table; a square of one channel by default.
        size: "224x224": what images of a folder are resized to; all have to be of one size without.

    Raises:
        TaskError: nothing to read, not what it says it is, or a shape that does not fit.
        MissingExtra: a folder without pillow.
    """
    name = path.name.lower()
    if path.is_dir():
        rows = _folder(path, task, _sides(task, "size", size))
    elif name.endswith(".npz"):
        rows = _archive(path, task)
    elif name.endswith((".csv", ".csv.gz")):
        rows = _table(path, task, _sides(task, "shape", shape))
    else:
        raise TaskError(task, f"{path.name} is no data set this task reads", _READ)
    found = distinct(_image(pixels, label, task) for pixels, label in rows)
    if not found:
        raise TaskError(task, f"{path.name} holds no images", "Point `dataset` at labelled images")
    shapes = sorted({image.pixels.shape for image in found})
    if len(shapes) > 1:
        problem = f"{path.name} holds images of {len(shapes)} shapes, {shapes[0]} and {shapes[-1]} among them"
        raise TaskError(task, problem, 'Set the task option `size`, such as "224x224"')
    return found


def _image(pixels: Floats, label: str, task: str) -> LabelledImage:
    if not np.isfinite(pixels).all():
        raise TaskError(task, f"an image of class {label!r} has a pixel that is not finite", "Write the data set again")
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels, dtype="<f4").tobytes())
    return LabelledImage(pixels, label, digest.hexdigest())


def _sides(task: str, option: str, text: str) -> tuple[int, ...]:
    if not text:
        return ()
    parts = str(text).lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise TaskError(task, f"option {option} is {text!r}", 'Write height and width as "28x28", or "32x32x3"')
    return tuple(int(part) for part in parts)


def _folder(path: Path, task: str, size: tuple[int, ...]) -> Iterator[tuple[Floats, str]]:
    image = need("PIL.Image", "pillow", task, "Run: pip install pillow, or save the images as a .npz file")
    try:
        classes = sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name[0] not in "._")
        files = [(file, folder.name) for folder in classes for file in sorted(folder.iterdir())]
    except OSError as err:
        raise TaskError(task, f"{path} cannot be listed ({err.strerror})", "Check its permissions") from err
    for file, label in files:
        if file.suffix.lower() not in _SUFFIXES or file.name.startswith("."):
            continue
        try:
            with image.open(file) as opened:
                grey = opened.mode in ("1", "L", "I", "I;16", "F")
                plain = opened.convert("L" if grey else "RGB")
                if size:
                    plain = plain.resize((size[1], size[0]))
                pixels = np.asarray(plain, dtype=np.float32)
        except (OSError, ValueError, SyntaxError) as err:  # pillow calls a broken PNG a SyntaxError
            raise TaskError(task, f"{label}/{file.name} is no image ({brief(err)})", "Mend or remove it") from err
        yield _with_channels(pixels), label


def _archive(path: Path, task: str) -> Iterator[tuple[Floats, str]]:
    try:
        # Without pickle: an array of objects could run code on being read.
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("images", "labels") if name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as err:
        raise TaskError(task, f"{path.name} is not a readable .npz file ({brief(err)})", "Write it again") from err
    if len(found) < 2:
        missing = "labels" if "images" in found else "images"
        raise TaskError(task, f"{path.name} has no array `{missing}`", "Save it with `images` and `labels`")
    images, labels = found["images"], found["labels"]
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or images.dtype.kind not in "biuf":
        problem = f"{path.name}: images {images.dtype} {images.shape} and labels {labels.shape} do not fit"
        raise TaskError(task, problem, "Save numbers of shape (n, h, w) or (n, h, w, c), and labels of shape (n,)")
    for pixels, label in zip(images, labels.tolist(), strict=True):
        yield _with_channels(pixels.astype(np.float32)), str(label)


def _table(path: Path, task: str, shape: tuple[int, ...]) -> Iterator[tuple[Floats, str]]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw).decode("ascii")
        rows = np.loadtxt(text.splitlines(), delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise TaskError(task, f"{path.name} cannot be read ({brief(err)})", "Check the file") from err
    except ValueError as err:
        remedy = "Give a row an image: its pixels as numbers, then its label as a whole number, and no heading"
        raise TaskError(task, f"{path.name} is no table of pixels ({brief(err)})", remedy) from err
    pixels, labels = rows[:, :-1], rows[:, -1]
    wanted = shape or (math.isqrt(pixels.shape[1]),) * 2
    if math.prod(wanted) != pixels.shape[1]:
        problem = f"{path.name} has {pixels.shape[1]} pixels a row, which is not {'x'.join(map(str, wanted))}"
        raise TaskError(task, problem, 'Set the task option `shape`, such as "28x28"')
    if not np.array_equal(labels, np.round(labels)):
        raise TaskError(task, f"{path.name}: its last column holds no labels", "Put the label last, as a whole number")
    for row, label in zip(pixels, labels, strict=True):
        yield _with_channels(row.reshape(wanted)), str(int(label))


def _with_channels(pixels: NDArray[Any]) -> Floats:
    return np.asarray(pixels if pixels.ndim == 3 else pixels[..., np.newaxis], dtype=np.float32)
