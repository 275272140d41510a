"""The baseline's file on ONNX Runtime's CUDA provider: FP32, TF32 (what CUDA does unless told not to) or an FP16 file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.paths import Built, onnxruntime_cpu, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "onnxruntime-cuda"
BACKEND = "onnxruntime"
NEEDS = "an NVIDIA GPU and ONNX Runtime with its CUDA provider"
PRECISIONS = ("fp32", "tf32", "fp16")
EVIDENCE = "onnxruntime-cuda"
GPU = True
REDUCED = None
SEARCHES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing, or why a GPU has nothing to do for a model of this kind."""
    return lacking(NAME, machine, model, NEEDS, "onnxruntime-gpu")


def lacking(path: str, machine: Machine, model: Model | None, needs: str, *packages: str) -> str | None:
    """Return what a GPU and these packages of the path's interpreter lack to be there; None when nothing does."""
    from accelkit import interpreters

    if model is not None and model.kind == "forest":
        return (
            f"needs {needs} and a neural network: for forests of trees the provider has no kernel, all would fall back"
        )
    missing = [] if machine.gpus else ["an NVIDIA GPU"]
    here = interpreters.packages(interpreters.name(path, BACKEND))
    missing += [f"the package {name} (make setup HARDWARE=gpu)" for name in packages if name not in here]
    return f"needs {needs}; missing here: {', '.join(missing)}" if missing else None


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return the model's ONNX file or the FP16 one, made if it is not in the cache; nothing is built in `directory`."""
    started = time.perf_counter()
    if precision == "fp16":
        from accelkit.models import half

        file = half.fp16_onnx(model)
    else:
        file = model.onnx()
    return Built({"model.onnx": file}, time.perf_counter() - started, file.stat().st_size / 1e6)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    instances: int = 1,
    search: str = "EXHAUSTIVE",
    nhwc: bool | None = None,
    cuda_graph: bool = False,
    dynamic_batching: bool = False,
    provider: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig; `search` is how cuDNN chooses its algorithms, `nhwc` None puts channels last in FP16 alone.

    Without dynamic batching requests keep their size: the provider prepares its convolutions anew whenever the batch becomes
    another one. `provider` are further options of the CUDA provider, passed on as
    they are. `cuda_graph` is for the embedded server: NVIDIA's backend gives every request other memory, which a captured
    graph does not follow.
    """
    options = {"use_tf32": "0"} if precision == "fp32" else {}
    if precision == "fp16" if nhwc is None else nhwc:
        options["prefer_nhwc"] = "1"
    if cuda_graph:
        options["enable_cuda_graph"] = "1"
    options |= provider or {}
    tuned = {"cudnn_conv_algo_search": str(SEARCHES.index(search))} if search != SEARCHES[0] else {}
    settings["dynamic_batching"] = dynamic_batching
    made = on_gpu(
        model, name or served_name(model, NAME, precision), instances, {**tuned, **(parameters or {})}, **settings
    )
    if options:
        made.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda", parameters=options)
    return made


def on_gpu(model: Model, name: str, instances: int, parameters: Mapping[str, str], **settings: Any) -> ModelConfig:
    """Return the baseline's ModelConfig for these settings with its instances on a GPU."""
    made = onnxruntime_cpu.config(model, name=name, instances=instances, parameters=parameters, **settings)
    for group in made.instance_group:
        group.kind = group.KIND_GPU
    return made
