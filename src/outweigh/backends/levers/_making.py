"""What levers share: where they put what they make, and how they say that they cannot."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from outweigh.core.errors import LeverError, MissingExtra, ModelError
from outweigh.core.variant import Option, Variant
from outweigh.data.importing import imported
from outweigh.data.torch_models import WEIGHTS, torch_digest, torch_reference
from outweigh.ports import Availability, TeachesLevers

ONNX_REMEDY = "Run: pip install 'outweigh[onnx]'"
PRUNE_REMEDY = "Run: pip install 'outweigh[prune]'"
_ONNX = ("onnx", "onnxruntime")


def needs(name: str, packages: Sequence[str], sees: str, remedy: str) -> Availability:
    """The probe of a lever that needs these packages."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    return Availability(
        name=name,
        usable=not missing,
        sees=sees,
        reason=f"not installed: {', '.join(missing)}" if missing else "",
        remedy=remedy if missing else "",
    )


def needs_onnx(name: str, sees: str) -> Availability:
    return needs(name, _ONNX, sees, ONNX_REMEDY)


def need(module: str, lever: str, remedy: str = ONNX_REMEDY) -> ModuleType:
    """The module of an extra, imported now. Raises MissingExtra."""
    try:
        return imported(module)
    except ImportError as err:
        raise MissingExtra(module.partition(".")[0].replace("_", "-"), lever, remedy) from err


def is_torch(variant: Variant) -> bool:
    return torch_reference(variant.model) is not None


def onnx_file(variant: Variant, lever: str) -> Path:
    """The variant's ONNX file. Raises LeverError for a torch model, with the way to one."""
    if is_torch(variant):
        raise LeverError(lever, variant.name, "it is a torch model", "Apply the lever runtime:onnxruntime before it")
    return Path(variant.model)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder: the names and digests of all files in it, by name. Raises OSError."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            whole.update(f"{file.relative_to(path).as_posix()}\0{digest(file)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_digest(variant: Variant, lever: str) -> str:
    """SHA-256 of the variant's model. Raises LeverError when it cannot be read."""
    try:
        return torch_digest(variant) if is_torch(variant) else digest(Path(variant.model))
    except ModelError as err:
        raise LeverError(lever, variant.name, err.problem, err.remedy) from err
    except OSError as err:
        problem = f"{variant.model} cannot be read ({err.strerror})"
        raise LeverError(lever, variant.name, problem, "Check the path of the model") from err


def taught_by(task: TeachesLevers) -> str:
    """What tells the teaching of one task from another's: the hash of its data, where it has one."""
    return str(getattr(task, "content_hash", ""))


def keep(
    lever: str, variant: Variant, workdir: Path, label: str, suffix: str, make: Callable[[Path], Path], *by: str
) -> Path:
    """The file that a lever makes of a variant: the one that lies in `workdir` already, or a new one.

    Its name carries a hash of the source and of `by`, so that what was made of the same is not made again, and a
    half-made file never has the name of a whole one.

    Args:
        label: what was done, with its version.
        make: writes the file into the scratch folder it is given, and returns its path.
        by: what else decides the bytes (arguments, teaching).

    Raises:
        LeverError: the source cannot be read or the folder not be written.
    """
    source = source_digest(variant, lever)
    key = hashlib.sha256("\0".join((source, *by)).encode()).hexdigest() if by else source
    artefact = workdir / f"{key[:16]}-{label}{suffix}"
    if artefact.exists():
        return artefact
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=workdir, prefix=".making-") as scratch:
            make(Path(scratch)).replace(artefact)
    except OSError as err:
        problem = f"{workdir} cannot be written ({err.strerror or err})"
        raise LeverError(lever, variant.name, problem, "Free some space, or choose another folder") from err
    return artefact


def levered(
    variant: Variant, lever: str, *, model: Path | None = None, options: Mapping[str, Option] | None = None
) -> Variant:
    """The variant after the lever: new model or options, the lever appended, no content hash yet."""
    return replace(
        variant,
        model=variant.model if model is None else str(model),
        options=Variant.freeze_options(dict(variant.options) | dict(options or {})),
        levers=(*variant.levers, lever),
        parent=variant.name,
        content_hash="",
    )


def reweighted(variant: Variant, lever: str, weights: Path) -> Variant:
    """A torch variant whose weights (and structure) lie in another file."""
    return levered(variant, lever, options={WEIGHTS: str(weights)})


def without_weights(variant: Variant) -> Variant:
    """The same variant without its option `weights`: for what takes its model's place."""
    return replace(variant, options=tuple(pair for pair in variant.options if pair[0] != WEIGHTS))


# --- arguments --------------------------------------------------------------------------------------


def whole(text: str, lever: str, variant: Variant, least: int, otherwise: int | None = None) -> int:
    """The argument as a whole number, or `otherwise` where none was given. Raises LeverError."""
    if not text and otherwise is not None:
        return otherwise
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        given = f"its argument is {text!r}" if text else "it has no argument"
        raise LeverError(lever, variant.name, given, f"Give a whole number, {least} or more: {lever}:{max(least, 4)}")
    return value


def share(text: str, lever: str, variant: Variant, otherwise: float) -> float:
    """The argument as a share between 0 and 1, both excluded. Raises LeverError."""
    try:
        value = float(text) if text else otherwise
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        problem = f"its argument is {text!r}"
        raise LeverError(lever, variant.name, problem, f"Give a share above 0 and below 1: {lever}:{otherwise:g}")
    return value


def spelled(lever: str, argument: str) -> str:
    """The lever as people type it."""
    return f"{lever}:{argument}" if argument else lever


# --- ONNX -------------------------------------------------------------------------------------------


def onnx_failures(lever: str) -> tuple[type[Exception], ...]:
    """What onnx and ONNX Runtime raise over a model they cannot work with; the latter's share no base."""
    message, checker = need("google.protobuf.message", lever), need("onnx.checker", lever)
    state = need("onnxruntime.capi.onnxruntime_pybind11_state", lever)
    codes = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
             "NotImplemented", "RuntimeException")  # fmt: skip
    shape = need("onnx.shape_inference", lever).InferenceError
    ours = tuple(getattr(state, code) for code in codes)
    return (
        message.Error, checker.ValidationError, shape, AssertionError, AttributeError, IndexError, KeyError,
        NotImplementedError, RuntimeError, TypeError, ValueError, *ours,
    )  # fmt: skip


@contextmanager
def telling(lever: str, variant: Variant, what: str, remedy: str) -> Iterator[None]:
    """Turn what onnx and ONNX Runtime raise into a LeverError, and let nothing they log out."""
    failures = onnx_failures(lever)
    with heard() as said:
        try:
            yield
        except failures as err:
            reason = "; ".join(filter(None, [brief(err), *said[-1:]]))
            raise LeverError(lever, variant.name, f"{what} ({reason})", remedy) from err


def read_onnx(path: Path, lever: str, variant: Variant) -> Any:
    """The model with its weights, those in files beside it included. Raises LeverError."""
    onnx = need("onnx", lever)
    with telling(lever, variant, f"{path.name} is no ONNX model that can be read", "Give a whole ONNX file"):
        model = onnx.load(path)
        onnx.checker.check_model(model) if model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF else None
        return model


def write_onnx(model: Any, path: Path, lever: str, variant: Variant) -> Path:
    """Write a model and see that ONNX Runtime loads it: one that cannot be loaded is the lever's failure."""
    onnx, runtime = need("onnx", lever), need("onnxruntime", lever)
    onnx.save(model, path)
    with telling(lever, variant, "what it makes cannot be loaded", "Leave this lever out for this model"):
        session(runtime, path)
    return path


def session(runtime: Any, path: Path, **settings: object) -> Any:
    """An ONNX Runtime session on the CPU that logs nothing; `settings` are set on its options."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    for name, value in settings.items():
        setattr(options, name, value)
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def opset(model: Any) -> int:
    """Version of the standard operators that a model is written in; 0 when it uses none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what ONNX Runtime's tools log, instead of letting it out.

    They log through the root logger, which sets up logging for the whole program when nobody has. A handler of ours
    prevents that; a filter stops their records alone.
    """
    said: list[str] = []

    def is_not_theirs(record: logging.LogRecord) -> bool:
        theirs = "onnxruntime" in Path(record.pathname).parts
        if theirs:
            said.append(record.getMessage())
        return not theirs

    root, ours = logging.getLogger(), logging.NullHandler()
    root.addFilter(is_not_theirs)
    root.addHandler(ours)
    try:
        yield said
    finally:
        root.removeHandler(ours)
        root.removeFilter(is_not_theirs)


def brief(err: BaseException) -> str:
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= 200 else text[:199] + "…"
