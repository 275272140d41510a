"""A plan read as the official backend reads it: which file, and what TensorRT said when it would not load."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import keys
from accelkit.engine import api
from accelkit.errors import AccelkitError

DEFAULT_FILE = "model.plan"


@dataclass(frozen=True)
class Place:
    """Where a model stands: its name, repository directory and version, and the kind and device of the instance."""

    model: str
    repository: str
    version: str
    instance: str = "auto-complete"
    kind: str = "GPU"
    device: int = 0


@dataclass(frozen=True)
class Plan:
    """A loaded plan: TensorRT's module, its logger, the runtime that must outlive the engine, and the engine."""

    trt: Any
    log: Any
    runtime: Any
    engine: Any


def locate(place: Place, config: Mapping[str, Any], capability: str) -> Path:
    """The plan's file: that of the compute capability, else default_model_filename, else the backend's default."""
    own = (config.get(keys.CC_FILES.name) or {}).get(capability)
    name = own or config.get("default_model_filename") or DEFAULT_FILE
    return Path(place.repository) / place.version / name


def whole(config: Mapping[str, Any]) -> bool:
    """Whether a configuration lacks nothing that the plan could fill in."""
    entries = [entry for side in ("input", "output") for entry in config.get(side) or [{}]]
    typed = all(entry.get("dims") and entry.get("data_type") not in (None, "", "TYPE_INVALID") for entry in entries)
    batched = "dynamic_batching" in config or "sequence_batching" in config
    return typed and batched and int(config.get("max_batch_size") or 0) > 1


def module(pb: Any) -> tuple[Any, Any]:
    """TensorRT and a logger that speaks through the server's log; Refused when TensorRT is not there."""
    says = {"INTERNAL_ERROR": pb.Logger.log_error, "ERROR": pb.Logger.log_error, "WARNING": pb.Logger.log_warn}

    def say(severity: str, message: str) -> None:
        says.get(severity, pb.Logger.log_verbose)(message)

    try:
        trt = api.load()
        api.need_gpu()
        return trt, api.logger(say)
    except AccelkitError as error:
        raise Refused(str(error)) from None


def load(path: Path, command: Mapping[str, str], pb: Any) -> Plan:
    """Load a plan, with the libraries and permissions of the command line."""
    trt, log = module(pb)
    for library in filter(None, (keys.PLUGINS.text(command) or "").split(";")):
        try:
            ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        except OSError as error:
            pb.Logger.log_error(f"unable to load shared library: {error}")
    api.register_plugins(trt, log)
    try:
        runtime = trt.Runtime(log)
    except (TypeError, RuntimeError):
        raise Refused(f"unable to create TensorRT runtime: {log.last}") from None
    if keys.VERSION_COMPATIBLE.boolean(command):
        runtime.engine_host_code_allowed = True
    try:
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
    except OSError as error:
        raise Refused(f"unable to load plan file {path}: {error.strerror}") from None
    if engine is None:
        raise Refused(f"unable to create TensorRT engine: {log.last}")
    return Plan(trt, log, runtime, engine)
