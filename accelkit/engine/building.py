"""A plan from an ONNX file; names that a version of TensorRT lacks are left out, and the answer says so."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit.engine import api, describing
from accelkit.errors import ConfigError, ModelError

PRECISIONS: dict[str, tuple[str, ...]] = {"fp32": (), "tf32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""By precision the builder's flags for it, where weak typing still has them; the ONNX file itself carries the precision."""
TACTICS = ("auto", "none", "default")


@dataclass(frozen=True)
class Order:
    """What to build: an ONNX file, the plan's place, how, and for which shapes.

    A profile is MIN:OPT:MAX of the batch, or NAME=AxB:AxB:AxB of each input, separated by commas; `static` fixes the batch.
    `tactics` auto takes no kernels from libraries that only stand in for CUDA's. `plugins` are libraries of operators.
    """

    onnx: Path
    plan: Path
    precision: str = "fp32"
    profiles: tuple[str, ...] = ()
    static: int | None = None
    timing_cache: Path | None = None
    tactics: str = "auto"
    version_compatible: bool = False
    hardware: str = "none"
    refit: bool = False
    strongly_typed: bool = False
    workspace_mb: int | None = None
    level: int | None = None
    plugins: tuple[Path, ...] = ()


def build(order: Order) -> dict[str, Any]:
    """Build a plan and return what was done; ModelError with TensorRT's own reason, and then no file is left behind."""
    started, trt = time.perf_counter(), api.load()
    log, notes = api.logger(), list[str]()
    api.need_gpu()
    api.register_plugins(trt, log, order.plugins)
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError):
        raise ModelError(f"TensorRT {trt.__version__} cannot start a builder: {log.last}") from None
    network = _network(trt, builder, log, order)
    config = builder.create_builder_config()
    flags = _flags(trt, config, order, notes)
    _limits(trt, config, order)
    _profiles(builder, config, network, order)
    warm = _timing_cache(config, order, notes)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise ModelError(f"TensorRT {trt.__version__} cannot build {order.onnx.name}: {log.last}")
    write(order.plan, data)
    if order.timing_cache is not None:
        write(order.timing_cache, config.get_timing_cache().serialize())
    return {
        "plan": str(order.plan),
        "bytes": order.plan.stat().st_size,
        "seconds": round(time.perf_counter() - started, 3),
        "tensorrt": trt.__version__,
        "precision": order.precision,
        "flags": flags,
        "timing_cache": None if order.timing_cache is None else "warm" if warm else "cold",
        "stand_ins": api.stand_ins(),
        "plugins": [str(library) for library in order.plugins],
        "notes": notes,
        **describing.plan(trt, log, order.plan, host_code=order.version_compatible),
    }


def _network(trt: Any, builder: Any, log: Any, order: Order) -> Any:
    kinds, wanted = trt.NetworkDefinitionCreationFlag, ["EXPLICIT_BATCH"]
    if order.strongly_typed:
        if not hasattr(kinds, "STRONGLY_TYPED"):
            raise ConfigError(f"TensorRT {trt.__version__} knows no strongly typed networks: leave the option out")
        wanted.append("STRONGLY_TYPED")
    network = builder.create_network(sum(1 << int(getattr(kinds, name)) for name in wanted if hasattr(kinds, name)))
    parser = trt.OnnxParser(network, log)
    if not order.onnx.is_file():
        raise ModelError(f"{order.onnx} does not exist: give an ONNX file")
    if not parser.parse_from_file(str(order.onnx)):
        reasons = [" ".join(str(parser.get_error(index).desc()).split()) for index in range(parser.num_errors)]
        at = f"at the operator {log.operator}: " if log.operator else ""
        why = "; ".join(reasons) or log.last
        raise ModelError(f"TensorRT {trt.__version__} cannot read {order.onnx.name}: {at}{why}")
    if order.static is not None:
        for tensor in _inputs(network):
            tensor.shape = (order.static, *tuple(tensor.shape)[1:])
    return network


def _flags(trt: Any, config: Any, order: Order, notes: list[str]) -> list[str]:
    """Set the builder's flags and return their names."""
    names = [] if order.strongly_typed else list(PRECISIONS[order.precision])
    for name in [name for name in names if not hasattr(trt.BuilderFlag, name)]:
        notes.append(f"TensorRT {trt.__version__} has no flag {name}: the ONNX file alone carries the precision")
        names.remove(name)
    names += ["TF32"] if order.precision != "fp32" else []
    names += ["VERSION_COMPATIBLE"] if order.version_compatible else []
    names += ["REFIT"] if order.refit else []
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if order.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    return names


def _limits(trt: Any, config: Any, order: Order) -> None:
    """Set verbosity, memory, level, kernels' sources and hardware compatibility."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers and their precision, which evidence reads
    if order.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_mb << 20)
    if order.level is not None:
        config.builder_optimization_level = order.level
    if order.tactics == "none" or (order.tactics == "auto" and api.stand_ins()):
        config.set_tactic_sources(0)
    levels = trt.HardwareCompatibilityLevel
    if not hasattr(levels, order.hardware.upper()):
        raise ConfigError(f"TensorRT {trt.__version__} knows no hardware compatibility {order.hardware!r}")
    if order.hardware != "none":
        config.hardware_compatibility_level = getattr(levels, order.hardware.upper())


def _inputs(network: Any) -> list[Any]:
    return [network.get_input(index) for index in range(network.num_inputs)]


def _profiles(builder: Any, config: Any, network: Any, order: Order) -> None:
    free = [tensor for tensor in _inputs(network) if -1 in tuple(tensor.shape)]
    if order.profiles and not free:
        raise ConfigError(f"every shape of {order.onnx.name} is fixed: leave profiles out")
    if free and not order.profiles:
        raise ConfigError(f"input {free[0].name} has the shape {tuple(free[0].shape)}: give a profile, such as 1:16:64")
    for text in order.profiles:
        profile = builder.create_optimization_profile()
        for tensor in free:
            shapes = shapes_of(text, tensor.name, tuple(tensor.shape))
            profile.set_shape(tensor.name, *shapes)
        if config.add_optimization_profile(profile) < 0:
            raise ConfigError(f"TensorRT refuses the profile {text}: every minimum must fit the model")


def shapes_of(profile: str, name: str, dims: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return minimum, optimum and maximum of one input out of a profile's text; ConfigError for what cannot be meant."""
    own = dict(part.split("=", 1) for part in profile.split(",") if "=" in part)
    try:
        if own:
            found = [tuple(int(size) for size in shape.split("x")) for shape in own[name].split(":")]
        else:
            found = [(int(batch), *dims[1:]) for batch in profile.split(":")]
        low, best, high = found
    except (KeyError, ValueError):
        raise ConfigError(f"profile {profile!r} has no minimum, optimum and maximum for the input {name}") from None
    for sizes in zip(dims, low, best, high, strict=False):
        given, small, middle, large = sizes
        if len(low) != len(dims) or not 0 <= small <= middle <= large or (given != -1 and given != small):
            raise ConfigError(
                f"profile {profile!r} does not fit the input {name} of shape {dims}: write all its sizes, rising"
            )
    return found


def _timing_cache(config: Any, order: Order, notes: list[str]) -> bool:
    """Give the builder the timings of earlier builds; returns whether there were any."""
    if order.timing_cache is None:
        return False
    data = order.timing_cache.read_bytes() if order.timing_cache.exists() else b""
    cache = config.create_timing_cache(data)
    if cache is not None and config.set_timing_cache(cache, False):
        return bool(data)
    notes.append(f"{order.timing_cache.name} is of another GPU or TensorRT: its timings are not used")
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def write(path: Path, data: Any) -> None:
    """Write a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(memoryview(data))
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
