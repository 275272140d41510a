"""What an instance ran: operators and kernels of one more execution, as PyTorch's own profiler has them."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from accelkit.backends.pytorch.run import Runner
from accelkit.backends.pytorch.tensors import Program

_STORAGE = re.compile(
    r"::(empty|resize|as_strided|view|_unsafe_view|transpose|permute|t$|reshape|_reshape|expand|select|slice|detach|alias|unsqueeze|resolve_)"
)
"""Operators that compute nothing: they make room for tensors or look at them otherwise."""


def write(path: Path, model: str, program: Program, runner: Runner) -> None:
    """Write it as JSON: {"torch", "runtime", "device", "operators": [{"name", "type", "microseconds"}], "kernels": [...]}.

    What fails becomes "error": an instance at its end has nobody to tell.
    """
    facts: dict[str, Any] = {
        "model": model, "torch": torch.__version__, "device": str(program.device), "program": dict(program.facts),
        "operators": [], "kernels": [],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if program.device.type == "cuda":
            facts |= {
                "gpu": torch.cuda.get_device_name(program.device),
                "capability": list(torch.cuda.get_device_capability(program.device)),
                "tf32": {"cudnn": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32},
            }
        if runner.last is not None:
            facts |= _profiled(runner, program.device.type == "cuda")
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    path.write_text(json.dumps(facts, indent=1))


def _profiled(runner: Runner, on_gpu: bool) -> dict[str, Any]:
    kinds = torch.profiler.ProfilerActivity
    runner.again()
    with torch.profiler.profile(
        activities=[kinds.CPU, *([kinds.CUDA] if on_gpu else [])], record_shapes=True
    ) as profiler:
        runner.again()
    with tempfile.TemporaryDirectory(prefix="accelkit-") as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return {"operators": _operators(events), "kernels": _kernels(events)}


def _operators(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Operators that called no other but to make room, with the element type of their first tensor and their time."""
    calls = sorted(
        (one for one in events if one.get("cat") == "cpu_op" and "dur" in one and not _STORAGE.search(one["name"])),
        key=lambda one: (one["tid"], one["ts"], -one["dur"]),
    )
    return [
        {"name": one["name"], "type": _element(one), "microseconds": round(float(one["dur"]), 3)}
        for one, after in zip(calls, [*calls[1:], None])
        if after is None or not _within(after, one)
    ]


def _within(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["tid"] == other["tid"] and one["ts"] < other["ts"] + other["dur"])


def _element(one: dict[str, Any]) -> str:
    kinds = [kind for kind in one.get("args", {}).get("Input type", []) if kind and not kind.startswith("Scalar")]
    return kinds[0] if kinds else ""


def _kernels(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": one["name"][:200], "microseconds": round(float(one["dur"]), 3)}
        for one in events
        if one.get("cat") == "kernel" and "dur" in one
    ]
