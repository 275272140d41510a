"""Evidence of what ran on a GPU: ONNX Runtime's nodes by provider, TensorRT's layers by precision."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure.evidence import CONVERSIONS, PRECISIONS, SESSIONS, Evidence, element_type, from_profiles, weighed

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
ON = ("1", "true", "True")


def from_cuda(directory: Path) -> Evidence:
    """Read the profiles of sessions on CUDA; MeasureError when no node ran there.

    Float nodes of a session whose provider may use TF32 count as that, as a GPU since Ampere computes them.
    """
    notes = _notes(directory)
    found = _profiles(directory, lambda event, note: _as_tf32(event) if _tf32(note) else event)
    _insist(found, CUDA, "CUDA")
    modes = sorted({"allowed" if _tf32(note) else "switched off" for note in notes.values()})
    return replace(found, how=f"{SESSIONS}; {_taken(notes, CUDA, 'CUDA')}TF32 {' or '.join(modes) or 'unknown'}")


def _notes(directory: Path) -> dict[Path, dict[str, Any]]:
    """What each session said of itself, by the path of its profile."""
    return {file.with_suffix(".json"): json.loads(file.read_text()) for file in sorted(directory.rglob("*.session"))}


def _profiles(directory: Path, change: Callable[[dict, dict], dict]) -> Evidence:
    """Nodes and times of all profiles, each event of a node changed by what its session said."""
    notes = _notes(directory)

    def changed(file: Path, events: list[dict]) -> list[dict]:
        return [change(event, notes.get(file, {})) for event in events if event.get("cat") == "Node"]

    return from_profiles(directory, changed)


def _tf32(note: dict[str, Any]) -> bool:
    return note.get("provider_options", {}).get(CUDA, {}).get("use_tf32") in ON


def _as_tf32(event: dict[str, Any]) -> dict[str, Any]:
    arguments = event.get("args", {})
    if arguments.get("provider") != CUDA:
        return event
    sides = ("input_type_shape", "output_type_shape")
    renamed = {
        side: [
            {"tf32" if kind == "float" else kind: shape for kind, shape in tensor.items()}
            for tensor in arguments.get(side, [])
        ]
        for side in sides
    }
    return {**event, "args": {**arguments, **renamed}}


def _insist(found: Evidence, provider: str, name: str) -> None:
    if not any(kind.startswith(f"{provider} ") for kind in found.nodes):
        ran = ", ".join(f"{count} {kind}" for kind, count in found.nodes.items())
        raise MeasureError(f"no node ran on {name}, every one fell back: {ran}")


def _taken(notes: dict[Path, dict[str, Any]], provider: str, name: str) -> str:
    """How many nodes of the graph a provider took; empty where the ONNX Runtime of the sessions does not say."""
    counts = [note.get("assigned") or {} for note in notes.values()]
    taken, every = max(((count.get(provider, 0), sum(count.values())) for count in counts), default=(0, 0))
    return f"{name} took {taken} of {every} nodes of the graph, " if every else ""


LAYERS = {"Float": "tf32", "Half": "fp16", "BFloat16": "bf16", "Int8": "int8", "FP8": "fp8"}
PLAIN = ("Reformat", "Shuffle", "NoOp", "Constant", "Cast", "Slice", "Concat", "Shape")
"""Kinds of TensorRT's layers that move data and compute nothing."""


def from_tensorrt_provider(directory: Path) -> Evidence:
    """Read the profiles of sessions with TensorRT before CUDA, and the layers that the log of the build named.

    An engine reports no times of its layers, so layers and the nodes outside it are weighed by their number. Float layers
    count as TF32, which this provider cannot switch off. Without a log the bytes for each weight say in which type engines
    hold them. MeasureError when no node ran on TensorRT.
    """
    outside: dict[str, str] = {}

    def seen(event: dict[str, Any], note: dict[str, Any]) -> dict[str, Any]:
        event = _as_tf32(event) if _tf32(note) else event
        arguments = event.get("args", {})
        computes = not arguments.get("op_name", "").startswith(CONVERSIONS) and event["name"].endswith("_kernel_time")
        if computes and arguments.get("provider") != TENSORRT:
            element = element_type(arguments)
            outside[event["name"]] = PRECISIONS.get(element, element)
        return event

    found, notes = _profiles(directory, seen), _notes(directory)
    _insist(found, TENSORRT, "TensorRT")
    subgraphs = {kind: number for kind, number in found.nodes.items() if kind.startswith(f"{TENSORRT} ")}
    kinds = Counter({kind: number for kind, number in found.nodes.items() if kind not in subgraphs})
    kinds[f"{TENSORRT} subgraph"] = sum(subgraphs.values())
    count = Counter(precision for precision in outside.values() if precision in (*PRECISIONS.values(), "tf32"))
    reports = [json.loads(file.read_text()) for file in sorted(directory.rglob("*.tensorrt"))]
    layers: list[dict[str, str]] = max((report["layers"] for report in reports), key=len, default=[])
    for layer in layers:
        precision = LAYERS.get(layer["type"], layer["type"])
        kinds[f"TensorRT {precision} {layer['kind']}"] += 1
        count[precision] += not layer["kind"].startswith(PLAIN)
    said = "its layers from the log of the build"
    if not layers:
        bytes_each = max(map(_bytes_each, reports), default=0.0)
        said = f"its engines hold {bytes_each:.2f} bytes for each weight of the file, no log names their layers"
        one = max((len(report["engines"]) for report in reports), default=0) == 1
        count[_by_size(bytes_each, one)] += sum(subgraphs.values())
    how = f"{SESSIONS}; {_taken(notes, TENSORRT, 'TensorRT')}{said}"
    return weighed(how, dict(kinds.most_common()), +count)


def _bytes_each(report: dict[str, Any]) -> float:
    """Bytes of the engines of a session for each number in the weights of its ONNX file; 0 without engines."""
    import math

    import onnx

    held = sum(report["engines"].values())
    if not held:
        return 0.0
    graph = onnx.load(report["model"], load_external_data=False).graph
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return held / max(1, sum(math.prod(each.dims) for each in graph.initializer if each.data_type in floats))


def _by_size(bytes_each: float, one: bool) -> str:
    """The type of the weights in engines. Kernels add to the size, nothing takes from it: under 3 none is whole float.

    Whole float is told of one engine alone: several may hold the same weights twice.
    """
    return "fp16" if 1.9 <= bytes_each < 3 else "tf32" if bytes_each >= 3.9 and one else "unseen"


def from_plans(directory: Path) -> Evidence:
    """Read what the instances of one served plan wrote at their end: TensorRT's layers, timed in executions of their own.

    A layer computes in the type of its inputs, float ones in TF32 where the name of the kernel says so. MeasureError when no
    instance answered a request.
    """
    kinds: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    said: set[str] = set()
    failed: set[str] = set()
    files = sorted(directory.rglob("*.tensorrt"))
    try:
        for facts in map(json.loads, map(Path.read_text, files)):
            failed |= {facts["error"]} if "error" in facts else set()
            layers, times = [layer for layer in facts["layers"] if isinstance(layer, dict)], facts["microseconds"]
            found = [
                # Where the profiler names none of them, each counts the same.
                (layer["LayerType"], plan_precision(layer), times.get(layer["Name"], 0) if times else 1)
                for layer in layers
            ]
            kinds |= Counter(f"TensorRT {precision} {kind}" for kind, precision, _ in found)
            for kind, precision, time in found:
                spent[precision] += 0 if kind.startswith(PLAIN) else time
            if facts["layers"]:
                ran = ", ".join(f"{count} by {how}" for how, count in facts["ran"].items())
                said.add(f"TensorRT {facts['tensorrt']}, profile {facts['profile']}, executions {ran}")
    except (ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{directory}: holds no report of TensorRT's layers: {error}") from None
    if not kinds:
        reason = f" ({'; '.join(sorted(failed))})" if failed else ""
        raise MeasureError(f"{directory}: {len(files)} reports and no layer in them: nothing proves what ran{reason}")
    return weighed(f"TensorRT's inspector: {'; '.join(sorted(said))}", dict(kinds.most_common()), +spent)


_TYPE = re.compile(r"(bf16|bfloat16)|(fp16|half)|(fp8)|(int8)|(fp32|float)", re.IGNORECASE)
_TYPES = ("bf16", "fp16", "fp8", "int8", "fp32")


def plan_precision(layer: dict[str, Any]) -> str:
    """Return the precision that a layer of a plan computes in: the type of its first tensor, TF32 where its kernel says so."""
    tensors = [tensor for side in ("Inputs", "Outputs") for tensor in layer.get(side) or []]
    texts = [str(tensor.get("Format/Datatype") or tensor.get("Datatype") or "") for tensor in tensors]
    match = next((match for match in map(_TYPE.search, texts) if match), None)
    if match is None:
        return "unseen"
    found = _TYPES[(match.lastindex or 1) - 1]
    return "tf32" if found == "fp32" and "tf32" in str(layer.get("TacticName", "")).lower() else found
