"""Rows of numbers with a target, from CSV (also gzipped), and the models that are fed with them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib
import io
import math
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._engine import Engine, Setup, content_hash, finite, open_engine
from outweigh.backends.tasks._options import brief, nearest, need
from outweigh.backends.tasks._splitting import distinct
from outweigh.core.errors import ModelError, TaskError
from outweigh.core.variant import Variant

NEEDED_BY = "tabular"

Floats = NDArray[np.float32]

_PICKLED = (".joblib", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its features, shape (d,), its target as text, and the SHA-256 of the features in hexadecimal."""

    features: Floats = field(repr=False, compare=False)
    label: str
    digest: str


@dataclass(frozen=True, slots=True)
class Table:
    """All distinct rows, and the names of their features in the order of the columns."""

    rows: tuple[Row, ...]
    names: tuple[str, ...]


def read_table(path: Path, target: str, drop: Sequence[str]) -> Table:
    """Rows of a CSV file with a heading; every column but `target` and those in `drop` is a feature.

    Rows of equal features are kept once, under the target they have first. An empty cell is a missing value (NaN).

    Raises:
        TaskError: no such file or column, a feature that is no number, or a row without a target.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise TaskError(NEEDED_BY, f"{path.name} cannot be read ({brief(err)})", "Give a CSV file in UTF-8") from err
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        columns = list(reader.fieldnames or ())
        for wanted in (target, *drop):
            if wanted not in columns:
                raise TaskError(NEEDED_BY, f"{path.name} has no column {wanted!r}", nearest(wanted, columns))
        names = tuple(name for name in columns if name != target and name not in drop)
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            label = canonical(row[target] or "")
            if not label:
                raise TaskError(NEEDED_BY, f"{where} has no {target!r}", "Fill it in, or remove the row")
            features = np.array([_cell(row[name], name, where) for name in names], dtype=np.float32)
            digest = hashlib.sha256(np.ascontiguousarray(features, dtype="<f4").tobytes()).hexdigest()
            found.append(Row(features, label, digest))
    except csv.Error as err:
        raise TaskError(NEEDED_BY, f"{path.name}:{reader.line_num} is not CSV ({err})", "Mend the line") from err
    if not found or not names:
        raise TaskError(NEEDED_BY, f"{path.name} has no rows of features", "Point `dataset` at a CSV with a heading")
    return Table(tuple(distinct(found)), names)


def canonical(label: object) -> str:
    """A class as text, the same for 3, 3.0 and "3".

    >>> canonical(3.0), canonical(" 3 "), canonical("ham"), canonical(0.5)
    ('3', '3', 'ham', '0.5')
    """
    text = str(label).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def _cell(value: str | None, name: str, where: str) -> float:
    if value is None or not value.strip():
        return math.nan
    try:
        return float(value)
    except ValueError as err:
        remedy = f"Encode it as a number, or name it in the task option `drop` ({name!r})"
        raise TaskError(NEEDED_BY, f"{where}: {name} is {value!r}, no number", remedy) from err


class Predictor(Protocol):
    """A loaded model. `predict` takes features, shape (n, d), and gives one answer a row; ModelError when it fails."""

    content_hash: str

    def predict(self, features: Floats) -> list[Any]: ...


def open_predictor(
    variant: Variant, setup: Setup, classes: Sequence[str], output: str, *, trust: bool, unpickle: bool
) -> Predictor:
    """The model of a variant, by its ending: .onnx, .skops, or (only where `unpickle` says so) .joblib and .pkl.

    Raises:
        ModelError: missing, none of these, not what it says it is, or not to be trusted.
        MissingExtra: what runs it is not installed.
    """
    suffix = Path(variant.model).suffix.lower()
    if suffix == ".skops" or suffix in _PICKLED:
        if setup != Setup("onnxruntime", setup.threads, setup.batch, "all", "cpu"):
            problem = f"`runtime`, `graph` and `device` are for ONNX models, and {Path(variant.model).name} is none"
            raise ModelError(variant.name, problem, "Leave them out, or export it to ONNX")
        return _Estimator(variant, setup, trust=trust, unpickle=unpickle)
    return _Network(variant, setup, classes, output)


class _Network:
    """ONNX as exported from scikit-learn and its kin: one matrix in; labels, scores a class, or a number a row out."""

    def __init__(self, variant: Variant, setup: Setup, classes: Sequence[str], output: str) -> None:
        self._name, self._classes = variant.name, classes
        self._engine: Engine = open_engine(variant, setup, NEEDED_BY)
        names = [slot.name for slot in self._engine.outputs]
        if len(self._engine.inputs) != 1:
            problem = f"it takes {len(self._engine.inputs)} inputs"
            raise ModelError(variant.name, problem, "Export it with all features in one matrix")
        if output and output not in names:
            raise ModelError(variant.name, f"it has no output {output!r}", f"It gives {', '.join(names)}")
        self._output = output or names[0]
        (self._input,) = self._engine.inputs
        if self._input.dtype not in (np.float32, np.float64):
            problem = f"its input {self._input.name!r} is {self._input.kind}"
            raise ModelError(variant.name, problem, "Export it with an input of floats")
        in_force = {"output": self._output, **setup.plain()}
        self.content_hash = content_hash(variant, in_force, NEEDED_BY)

    @property
    def input(self) -> str:
        return self._input.name

    def predict(self, features: Floats) -> list[Any]:
        (found,) = self._engine.run([self._output], {self._input.name: features.astype(self._input.dtype, copy=False)})
        found = np.asarray(found)
        if found.dtype.kind == "O" and found.size and isinstance(found.flat[0], dict):
            problem = f"output {self._output!r} is a dictionary a row"
            raise ModelError(self._name, problem, "Export it without ZipMap, or name its label output")
        if found.dtype.kind == "f":
            finite(self._name, "its answers are", found)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim == 2 and self._classes and found.shape[1] == len(self._classes):
            return [self._classes[place] for place in found.argmax(axis=1)]
        if found.shape != (len(features),):
            shape = " × ".join(map(str, found.shape))
            problem = f"output {self._output!r} is {shape} for {len(features)} row(s)"
            raise ModelError(self._name, problem, "Give a model with one answer a row, or the option `output`")
        return list(found.tolist())


class _Estimator:
    """A fitted scikit-learn estimator, from a file that is read as data; or, on an explicit word, from a pickle."""

    def __init__(self, variant: Variant, setup: Setup, *, trust: bool, unpickle: bool) -> None:
        self._name, self._threads = variant.name, setup.threads
        path = Path(variant.model)
        try:
            content = path.read_bytes()
        except OSError as err:
            problem = f"{path} cannot be read ({err.strerror})"
            raise ModelError(variant.name, problem, "Check the path of the model") from err
        if path.suffix.lower() == ".skops":
            self._model = _from_skops(variant.name, path, trust=trust)
        elif unpickle:
            self._model = _from_pickle(variant.name, path)
        else:
            remedy = (
                "Save it with skops.io.dump or export it to ONNX. If it is your own, the option `unpickle = true` "
                "loads it"
            )
            problem = f"{path.name} is a pickle, and reading one runs whatever code it holds"
            raise ModelError(variant.name, problem, remedy)
        if not hasattr(self._model, "predict"):
            problem = f"{path.name} holds a {type(self._model).__name__}, which cannot predict"
            raise ModelError(variant.name, problem, "Save a fitted estimator")
        self._pools = need(
            "threadpoolctl", "threadpoolctl", NEEDED_BY, "Run: pip install scikit-learn"
        ).ThreadpoolController()
        digest = hashlib.sha256(f"{setup.threads},{setup.batch}".encode())
        digest.update(content)
        self.content_hash = digest.hexdigest()

    def predict(self, features: Floats) -> list[Any]:
        limits: AbstractContextManager[object] = self._pools.limit(limits=self._threads)
        try:
            with limits, warnings.catch_warnings():
                # An estimator fitted on named columns says so at each call; it was given the same columns in order.
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                answers = np.asarray(self._model.predict(features))
        except (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError) as err:
            shape = " × ".join(map(str, features.shape))
            problem = f"it fails on features of {shape} ({brief(err)})"
            raise ModelError(self._name, problem, "Check that it was fitted on these columns, in this order") from err
        if answers.shape[:1] != (len(features),) or answers.size != len(features):
            problem = f"it gives {' × '.join(map(str, answers.shape))} for {len(features)} row(s)"
            raise ModelError(self._name, problem, "Give a model with one answer a row")
        flat = answers.reshape(-1)
        if flat.dtype.kind == "f":
            finite(self._name, "its answers are", flat)
        return list(flat.tolist())


def _from_skops(variant: str, path: Path, *, trust: bool) -> Any:
    skops = need("skops.io", "skops", NEEDED_BY, "Run: pip install skops")
    untrusted: type[Exception] = importlib.import_module("skops.io.exceptions").UntrustedTypesFoundException
    try:
        strange = skops.get_untrusted_types(file=path)
        if strange and not trust:
            problem = f"{path.name} asks for types that are not trusted: {', '.join(strange[:5])}"
            raise ModelError(variant, problem, "Look at them; the option `trust = true` loads them all the same")
        return skops.load(path, trusted=strange)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, zipfile.BadZipFile,
            untrusted) as err:  # fmt: skip
        problem = f"{path.name} is not a usable skops file ({brief(err)})"
        raise ModelError(variant, problem, "Save it again with skops.io.dump, on a release like this one") from err


def _from_pickle(variant: str, path: Path) -> Any:
    joblib = need("joblib", "joblib", NEEDED_BY, "Run: pip install joblib")
    try:
        return joblib.load(path)
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, ImportError, IndexError,
            pickle.UnpicklingError) as err:  # fmt: skip
        problem = f"{path.name} is not a usable pickle ({brief(err)})"
        raise ModelError(variant, problem, "Save it again, on releases like these") from err
