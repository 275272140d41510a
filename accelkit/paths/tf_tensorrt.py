"""TensorFlow with TensorRT inside it: a SavedModel whose segments are engines, in FP32 without TF32, TF32 or FP16.

The segments are chosen and the engines built by the interpreter that will load them, and kept in the cache for as long as
model, TensorFlow, TensorRT and GPU are the same. What TensorRT cannot take stays TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.paths import Built, served_name, tensorflow

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "tf-tensorrt"
BACKEND = "tensorflow"
NEEDS = "an NVIDIA GPU, TensorFlow up to 2.17 built with TensorRT, and that TensorRT"
PRECISIONS = ("fp32", "tf32", "fp16")
EVIDENCE = "tf-tensorrt"
GPU = True
REDUCED = None
LAST = (2, 17)
"""The last TensorFlow that is built with TensorRT."""


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter or on this machine, or that the kit has no such SavedModel."""
    from accelkit import interpreters

    if reason := tensorflow.unwritten(model):
        return reason
    here = interpreters.packages(interpreters.name(NAME, BACKEND))
    missing = [] if machine.gpus else ["an NVIDIA GPU"]
    found = here.get("tensorflow")
    if found is None or tuple(int(part) for part in found.split(".")[:2]) > LAST:
        where = f"{interpreters.variable(BACKEND)} names the Python that has it"
        missing.append(f"the package tensorflow up to {'.'.join(map(str, LAST))} ({where})")
    if "tensorrt" not in here:
        missing.append("the package tensorrt beside it")
    return f"needs {NEEDS}; missing here: {', '.join(missing)}" if missing else None


def batches(model: Model, batch: int, largest: int | None = None) -> list[int]:
    """Return the batches that engines are built for: one, the requests' and the largest."""
    most = max(model.max_batch if largest is None else largest, batch)
    return sorted({1, batch, most})


def build(
    model: Model,
    directory: Path,
    precision: str = "fp32",
    *,
    batch: int = 16,
    max_batch_size: int | None = None,
    options: Sequence[str] = (),
) -> Built:
    """Return the files of the converted SavedModel, and the seconds that its making took; ModelError with TensorFlow's reason.

    `options` go to `python -m accelkit.savedmodel convert` as they are.
    """
    from accelkit import interpreters, machine
    from accelkit.models import files
    from accelkit.savedmodel import keeping

    own = interpreters.name(NAME, BACKEND)
    source, target = directory / "source" / tensorflow.FILE, directory / tensorflow.FILE
    sizes = [f"--batch={size}" for size in batches(model, batch, max_batch_size)]
    arguments = ["--precision", precision, *sizes, *options]

    def make(target: Path) -> dict[str, Any]:
        source.parent.mkdir()
        tensorflow.saved(model, source, own)
        words = ["convert", str(source), str(target), *arguments]
        return tensorflow.said(interpreters.run(own, "accelkit.savedmodel", words))

    parts = [model.code_hash, tensorflow.version(own), *map(str, machine.probe().gpus), *arguments]
    makers = sorted(Path(keeping.__file__).parent.glob("*.py"))
    key = files.digest(*makers, *(part.encode() for part in parts))
    facts = keeping.kept(f"{model.name}_{model.variant}_{precision}_tf_tensorrt-{key}", target, make)
    return tensorflow.built(target, facts["wall_seconds"], facts)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    batch: int = 16,
    max_batch_size: int | None = None,
    instances: int = 2,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig for requests of `batch`; `settings` are those of the path tensorflow."""
    largest = batches(model, batch, max_batch_size)[-1]
    if max_batch_size is not None:
        largest = min(largest, max_batch_size)
    chosen = {"instances": instances, "kind": "KIND_GPU", "max_batch_size": largest, **settings}
    return tensorflow.config(model, name=name or served_name(model, NAME, precision), **chosen)
