"""What a configuration sets, read and refused as the official backend does, and TensorFlow's session options for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelkit.backends.key import Key, Refused
from accelkit.backends.tensorflow import keys


@dataclass(frozen=True)
class Engine:
    """TensorFlow's TensorRT in a session: the precision, the nodes of a segment, bytes of workspace, engines kept."""

    precision: str
    segment: int
    workspace: int
    cached: int


@dataclass(frozen=True)
class Settings:
    """Threads of an operator and operators at once, what to take from the file, and what the session optimizes."""

    graphdef: bool
    intra: int
    inter: int
    per_session: bool
    tag: str
    signature: str
    init_ops: str
    level: int
    engine: Engine | None = None
    mixed: bool = False


def read(model: str, config: Mapping[str, Any]) -> Settings:
    """Platform and parameters of a configuration."""
    platform = keys.PLATFORM.text({keys.PLATFORM.where: config}) or ""
    if platform not in keys.FILES:
        raise Refused(f"platform {platform} not supported for TensorFlow model '{model}'")
    if keys.SHARE_COUNT.integer(config) <= 0:
        raise Refused(f"parameter '{keys.SHARE_COUNT.name}' must be positive number for TensorFlow model '{model}'")
    if keys.INTRA_THREADS.integer(config) < 0:
        raise Refused(
            f"parameter '{keys.INTRA_THREADS.name}' must be non-negative number for TensorFlow model '{model}'"
        )
    return Settings(
        platform == keys.GRAPH_DEF,
        keys.INTRA_THREADS.integer(config),
        keys.INTER_THREADS.integer(config),
        bool(keys.PER_SESSION.boolean(config)),
        keys.GRAPH_TAG.text(config) or "",
        keys.SIGNATURE.text(config) or "",
        keys.INIT_OPS.text(config) or "",
        keys.GRAPH_LEVEL.integer(config),
    )


def accelerated(config: Mapping[str, Any], gpu: bool, log: Any) -> tuple[Engine | None, bool]:
    """The engine, and whether mixed precision is asked for, of an instance on a GPU or not."""
    node = (config.get("optimization") or {}).get("execution_accelerators")
    if not node:
        return None, False
    if keys.CPU_ACCELERATORS.items(config):
        raise Refused("CPU Execution Accelerator is not supported in TensorFlow backend")
    listed = keys.GPU_ACCELERATORS.items(config)
    if not gpu:
        if listed:
            log.log_warn("GPU Execution Accelerator will be ignored for model instance on CPU")
        return None, False
    engine, mixed = None, False
    for entry in listed:
        if entry["name"] == keys.TENSORRT:
            engine = _engine(entry.get("parameters") or {})
        elif entry["name"] == keys.MIXED:
            mixed = True
        elif entry["name"] not in keys.ACCELERATORS:
            raise Refused(f"unknown Execution Accelerator '{entry['name']}' is requested")
    if engine and mixed:
        raise Refused("Auto mixed precision can not be set with TFTRT optimization")
    return engine, mixed


def _engine(given: Mapping[str, str]) -> Engine:
    known = {key.name for key in keys.TENSORRT_KEYS}
    for name in given:
        if name not in known:
            raise Refused(f"unknown parameter '{name}' is provided for TensorRT Execution Accelerator")
    precision = keys.PRECISION_MODE.text(given) or keys.PRECISION_MODE.default
    if precision not in keys.PRECISIONS:
        raise Refused(f"unsupported precision mode '{precision}' is requested")
    return Engine(precision, *(_long(key, given) for key in keys.TENSORRT_KEYS[1:]))


def _long(key: Key, given: Mapping[str, str]) -> int:
    """An integer of 64 bits, read as the C++ function stoll reads it."""
    text = key.text(given) or key.default
    match = re.match(r"\s*([+-]?\d+)", text, re.ASCII)
    if match is None or not -(2**63) <= int(match[1]) < 2**63:
        raise Refused(f"failed to convert '{text}' to long long integral number")
    return int(match[1])


def number(key: Key, command: Mapping[str, str]) -> float:
    """A float of the command line."""
    text = key.text(command) or key.default
    match = re.match(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise Refused(f"failed to convert '{text}' to double number")
    return float(match[0])


def session(tf: Any, wanted: Settings, command: Mapping[str, str], device: int | None, batch: int) -> Any:
    """The ConfigProto of a session; `device` is a GPU's number, -1 for the CPU and None for wherever the graph says."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=wanted.intra,
        inter_op_parallelism_threads=wanted.inter,
        use_per_session_threads=wanted.per_session,
        allow_soft_placement=keys.SOFT_PLACEMENT.boolean(command) is not False,
    )
    fraction = number(keys.MEMORY_FRACTION, command)
    config.gpu_options.allow_growth = fraction == 0
    config.gpu_options.per_process_gpu_memory_fraction = fraction
    if device == -1:
        config.device_count["GPU"] = 0
    elif device is not None:
        config.gpu_options.visible_device_list = str(device)
    levels = tf.compat.v1.OptimizerOptions
    level = {-1: levels.OFF, 0: levels.DEFAULT, 1: levels.ON_1}.get(wanted.level)
    if level is None:
        level = levels.ON_2 if wanted.level > 1 else levels.DEFAULT
    config.graph_options.optimizer_options.global_jit_level = level
    rewrite = config.graph_options.rewrite_options
    if wanted.engine is not None:
        rewrite.meta_optimizer_iterations = type(rewrite).ONE
        rewrite.optimizers.extend(["constfold", "layout", "constfold"])
        optimizer = rewrite.custom_optimizers.add(name="TensorRTOptimizer")
        optimizer.parameter_map["is_dynamic_op"].b = True
        optimizer.parameter_map["minimum_segment_size"].i = wanted.engine.segment
        optimizer.parameter_map["precision_mode"].s = wanted.engine.precision.encode()
        optimizer.parameter_map["max_batch_size"].i = max(batch, 1)
        optimizer.parameter_map["max_workspace_size_bytes"].i = wanted.engine.workspace
        optimizer.parameter_map["max_cached_engines"].i = wanted.engine.cached
        rewrite.custom_optimizers.add(name="constfold")
    if wanted.mixed:
        rewrite.meta_optimizer_iterations = type(rewrite).ONE
        rewrite.auto_mixed_precision = type(rewrite).ON
    return config
