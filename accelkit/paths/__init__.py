"""The acceleration paths by name: what each needs, whether that is here, how to build it and how to configure it.

A path is a module of this package: adding one is adding a file, and its name here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Protocol, cast

from accelkit import repository as repositories
from accelkit.errors import ConfigError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

BASELINE = "onnxruntime-cpu"
GENERATES = "language model"
GENERATIVE = ("fastertransformer", "vllm", "tensorrt-llm")
"""The kind of model that generates, and the paths that take it."""
NAMES = (
    BASELINE, "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-openvino", "openvino", "tensorrt", "pytorch", "pytorch-aoti",
    "torch-tensorrt", "tf-tensorrt", "fil", *GENERATIVE, "tensorflow",
)  # fmt: skip
"""Every path, in the order of the lessons."""


@dataclass(frozen=True)
class Built:
    """Files of one version by their name in the repository, the seconds that building took, their size, what was said."""

    files: Mapping[str, File]
    seconds: float
    size_mb: float
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """A built model in a repository: its directory and its files there."""

    directory: File
    files: tuple[File, ...]
    seconds: float
    size_mb: float


class Path(Protocol):
    """What every path offers."""

    NAME: str
    BACKEND: str
    NEEDS: str
    PRECISIONS: tuple[str, ...]
    """What it can build a model in; the first is fp32."""
    __file__: str
    EVIDENCE: str
    """Name of the reader in accelkit.measure.evidence.READERS; "none" for a path whose files are written and never run here."""
    GPU: bool
    """Whether it runs on an NVIDIA GPU; it may name precisions that only a GPU is for as GPU_PRECISIONS."""
    REDUCED: str | None
    """What hardware may compute its fp32 in without being asked; None for a path that keeps fp32."""

    def unavailable(self, machine: Machine, model: Model | None = None) -> str | None:
        """Return one line that says what is missing on this machine, or why it takes no model of this kind, or None."""

    def build(self, model: Model, directory: File, precision: str = "fp32") -> Built:
        """Build the model's files; what is made is made in `directory`."""

    def config(self, model: Model, *, precision: str = "fp32", **overrides: Any) -> ModelConfig:
        """Return the config to serve the built model with."""


def names() -> tuple[str, ...]:
    """Return every path's name in the order of the lessons; the first is the baseline."""
    return NAMES


def get(name: str) -> Path:
    """Return the path of that name; ConfigError lists the names there are."""
    if name not in NAMES:
        raise ConfigError(f"no path {name!r}: there are {', '.join(NAMES)}")
    return cast(Path, importlib.import_module(f"accelkit.paths.{name.replace('-', '_')}"))


def unavailable(path: Path, machine: Machine, model: Model | None = None) -> str | None:
    """Return what a path says is missing, or that it takes one graph where the model generates; None for one that is here."""
    if model is not None and model.kind == GENERATES and path.NAME not in GENERATIVE:
        return f"needs a model that is one graph; {model.name} generates id by id, for which there is {GENERATIVE[0]}"
    return path.unavailable(machine, model)


def apart(path: Path) -> str | None:
    """Return why a path is not measured beside others: it takes and answers text, part by part; None for one that is."""
    return "answers text in parts, which no other path does; lesson 11 measures it" if hasattr(path, "TEXT") else None


def baseline(model: Model) -> str:
    """Return the name of the path that a model's other paths are compared with unless one is named."""
    return BASELINE if model.kind != GENERATES else GENERATIVE[0]


def label(name: str, precision: str | None) -> str:
    """Return what a path in a precision is called in tables: its name alone for fp32."""
    return name if precision in ("fp32", None) else f"{name} {precision}"


def served_name(model: Model, name: str, precision: str = "fp32") -> str:
    """Return the name that a model bears in a repository when a path serves it in a precision."""
    return re.sub(r"[^0-9A-Za-z]+", "_", f"{model.name}_{label(name, precision)}")


def chosen(spec: str, model: Model) -> list[tuple[Path, str]]:
    """Return path and precision of a spec, PATH:PRECISION; PATH alone is every precision that it can build the model in.

    ConfigError names what there is.
    """
    name, colon, precision = spec.partition(":")
    path = get(name)
    able = [known for known in path.PRECISIONS if known in model.precisions]
    if colon and precision not in able:
        more = getattr(model, "without_int8", "") if precision == "int8" and precision in path.PRECISIONS else ""
        reason = more or f"not in {precision!r}" if precision else f"name one behind the colon of {spec}"
        raise ConfigError(f"path {name} has {model.name} in {', '.join(able)}: {reason}")
    return [(path, known) for known in able if precision in ("", known)]


def worthwhile(path: Path, precision: str, machine: Machine) -> bool:
    """Whether a precision is worth a try on a machine when nobody asked for it: some are for GPUs alone."""
    return bool(machine.gpus) or precision not in getattr(path, "GPU_PRECISIONS", ())


def as_served(model: Model, config: ModelConfig) -> Model:
    """Return the model with its tensors named as a config names them, in its order: some backends insist on names."""
    sides = {"inputs": (model.inputs, config.input), "outputs": (model.outputs, config.output)}
    renamed = {
        side: tuple(replace(spec, name=entry.name) for spec, entry in zip(specs, entries))
        for side, (specs, entries) in sides.items()
        if [spec.name for spec in specs] != [entry.name for entry in entries][: len(specs)]
    }
    return cast("Model", replace(cast(Any, model), **renamed)) if renamed else model


def one(spec: str, model: Model) -> tuple[Path, str]:
    """Return path and precision of a spec; PATH alone is its fp32."""
    return chosen(spec, model)[0]


def fitted(path: Path, machine: Machine, batch: int, largest: int = 0, **asked: int) -> dict[str, int]:
    """Return what a path's config is given for requests of `batch` on a machine: the batch where it is compiled in, threads.

    `largest` is the batch that configs offer without being told; a larger one becomes theirs. Threads for a process that
    may use fewer CPUs than the machine has cores: runtimes look at the machine alone. Of what is `asked` for beside that,
    such as instances, a path is given what it takes.
    """
    from accelkit import interpreters

    takes = inspect.signature(path.config).parameters
    few = "threads" in takes and machine.usable_cores < machine.physical_cores
    room = {"batch": batch} if "batch" in takes else {"max_batch_size": batch} if 0 < largest < batch else {}
    # TensorRT 8 takes FP16 from the file only when told so.
    own = interpreters.name(path.NAME, path.BACKEND)
    weak = "weak_typing" in takes and interpreters.packages(own).get("tensorrt", "").startswith("8.")
    given = room | ({"threads": machine.usable_cores} if few else {}) | ({"weak_typing": True} if weak else {})
    return given | {key: value for key, value in asked.items() if key in takes}


def place(path: Path, model: Model, repository: File, precision: str = "fp32", **overrides: Any) -> Placed:
    """Build a model for a path and put it into a repository; ConfigError if the path is unavailable here.

    Overrides are the config's; those that building takes too, such as the shapes of a plan, are also the build's.
    """
    from accelkit import machine

    if reason := unavailable(path, machine.probe(), model):
        raise ConfigError(f"path {path.NAME} is unavailable: {reason}")
    config = path.config(model, precision=precision, **overrides)
    if "cache" in inspect.signature(path.config).parameters and "cache" not in overrides:
        # What is built at load lies beside the model's file and goes with it.
        cache = str(repository.absolute() / config.name / "1" / "cache")
        config = path.config(model, precision=precision, cache=cache, **overrides)
    with tempfile.TemporaryDirectory(prefix="accelkit-build-") as scratch:
        takes = inspect.signature(path.build).parameters
        own = {key: value for key, value in overrides.items() if key in takes}
        built = path.build(model, File(scratch), precision, **own)
        directory = repositories.add(repository, config, built.files)
    return Placed(directory, tuple(directory / "1" / name for name in built.files), built.seconds, built.size_mb)
