"""TensorFlow itself on its own backend: the recogniser in Keras as a SavedModel, to compare others with.

Servers of the legacy era alone have the backend. The SavedModel is written by the interpreter that will load it, and kept in
the cache for as long as the model and TensorFlow are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import repository
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "tensorflow"
BACKEND = "tensorflow"
NEEDS = "TensorFlow and a model that the kit has in Keras"
PRECISIONS = ("fp32",)
EVIDENCE = "tensorflow"
GPU = False
REDUCED = None
PACKAGES = ("tensorflow-cpu", "tensorflow")
PLATFORM = "tensorflow_savedmodel"
FILE = "model.savedmodel"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter, or that the kit has no Keras form of such a model."""
    from accelkit import interpreters

    if reason := unwritten(model):
        return reason
    here = interpreters.has(NAME, BACKEND, machine)
    if any(name in here for name in PACKAGES):
        return None
    return f"needs {NEEDS}; missing here: pip install 'accelkit[tensorflow]'"


def unwritten(model: Model | None) -> str | None:
    """Return why a model has no SavedModel here, or None."""
    if model is None or hasattr(model, "folded"):
        return None
    if model.kind == "forest":
        return "TensorFlow is for neural networks; the kit writes no SavedModel of forests of trees"
    return "the kit writes SavedModels of text recognition; serve your own by tensorflow_savedmodel"


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return the files of model.savedmodel, unpacked in `directory`; ModelError with TensorFlow's own reason."""
    from accelkit import interpreters

    facts = saved(model, directory / FILE, interpreters.name(NAME, BACKEND))
    return built(directory / FILE, facts["wall_seconds"])


def built(directory: Path, seconds: float, facts: Mapping[str, Any] | None = None) -> Built:
    """Return a SavedModel's files, the seconds that it took, its size and what was said of it."""
    from accelkit.savedmodel import keeping

    found = keeping.listed(directory)
    return Built(found, seconds, sum(path.stat().st_size for path in found.values()) / 1e6, facts or {})


def saved(model: Model, target: Path, interpreter: str) -> dict[str, Any]:
    """Write the SavedModel of a model to `target` by an interpreter, and return what it says of it."""
    import numpy as np

    from accelkit import interpreters
    from accelkit.models import files
    from accelkit.savedmodel import keeping, network

    def make(target: Path) -> dict[str, Any]:
        weights = target.parent / "weights.npz"
        np.savez(weights, shape=np.array(model.inputs[0].dims), **model.folded())  # type: ignore[attr-defined]
        names = ["--source", model.inputs[0].name, "--result", model.outputs[0].name]
        return said(interpreters.run(interpreter, "accelkit.savedmodel", ["write", str(weights), str(target), *names]))

    parts = (model.code_hash, version(interpreter), files.digest(Path(network.__file__)))
    key = files.digest(*(part.encode() for part in parts))
    return keeping.kept(f"{model.name}_{model.variant}_tensorflow-{key}", target, make)


def said(text: str) -> dict[str, Any]:
    """Return the JSON in the last line of an interpreter's output, before which libraries may have written."""
    import json

    return dict(json.loads(text.strip().splitlines()[-1]))


def version(interpreter: str) -> str:
    """Return what TensorFlow, and what TensorRT, an interpreter has."""
    from accelkit import interpreters

    here = interpreters.packages(interpreter)
    return " ".join(f"{name} {here[name]}" for name in (*PACKAGES, "tensorrt") if name in here)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    kind: str = "KIND_CPU",
    dynamic_batching: bool = True,
    threads: int | None = None,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig; `threads` None leaves TensorFlow's choice, one for each core; `settings` are further fields."""
    largest = model.max_batch if max_batch_size is None else max_batch_size
    values = {} if threads is None else {"TF_NUM_INTRA_THREADS": str(threads)}
    values |= parameters or {}
    return repository.new(
        name=name or served_name(model, NAME, precision),
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=largest,
        input=[repository.tensor(spec) for spec in model.inputs],
        output=[repository.tensor(spec) for spec in model.outputs],
        instance_group=[{"kind": kind, "count": instances}],
        dynamic_batching={} if dynamic_batching and largest > 1 else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
        **settings,
    )
