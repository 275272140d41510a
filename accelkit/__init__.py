"""Take one model down every acceleration path of Triton Inference Server, and prove which of them help on this machine.

import accelkit

model = accelkit.get_model("text_recognition", "small")
results = accelkit.compare(model)
print(accelkit.table(results))
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from accelkit.errors import (
    AccelkitError,
    ConfigError,
    LessonError,
    MeasureError,
    MissingPackage,
    ModelError,
    RequestError,
    ServerError,
    ToolchainError,
)

if TYPE_CHECKING:
    from accelkit.advice import advise
    from accelkit.comparison import compare
    from accelkit.machine import probe
    from accelkit.measure.bench import Load
    from accelkit.measure.result import Result
    from accelkit.models import get as get_model
    from accelkit.paths import get as get_path
    from accelkit.report import table
    from accelkit.serving import Server

# ONNX Runtime sends usage data unless told not to; a value that is already set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO and NNCF send it through this package, on import already, and have no such variable; without it they do not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_LAZY = {
    "Load": ("accelkit.measure.bench", "Load"),
    "Result": ("accelkit.measure.result", "Result"),
    "Server": ("accelkit.serving", "Server"),
    "advise": ("accelkit.advice", "advise"),
    "compare": ("accelkit.comparison", "compare"),
    "get_model": ("accelkit.models", "get"),
    "get_path": ("accelkit.paths", "get"),
    "probe": ("accelkit.machine", "probe"),
    "table": ("accelkit.report", "table"),
}

__all__ = [
    "AccelkitError", "ConfigError", "LessonError", "Load", "MeasureError", "MissingPackage", "ModelError",
    "RequestError", "Result", "Server", "ServerError", "ToolchainError", "advise", "compare", "get_model", "get_path",
    "probe", "table",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import accelkit` costs next to nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'accelkit' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
