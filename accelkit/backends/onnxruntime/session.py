"""An ONNX Runtime session as the official backend opens it for a model configuration."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime import accelerators, gpu, keys, layers, openvino

DEFAULT_FILE = "model.onnx"
_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_MODES = (onnxruntime.ExecutionMode.ORT_SEQUENTIAL, onnxruntime.ExecutionMode.ORT_PARALLEL)
_RECORD = "session.record_ep_graph_assignment_info"
_ERROR = re.compile(r"\[ONNXRuntimeError\] : (\d+) : [A-Z_]+ : (.*)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """Where a model stands: its name, repository directory and version, and the kind and device of the instance."""

    model: str
    repository: str
    version: str
    instance: str = "auto-complete"
    kind: str = "CPU"
    device: int = 0


def official(error: Exception) -> Refused:
    """An error of ONNX Runtime in the words of the official backend."""
    match = _ERROR.search(str(error))
    return Refused(f"onnx runtime error {match[1]}: {match[2]}" if match else str(error))


def locate(place: Place, config: Mapping[str, Any]) -> Path:
    """The ONNX file of the model's version; a directory of its name holds it beside external data."""
    path = host.model_file(place.repository, place.version, config, DEFAULT_FILE)
    if path.is_dir():
        path = path / DEFAULT_FILE
    if not path.is_file():
        raise Refused(f"failed to stat file {path}")
    return path


def session_options(config: Mapping[str, Any], command: Mapping[str, str]) -> onnxruntime.SessionOptions:
    """Options with the settings of the configuration applied, in the order in which the official backend reads them."""
    options = onnxruntime.SessionOptions()
    level = keys.GRAPH_LEVEL.integer(config)
    options.graph_optimization_level = _LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    mode = keys.EXECUTION_MODE.integer(config)
    if mode not in (0, 1):
        raise Refused(
            f"Invalid configuration value provided. Expected values for  {keys.EXECUTION_MODE.name} are 0 or 1 but got {mode} ."
        )
    options.execution_mode = _MODES[mode]
    if keys.GLOBAL_THREADPOOL.boolean(command):
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = max(0, keys.INTRA_OP_THREADS.integer(config))
        options.inter_op_num_threads = max(0, keys.INTER_OP_THREADS.integer(config))
    arena, pattern = keys.MEM_ARENA.boolean(config), keys.MEM_PATTERN.boolean(config)
    if arena is not None:
        options.enable_cpu_mem_arena = arena
    if pattern is not None:
        options.enable_mem_pattern = pattern
    allocator = keys.INITIALIZER_ALLOCATOR.text(config)
    if allocator is not None:
        options.add_session_config_entry(keys.INITIALIZER_ALLOCATOR.name, allocator)
    return options


def add_providers(place: Place, config: Mapping[str, Any], options: onnxruntime.SessionOptions) -> list[Any]:
    """Add accelerators and custom operators to the options; return the providers that they exclude from the options."""
    providers = accelerators.gpu(config, place.device) if place.kind == "GPU" else []
    if providers:
        gpu.prepare(providers)
    if keys.CPU_ACCELERATORS.items(config):
        # A provider that is a plugin goes into the options, which then takes a list of others no more.
        for name, settings in providers:
            options.add_provider(name, settings)
        accelerators.cpu(config, options)
    for library in keys.CUSTOM_OPS.items(config):
        try:
            options.register_custom_ops_library(library)
        except Exception as error:
            raise official(error) from None
    return providers


def run_options(config: Mapping[str, Any]) -> onnxruntime.RunOptions | None:
    """Options of every run; None when the configuration sets none."""
    shrinkage = keys.ARENA_SHRINKAGE.text(config)
    if shrinkage is None:
        return None
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(keys.ARENA_SHRINKAGE.name, shrinkage)
    return options


def open_session(
    place: Place, config: Mapping[str, Any], arguments: list[str], profile: str | None = None
) -> onnxruntime.InferenceSession:
    """Open the model; Refused with the official text when the configuration or the file is no good."""
    command = host.settings("onnxruntime", arguments)
    onnxruntime.set_default_logger_severity(0 if host.verbose(arguments) else 2)
    if keys.GLOBAL_THREADPOOL.boolean(command):
        onnxruntime.set_global_thread_pool_sizes(
            max(0, keys.GLOBAL_INTRA_OP_THREADS.integer(command)), max(0, keys.GLOBAL_INTER_OP_THREADS.integer(command))
        )
    options = session_options(config, command)
    providers = add_providers(place, config, options)
    path = locate(place, config)
    building: AbstractContextManager[None] = nullcontext()
    if profile is not None:
        folder = Path(profile) / place.model
        folder.mkdir(parents=True, exist_ok=True)
        options.enable_profiling = True
        options.add_session_config_entry(_RECORD, "1")
        options.profile_file_prefix = str(folder / f"{place.version}-{place.instance}")
        if providers and providers[0][0] == accelerators.TENSORRT:
            report = Path(f"{options.profile_file_prefix}.tensorrt")
            providers[0] = (accelerators.TENSORRT, layers.detailed(providers[0][1], report))
            building = layers.reported(providers[0][1], report, path)
    try:
        if keys.CPU_ACCELERATORS.items(config):
            with openvino.alone(), building:
                session = onnxruntime.InferenceSession(str(path), options, enable_fallback=False)
        else:
            listed = [*providers, "CPUExecutionProvider"]
            with building:
                session = onnxruntime.InferenceSession(str(path), options, providers=listed, enable_fallback=False)
    except Exception as error:
        raise official(error) from None
    session.disable_fallback()  # the argument is known since 1.20
    gpu.insist(session, providers)
    return session


def end_profile(place: Place, session: onnxruntime.InferenceSession) -> None:
    """Flush the session's profile, and write beside it, as .session, what the session really ran with."""
    profile, options = Path(session.end_profiling()), session.get_session_options()
    values = {name: getattr(options, name) for name in dir(options) if not name.startswith("_")}
    applied = {name: getattr(value, "name", value) for name, value in values.items()}
    assigned: Counter[str] = Counter()
    if hasattr(session, "get_provider_graph_assignment_info"):
        for subgraph in session.get_provider_graph_assignment_info():
            assigned[subgraph.ep_name] += len(subgraph.get_nodes())
    facts = {
        "model": place.model,
        "version": place.version,
        "instance": place.instance,
        "process": os.getpid(),
        "providers": session.get_providers(),
        "provider_options": session.get_provider_options(),
        "assigned": dict(assigned),
        "options": {name: value for name, value in applied.items() if isinstance(value, (bool, int, str))},
    }
    profile.with_suffix(".session").write_text(json.dumps(facts, indent=1))
