"""A plan of TensorRT on its own backend: FP32 without TF32, TF32, and FP16 or INT8 that the ONNX file carries.

The plan is built by the interpreter that will load it, and kept in the cache for as long as model, TensorRT and GPU are the
same; so are the timings of its kernels, with which a plan of the same file for other batches is built sooner. It has a
profile for requests of `batch` and one for the largest batch; the server takes the nearer one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import repository
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "tensorrt"
BACKEND = "tensorrt"
NEEDS = "an NVIDIA GPU and TensorRT"
PRECISIONS = ("fp32", "tf32", "fp16", "int8")
EVIDENCE = "tensorrt"
GPU = True
REDUCED = None
PACKAGES = ("tensorrt", "cuda-bindings")
GRAPHS = (1, 2, 4, 8, 16, 32, 48, 64, 128, 256, 512, 1024)
"""Batches that a CUDA graph is captured of, up to the largest one."""


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter or on this machine, or why TensorRT takes no such model."""
    from accelkit import interpreters

    if model is not None and model.kind == "forest":
        return "TensorRT reads neural networks; it has no operators for forests of trees"
    here = interpreters.packages(BACKEND)
    missing = [] if machine.gpus else ["an NVIDIA GPU"]
    missing += [f"the package {name} (make setup HARDWARE=gpu)" for name in PACKAGES if name not in here]
    return f"needs {NEEDS}; missing here: {', '.join(missing)}" if missing else None


def build(
    model: Model,
    directory: Path,
    precision: str = "fp32",
    *,
    batch: int = 16,
    max_batch_size: int | None = None,
    profiles: Sequence[str] | None = None,
    options: Sequence[str] = (),
) -> Built:
    """Return model.plan, and the seconds that its build took when it was made; ModelError with TensorRT's own reason.

    `profiles` are MIN:OPT:MAX of the batch; `options` go to `python -m accelkit.engine build` as they are.
    """
    from accelkit import interpreters, machine
    from accelkit.models import files

    source = _source(model, precision)
    wanted = ranges(model, batch, max_batch_size) if profiles is None else tuple(profiles)
    arguments = ["--precision", precision, *(f"--profile={profile}" for profile in wanted), *options]
    engine = sorted((Path(__file__).parent.parent / "engine").glob("*.py"))
    gpus = machine.probe().gpus
    runs_on = (interpreters.packages(BACKEND).get("tensorrt", ""), *map(str, gpus))
    key = files.digest(source, *engine, repr((arguments, runs_on)).encode())
    stem = f"{model.name}_{model.variant}_{precision}-{key}"

    def make() -> tuple[bytes, dict[str, Any]]:
        made = directory / "model.plan"
        same = files.digest(source, repr((runs_on[0], [gpu.name for gpu in gpus])).encode())
        timings = files.cache() / f"{model.name}_{model.variant}_{precision}-{same}.timings"
        order = ["build", str(source), str(made), f"--timing-cache={timings}", *arguments]
        facts = json.loads(interpreters.run(BACKEND, "accelkit.engine", order))
        return files.read(made), {**facts, "plan": f"{stem}-{files.digest(made)}.plan"}

    plan, facts = files.kept(stem, ".plan", make)
    return Built({"model.plan": plan}, facts["wall_seconds"], plan.stat().st_size / 1e6)


def _source(model: Model, precision: str) -> Path:
    """The ONNX file that carries a precision."""
    if precision == "fp16":
        from accelkit.models import half

        return half.fp16_onnx(model)
    if precision == "int8":
        from accelkit.models import signed

        return signed.int8_onnx(model)
    return model.onnx()


def ranges(model: Model, batch: int, largest: int | None = None) -> tuple[str, ...]:
    """Return the profiles for requests of a batch: one that is best at it, one at the largest batch; none without a batch."""
    if not model.max_batch:
        return ()
    most = max(model.max_batch if largest is None else largest, batch)
    return tuple(f"1:{best}:{most}" for best in sorted({batch, most}))


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    batch: int = 16,
    max_batch_size: int | None = None,
    profiles: Sequence[str] | None = None,
    instances: int = 2,
    dynamic_batching: bool = True,
    graphs: Sequence[int] = GRAPHS,
    busy_wait: bool = True,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig; `graphs` are the batches that CUDA graphs are captured of, and none of them is no graph.

    `settings` are further fields of the config, such as optimization.
    """
    wanted = ranges(model, batch, max_batch_size) if profiles is None else tuple(profiles)
    largest = max((int(profile.split(":")[2]) for profile in wanted), default=0)
    if max_batch_size is not None:
        largest = min(largest, max_batch_size)
    listed = [str(index) for index in range(len(wanted))] if len(wanted) > 1 else []
    captured = [{"batch_size": size} for size in graphs if size <= largest]
    cuda = {"graphs": True, "graph_spec": captured} if captured else {}
    cuda |= {"busy_wait_events": True} if busy_wait else {}
    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=largest,
        input=[repository.tensor(spec) for spec in model.inputs],
        output=[repository.tensor(spec) for spec in model.outputs],
        instance_group=[{"kind": "KIND_GPU", "count": instances, "profile": listed}],
        dynamic_batching={} if dynamic_batching and largest > 1 else None,
        **{"optimization": {"cuda": cuda} if cuda else None, **settings},
    )
