"""What a compiled model ran: its layers, their kernels and the time of each in the last inference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openvino as ov
from openvino import properties

SETTINGS = (
    properties.num_streams(),
    properties.inference_num_threads(),
    properties.hint.performance_mode(),
    properties.hint.inference_precision(),
)


def write(path: Path, compiled: ov.CompiledModel, request: ov.InferRequest) -> None:
    """Write it as JSON: {"settings", "layers": [{"type", "implementation", "microseconds"}]}."""
    ran = [info for info in request.profiling_info if info.status == ov.ProfilingInfo.Status.EXECUTED]
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "settings": {name: _text(compiled.get_property(name)) for name in SETTINGS},
        "layers": [
            {
                "type": info.node_type,
                "implementation": info.exec_type,
                "microseconds": info.real_time.total_seconds() * 1e6,
            }
            for info in ran
        ],
    }
    path.write_text(json.dumps(facts, indent=1))


def _text(value: Any) -> str:
    return value.to_string() if isinstance(value, ov.Type) else str(value)
