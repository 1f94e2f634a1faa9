"""torch models as files: a factory in a Python file, and weights beside it that are only ever read as data.

A variant names its network `FILE.py:FACTORY`, a function without arguments that returns an `nn.Module`. Importing that
file runs it: it is the team's own code, as a training script is. Its option `weights` names what is laid into the
network: a plain state dict, or a file of ours (`keep_torch`) that says as well what levers did to the structure.
Either is loaded with `weights_only=True`, so a file from elsewhere can hold numbers and no code.

Both levers and tasks load models here, so that a task runs exactly what a lever made.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from outweigh.core.errors import MissingExtra, ModelError
from outweigh.core.variant import Variant

#: The one option of a variant that is read here.
WEIGHTS = "weights"

#: Names of what a network can be turned into once its weights are in place.
PRECISIONS = ("fp16", "bf16", "int8-dynamic", "torchao-int8-dynamic", "torchao-int8-weights", "torchao-int4-weights")

_FORMAT = "outweigh-torch-1"
_REMEDY = "Run: pip install 'outweigh[torch]'"
#: How a team's own Python file can fail, short of asking to stop.
_CODE_FAILS = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError,
               RuntimeError, SyntaxError, TypeError, ValueError)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TorchReference:
    """`FILE.py:FACTORY`, taken apart."""

    file: Path
    factory: str


@dataclass(frozen=True, slots=True)
class Reshaping:
    """What levers did to a network's structure, in plain values.

    Attributes:
        dropped: names of modules that are not there any more, taken out in this order.
        attributes: module name -> its whole-number attributes that differ from the factory's (`out_features`).
        precision: one of PRECISIONS, applied last; "" for as it is.
    """

    dropped: tuple[str, ...] = ()
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)
    precision: str = ""


def torch_reference(model: str) -> TorchReference | None:
    """The parts of a `FILE.py:FACTORY`; None when it names no torch model.

    >>> torch_reference("/models/net.py:digits")
    TorchReference(file=PosixPath('/models/net.py'), factory='digits')
    >>> torch_reference("/models/net.onnx") is None
    True
    """
    file, colon, factory = model.rpartition(":")
    return TorchReference(Path(file), factory) if colon and file.endswith(".py") and factory.isidentifier() else None


def torch_files(variant: Variant) -> tuple[Path, ...]:
    """The files that decide what the network computes: its Python file, and the weights where it has some."""
    reference = _reference(variant)
    weights = str(variant.option(WEIGHTS, ""))
    return (reference.file, *([Path(weights)] if weights else []))


def torch_digest(variant: Variant) -> str:
    """SHA-256 over those files and the factory's name. Raises ModelError when one cannot be read."""
    digest = hashlib.sha256(_reference(variant).factory.encode())
    for file in torch_files(variant):
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as err:
            problem = f"{file} cannot be read ({err.strerror})"
            raise ModelError(variant.name, problem, "Check the model and its option `weights`") from err
    return digest.hexdigest()


def load_torch(variant: Variant, device: str = "cpu") -> Any:
    """The network with its weights, in eval mode on `device`: a `torch.nn.Module`.

    A network of fp16 or bf16 still takes and gives float32: what comes in is cast on the way in, and back on the way
    out, which is what such a model costs in service.

    Raises:
        ModelError: no factory of that name, it fails, or the weights do not fit it.
        MissingExtra: torch is not installed, or torchao for a precision that needs it.
    """
    network, reshaping = load_torch_parts(variant)
    network = network.to(device)
    return _in_precision(network, reshaping.precision, variant).eval() if reshaping.precision else network.eval()


def load_torch_parts(variant: Variant) -> tuple[Any, Reshaping]:
    """The network on the CPU with its float weights, before any precision is applied, and how levers changed it."""
    torch = _need("torch", _REMEDY)
    network = _built(variant, torch)
    weights = str(variant.option(WEIGHTS, ""))
    if not weights:
        return network, Reshaping()
    state, reshaping = _read(Path(weights), variant, torch)
    try:
        for name in reshaping.dropped:
            _drop(network, name)
        for name, attributes in reshaping.attributes.items():
            module = network.get_submodule(name)
            for key, value in attributes.items():
                setattr(module, key, value)
        _make_room(network, state, torch)
        network.load_state_dict(state)
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as err:
        problem = f"{Path(weights).name} does not fit {variant.model} ({_brief(err)})"
        raise ModelError(variant.name, problem, "Give the weights of this very network") from err
    return network, reshaping


def keep_torch(network: Any, variant: Variant, path: Path, reshaping: Reshaping) -> None:
    """Write a network made from `variant`'s factory: its state, and its structure where that differs.

    Args:
        network: float weights, as `load_torch_parts` gives them; `reshaping.attributes` is found out here.
        variant: whose factory it is rebuilt from.
        path: file to write.

    Raises:
        OSError: it cannot be written.
    """
    torch = _need("torch", _REMEDY)
    fresh = _built(variant, torch)
    for name in reshaping.dropped:
        _drop(fresh, name)
    originals = dict(fresh.named_modules())
    attributes = {
        name: changed
        for name, module in network.named_modules()
        if (changed := _changed_numbers(module, originals.get(name)))
    }
    try:
        torch.save(
            {
                "format": _FORMAT,
                "dropped": list(reshaping.dropped),
                "attributes": attributes,
                "precision": reshaping.precision,
                "state": {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()},
            },
            path,
        )
    except RuntimeError as err:  # how torch says that a disk is full
        raise OSError(None, _brief(err)) from err


def _reference(variant: Variant) -> TorchReference:
    reference = torch_reference(variant.model)
    if reference is None:
        raise ModelError(variant.name, f"{variant.model} is no torch model", "Write it FILE.py:FACTORY")
    return reference


def _built(variant: Variant, torch: ModuleType) -> Any:
    reference = _reference(variant)
    # The name is the file's: what is defined in it is found again by it, and two files never share one.
    name = f"outweigh_model_{hashlib.sha256(str(reference.file).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, reference.file)
    if spec is None or spec.loader is None or not reference.file.is_file():
        raise ModelError(variant.name, f"{reference.file} does not exist", "Check the path of the model")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        network = getattr(module, reference.factory)()
    except _CODE_FAILS as err:
        problem = f"{reference.file.name}:{reference.factory} fails ({type(err).__name__}: {_brief(err)})"
        raise ModelError(variant.name, problem, "Give a function without arguments that returns an nn.Module") from err
    if not isinstance(network, torch.nn.Module):
        problem = f"{reference.factory} returns {type(network).__name__}"
        raise ModelError(variant.name, problem, "Let it return an nn.Module")
    return network.eval()


def _read(path: Path, variant: Variant, torch: ModuleType) -> tuple[Any, Reshaping]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
        problem = f"{path} holds no weights that can be read as plain data ({_brief(err)})"
        raise ModelError(variant.name, problem, "Save them with torch.save(model.state_dict(), path)") from err
    if not isinstance(held, dict):
        raise ModelError(variant.name, f"{path.name} holds no state dict", "Save model.state_dict()")
    if held.get("format") != _FORMAT:
        return held, Reshaping()
    reshaping = Reshaping(tuple(held["dropped"]), held["attributes"], str(held["precision"]))
    return held["state"], reshaping


def _drop(network: Any, name: str) -> None:
    parent, _, last = name.rpartition(".")
    holder = network.get_submodule(parent)
    del holder[int(last)]


def _make_room(network: Any, state: Any, torch: ModuleType) -> None:
    """Give each parameter and buffer the shape that its saved value has."""
    for kind in ("named_parameters", "named_buffers"):
        for name, tensor in list(getattr(network, kind)()):
            saved = state.get(name)
            if saved is None or saved.shape == tensor.shape:
                continue
            parent, _, last = name.rpartition(".")
            room = torch.empty_like(saved, dtype=tensor.dtype)
            setattr(
                network.get_submodule(parent),
                last,
                torch.nn.Parameter(room, tensor.requires_grad) if kind == "named_parameters" else room,
            )


def _changed_numbers(module: Any, original: Any) -> dict[str, int]:
    return {
        key: value
        for key, value in vars(module).items()
        if type(value) is int and not key.startswith("_") and vars(original).get(key) != value
    }


def _in_precision(network: Any, precision: str, variant: Variant) -> Any:
    torch = _need("torch", _REMEDY)
    if precision in ("fp16", "bf16"):
        return _cast(network, torch.float16 if precision == "fp16" else torch.bfloat16, torch)
    if precision == "int8-dynamic":
        with warnings.catch_warnings():
            # torch announces that this moves to torchao, whose kernels for it want a GPU or a far newer CPU path.
            warnings.simplefilter("ignore")
            return importlib.import_module("torch.ao.quantization").quantize_dynamic(
                network, {torch.nn.Linear}, dtype=torch.qint8
            )
    if precision in PRECISIONS:
        torchao = _need("torchao.quantization", "Run: pip install torchao")
        chosen = {
            "torchao-int8-dynamic": "Int8DynamicActivationInt8WeightConfig",
            "torchao-int8-weights": "Int8WeightOnlyConfig",
            "torchao-int4-weights": "Int4WeightOnlyConfig",
        }[precision]
        torchao.quantize_(network, getattr(torchao, chosen)())
        return network
    raise ModelError(variant.name, f"its precision {precision!r} is not known", f"Known: {', '.join(PRECISIONS)}")


def _cast(network: Any, kind: Any, torch: ModuleType) -> Any:
    def into(_module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(each.to(kind) if torch.is_tensor(each) and each.is_floating_point() else each for each in given)

    def out_of(_module: Any, _given: Any, answer: Any) -> Any:
        return answer.float() if torch.is_tensor(answer) and answer.is_floating_point() else answer

    network = network.to(kind)
    network.register_forward_pre_hook(into)
    network.register_forward_hook(out_of)
    return network


def _need(module: str, remedy: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise MissingExtra(module.partition(".")[0], "a torch model", remedy) from err


def _brief(err: BaseException) -> str:
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= 200 else text[:199] + "…"
