"""One engine for every task that runs a network: ONNX Runtime, OpenVINO or torch, on as many threads as were asked for.

An engine takes named arrays and gives named arrays. What it runs on is the variant's business, and what the variant
is charged for: `threads`, `graph`, `runtime` and `device` are options of it, and part of its content hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._options import brief, nearest, need
from outweigh.core.errors import ModelError
from outweigh.core.variant import Option, Variant
from outweigh.data.torch_models import WEIGHTS, load_torch, torch_digest, torch_reference

#: Options of a variant that decide what it runs on. `threads` and `batch` may be set for the whole task as well.
ENGINE_OPTIONS: Mapping[str, Option] = {
    "threads": 1, "batch": 1, "graph": "all", "runtime": "", "device": "cpu", WEIGHTS: "",
}  # fmt: skip
#: What a text model may take; all are whole numbers.
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
GRAPHS = ("disabled", "basic", "extended", "all")
RUNTIMES = ("onnxruntime", "openvino", "torch")
DEVICES = ("cpu", "cuda")

_GRAPH_LEVELS = {"disabled": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
_ELEMENTS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_, "tensor(string)": np.str_,
}  # fmt: skip

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or output: its name, how it says its type, and its dimensions (a name or None where they are open)."""

    name: str
    kind: str
    shape: tuple[object, ...]

    @property
    def dtype(self) -> type[np.generic] | None:
        """The NumPy type to feed; None where the type is none we feed."""
        return _ELEMENTS.get(self.kind)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a variant runs on, checked. `batch` is how many items go into one call."""

    runtime: str
    threads: int
    batch: int
    graph: str
    device: str

    def plain(self) -> dict[str, object]:
        """What goes into a content hash. What is as it was before there was a choice is left out of it, so that the
        hash of a variant stays what it was.
        """
        usual = {"runtime": "onnxruntime", "batch": 1, "graph": "all", "device": "cpu"}
        mine: dict[str, object] = {
            "runtime": self.runtime, "threads": self.threads, "batch": self.batch, "graph": self.graph,
            "device": self.device,
        }  # fmt: skip
        return {name: value for name, value in mine.items() if usual.get(name) != value}


class Engine(Protocol):
    """A loaded network. `run` takes input name -> array and gives the named outputs; ModelError when it fails."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]: ...


def setup_of(variant: Variant, options: Mapping[str, Option]) -> Setup:
    """What these options, the variant's laid over the task's, come to.

    Raises:
        ModelError: an option that is not known, or that does not go with the model's format.
    """
    runtime = str(options["runtime"]) or ("torch" if torch_reference(variant.model) else "onnxruntime")
    chosen = {"runtime": runtime, "graph": str(options["graph"]), "device": str(options["device"])}
    for name, known in (("runtime", RUNTIMES), ("graph", GRAPHS), ("device", DEVICES)):
        if chosen[name] not in known:
            raise ModelError(variant.name, f"{name} {chosen[name]!r} is not known", nearest(chosen[name], known))
    if (runtime == "torch") != (torch_reference(variant.model) is not None):
        problem = f"runtime {runtime!r} does not run {Path(variant.model).name}"
        remedy = "torch runs FILE.py:FACTORY; ONNX Runtime and OpenVINO run ONNX files"
        raise ModelError(variant.name, problem, remedy)
    if runtime != "onnxruntime" and chosen["graph"] != "all":
        remedy = "Leave `graph` out, or set runtime = 'onnxruntime'"
        raise ModelError(variant.name, f"graph {chosen['graph']!r} is ONNX Runtime's alone", remedy)
    if runtime == "openvino" and chosen["device"] != "cpu":
        raise ModelError(variant.name, "OpenVINO does not run on CUDA", "Choose runtime = 'onnxruntime' for it")
    whole = {name: options[name] for name in ("threads", "batch")}
    for name, value in whole.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(variant.name, f"option {name} is {value!r}", "Give a whole number, 1 or more")
    return Setup(runtime, int(whole["threads"]), int(whole["batch"]), chosen["graph"], chosen["device"])


def open_engine(variant: Variant, setup: Setup, needed_by: str, what: str = "ONNX model") -> Engine:
    """Load the variant's model. `what` is what it should be, for errors.

    Raises:
        ModelError: the file is missing or no model of its kind, or the device is not there.
        MissingExtra: the runtime is not installed.
    """
    if setup.runtime == "torch":
        return _Torch(variant, setup, needed_by)
    path = Path(variant.model)
    if not path.is_file():
        raise ModelError(variant.name, f"{path} does not exist", "Check the path of the model")
    return (_OpenVino if setup.runtime == "openvino" else _OnnxRuntime)(variant, setup, needed_by, what)


def rooted(variant: Variant, root: Path) -> Variant:
    """The variant with its option `weights`, where it has one, as an absolute path: it starts from `root`."""
    weights = str(variant.option(WEIGHTS, ""))
    if not weights or Path(weights).is_absolute():
        return variant
    options = dict(variant.options) | {WEIGHTS: str((root / weights).absolute())}
    return replace(variant, options=Variant.freeze_options(options))


def content_hash(variant: Variant, options: Mapping[str, object], needed_by: str) -> str:
    """SHA-256 of what decides behaviour and cost: the model's bytes and the options in force, whatever their names."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    if torch_reference(variant.model) is not None:
        digest.update(torch_digest(variant).encode())
        return digest.hexdigest()
    model = Path(variant.model)
    for file in (model, *_external_data(model, needed_by)):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    """Of module name -> package, the packages that are not installed."""
    return [package for module, package in packages.items() if importlib.util.find_spec(module) is None]


def finite(variant: str, what: str, values: Array) -> Array:
    """The values, once each is finite. Raises ModelError."""
    if not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
        raise ModelError(
            variant,
            f"{what} not finite (NaN or infinite)",
            "The model is damaged or overflows at its precision: check the file, or the lever that made it",
        )
    return values


def _remedy(extra: str) -> str:
    return f"Run: pip install 'outweigh[{extra}]'"


def _failed(variant: str, feed: Mapping[str, Array], err: BaseException) -> ModelError:
    shapes = ", ".join(f"{name} {' × '.join(map(str, array.shape))}" for name, array in feed.items())
    remedy = "Check that the model takes inputs of this shape: one exported for a fixed size needs open axes"
    return ModelError(variant, f"it fails on {shapes} ({brief(err)})", remedy)


class _OnnxRuntime:
    def __init__(self, variant: Variant, setup: Setup, needed_by: str, what: str) -> None:
        self._name = variant.name
        runtime = need("onnxruntime", "onnxruntime", needed_by, _remedy("onnx"))
        self._failures = _onnx_failures(needed_by)
        runtime.disable_telemetry_events()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = setup.threads
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, f"ORT_{_GRAPH_LEVELS[setup.graph]}")
        # Waiting threads would otherwise spin, and their waiting would be charged to the model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4  # what goes wrong is raised, not logged
        providers = ["CPUExecutionProvider"]
        if setup.device == "cuda":
            if "CUDAExecutionProvider" not in runtime.get_available_providers():
                remedy = "Run: pip install onnxruntime-gpu, on a machine with an NVIDIA GPU"
                raise ModelError(variant.name, "this ONNX Runtime has no CUDA provider", remedy)
            providers.insert(0, "CUDAExecutionProvider")
        path = Path(variant.model)
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers)
        except self._failures as err:
            remedy = f"Give {'an' if what[0] in 'aeiouAEIOU' else 'a'} {what}, whole and unaltered"
            raise ModelError(variant.name, f"{path.name} is not a usable {what} ({brief(err)})", remedy) from err
        if setup.device == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            # It falls back to the CPU in silence, which would be measured as if it were the GPU.
            raise ModelError(variant.name, "ONNX Runtime could not use the GPU", "Check the driver and CUDA libraries")
        self.inputs, self.outputs = (
            tuple(Slot(slot.name, slot.type, tuple(slot.shape or ())) for slot in slots)
            for slots in (self._session.get_inputs(), self._session.get_outputs())
        )

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        try:
            return list(self._session.run(list(names), dict(feed)))
        except self._failures as err:
            raise _failed(self._name, feed, err) from err


def _onnx_failures(needed_by: str) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own classes, which share no base, as its status codes name them."""
    state = need("onnxruntime.capi.onnxruntime_pybind11_state", "onnxruntime", needed_by, _remedy("onnx"))
    codes = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
             "NotImplemented", "RuntimeException")  # fmt: skip
    # A feed of the wrong type or a missing input never reaches its status codes: the binding raises these itself.
    return (*(getattr(state, code) for code in codes), ValueError)


class _OpenVino:
    """Precision is OpenVINO's own choice for the processor (bf16 where it has it): that is what this runtime costs, and
    what it does to quality is measured with it.
    """

    def __init__(self, variant: Variant, setup: Setup, needed_by: str, what: str) -> None:
        self._name = variant.name
        openvino = need("openvino", "openvino", needed_by, _remedy("openvino"))
        path = Path(variant.model)
        try:
            self._compiled = openvino.Core().compile_model(
                str(path), "CPU",
                {"INFERENCE_NUM_THREADS": setup.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"},
            )  # fmt: skip
        except RuntimeError as err:
            remedy = "Give an ONNX model whose operators OpenVINO knows, or runtime = 'onnxruntime'"
            raise ModelError(variant.name, f"{path.name} is not a usable {what} ({brief(err)})", remedy) from err
        self._request = self._compiled.create_infer_request()
        self.inputs, self.outputs = (
            tuple(_openvino_slot(port) for port in ports) for ports in (self._compiled.inputs, self._compiled.outputs)
        )
        self._place = {slot.name: place for place, slot in enumerate(self.outputs)}

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        try:
            given = self._request.infer(dict(feed))
        except (RuntimeError, TypeError, ValueError, KeyError) as err:
            raise _failed(self._name, feed, err) from err
        # Copied: the request writes its next answer into the same memory.
        return [np.array(given[self._compiled.outputs[self._place[name]]]) for name in names]


def _openvino_slot(port: Any) -> Slot:
    shape = tuple(len_ if isinstance(len_, int) else None for len_ in map(_fixed, port.get_partial_shape()))
    kinds = {"f32": "float", "f16": "float16", "f64": "double", "i64": "int64", "i32": "int32", "u8": "uint8",
             "i8": "int8", "boolean": "bool", "string": "string"}  # fmt: skip
    kind = port.get_element_type().get_type_name()
    return Slot(port.get_any_name(), f"tensor({kinds.get(kind, kind)})", shape)


def _fixed(dimension: Any) -> int | None:
    return int(dimension.get_length()) if dimension.is_static else None


class _Torch:
    """A network of our own: inputs by the names its `forward` gives them, one output called "output".

    Its input is float32, but for token numbers, which are int64. What comes out has no shape before it has run.
    """

    outputs: tuple[Slot, ...] = (Slot("output", "tensor(float)", ()),)

    def __init__(self, variant: Variant, setup: Setup, needed_by: str) -> None:
        self._name, self._setup = variant.name, setup
        self._torch = need("torch", "torch", needed_by, _remedy("torch"))
        if setup.device == "cuda" and not self._torch.cuda.is_available():
            raise ModelError(variant.name, "torch sees no CUDA device", "Choose device = 'cpu', or another machine")
        self._network: Any = load_torch(variant, setup.device)
        taken = inspect.signature(self._network.forward).parameters.values()
        self.inputs = tuple(
            Slot(given.name, "tensor(int64)" if given.name in TOKEN_INPUTS else "tensor(float)", ())
            for given in taken
            if given.default is given.empty and given.kind in (given.POSITIONAL_ONLY, given.POSITIONAL_OR_KEYWORD)
        )

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        torch = self._torch
        # torch has one number of threads a process, and the variant before may have asked for another.
        if torch.get_num_threads() != self._setup.threads:
            torch.set_num_threads(self._setup.threads)
        try:
            with torch.inference_mode():
                given = [torch.from_numpy(np.ascontiguousarray(feed[slot.name])) for slot in self.inputs]
                answer = self._network(*(tensor.to(self._setup.device) for tensor in given))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as err:
            raise _failed(self._name, feed, err) from err
        if not torch.is_tensor(answer):
            problem = f"it gives {type(answer).__name__}, not a tensor"
            raise ModelError(self._name, problem, "Let its forward return one tensor")
        found: Array = answer.float().cpu().numpy()
        return [found for _ in names]


def _external_data(model: Path, needed_by: str) -> list[Path]:
    """Files beside the model that hold its large weights, each once, by name."""
    onnx = need("onnx", "onnx", needed_by, _remedy("onnx"))
    helper = need("onnx.external_data_helper", "onnx", needed_by, _remedy("onnx"))
    graph = onnx.load(model, load_external_data=False).graph
    outside = [tensor for tensor in graph.initializer if helper.uses_external_data(tensor)]
    return sorted({model.parent / helper.ExternalDataInfo(tensor).location for tensor in outside})
