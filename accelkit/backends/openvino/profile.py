"""What a compiled model ran: its layers, their kernels and the time of each in the last inference."""

from __future__ import annotations

import json
from pathlib import Path

import openvino as ov
from openvino import properties

SETTINGS = {
    properties.num_streams(): str,
    properties.inference_num_threads(): str,
    properties.hint.performance_mode(): str,
    properties.hint.inference_precision(): lambda value: value.to_string(),
}


def write(path: Path, compiled: ov.CompiledModel, request: ov.InferRequest) -> None:
    """Write it as JSON: {"settings", "layers": [{"type", "implementation", "microseconds"}]}."""
    ran = [info for info in request.profiling_info if info.status == ov.ProfilingInfo.Status.EXECUTED]
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "settings": {name: text(compiled.get_property(name)) for name, text in SETTINGS.items()},
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
