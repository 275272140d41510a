"""What a plan is: its inputs and outputs, its profiles, its layers and their precisions, as TensorRT itself says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelkit.errors import ModelError


def read(trt: Any, log: Any, path: Path, host_code: bool = False) -> Any:
    """Return the engine of a plan; ModelError with TensorRT's reason: another version or GPU, a damaged file."""
    try:
        runtime = trt.Runtime(log)
    except (TypeError, RuntimeError):
        raise ModelError(f"TensorRT {trt.__version__} cannot start a runtime: {log.last}") from None
    if host_code:
        runtime.engine_host_code_allowed = True
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ModelError(f"TensorRT {trt.__version__} cannot load {path.name}: {log.last}")
    return engine


def names(engine: Any) -> list[str]:
    """Return the names of an engine's inputs and outputs in its order."""
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def tensors(trt: Any, engine: Any) -> dict[str, dict[str, Any]]:
    """Return {"input": {name: {"type", "shape"}}, "output": ...}; a free size is -1."""
    found: dict[str, dict[str, Any]] = {"input": {}, "output": {}}
    for name in names(engine):
        side = "input" if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
        kind = engine.get_tensor_dtype(name)
        found[side][name] = {"type": kind.name, "shape": [int(size) for size in engine.get_tensor_shape(name)]}
    return found


def profiles(trt: Any, engine: Any) -> list[dict[str, list[list[int]]]]:
    """Return for each profile the minimum, optimum and maximum shape of each input."""
    inputs = [name for name in names(engine) if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return [
        {
            name: [[int(size) for size in shape] for shape in engine.get_tensor_profile_shape(name, index)]
            for name in inputs
        }
        for index in range(engine.num_optimization_profiles)
    ]


def layers(trt: Any, engine: Any, context: Any = None) -> list[Any]:
    """Return the inspector's layers, of the profile and shapes that a context has where one is given."""
    inspector = engine.create_engine_inspector()
    if context is not None:
        inspector.execution_context = context
    # TensorRT 8 writes control characters of layers' names as they are.
    said = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON), strict=False)
    return list(said.get("Layers", []))


def plan(trt: Any, log: Any, path: Path, host_code: bool = False) -> dict[str, Any]:
    """Return what a plan is, without its layers."""
    engine = read(trt, log, path, host_code)
    return {
        **tensors(trt, engine),
        "profiles": profiles(trt, engine),
        "layers": engine.num_layers,
        "refittable": engine.refittable,
        "hardware": engine.hardware_compatibility_level.name.lower(),
    }
