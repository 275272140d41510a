"""Evidence of what TensorFlow ran: the nodes that a session traced, the kernels of a GPU, the segments that TensorRT took."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure import kernels
from accelkit.measure.evidence import CONVERSIONS, FORESTS, Evidence, weighed
from accelkit.savedmodel.reading import ENGINE, PLUMBING

TYPES = {**FORESTS, "float16": "fp16", "bfloat16": "bf16"}
UNSEEN = Counter({"unseen": 1})


@dataclass
class Seen:
    """What the instances of one model ran: nodes by kind, microseconds by precision, operators by number, segments."""

    kinds: Counter[str] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    kernels: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    segments: dict[str, Any] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)


def from_sessions(directory: Path) -> Evidence:
    """Read what the instances of one served model traced at their end; MeasureError when none answered a request.

    On a CPU a node computes in the type of its output; on a GPU, which may take TF32 for it, the names of kernels alone tell.
    """
    seen = _seen(directory)
    how = f"TensorFlow's trace of the served sessions: {'; '.join(sorted(seen.versions))}"
    nodes = UNSEEN if any(kind.startswith("GPU ") for kind in seen.kinds) else seen.nodes
    return weighed(how, dict(seen.kinds.most_common()), +(seen.kernels or nodes))


def from_engines(directory: Path) -> Evidence:
    """Read the traces of a model that TensorRT took segments of; MeasureError when no engine ran, or one ran as TensorFlow.

    An engine that takes no request's shape runs the nodes of its segment instead: then more of them were traced than stayed.
    """
    seen = _seen(directory)
    if not seen.operators[ENGINE]:
        ran = ", ".join(f"{count} {kind}" for kind, count in seen.kinds.most_common(4))
        raise MeasureError(f"no engine of TensorRT ran, TensorFlow computed all: {ran}")
    stayed, inside = seen.segments.get("stayed", {}), Counter[str]()
    for engine in seen.segments.get("engines", {}).values():
        inside += Counter(engine["nodes"])
    heavy = re.compile("Conv|MatMul")  # under whatever name the nodes of a segment are fused
    back = {name: count for name, count in seen.operators.items() if heavy.search(name)}
    if sum(back.values()) > sum(count for name, count in stayed.items() if heavy.search(name)):
        ran = ", ".join(f"{count} {name}" for name, count in back.items())
        raise MeasureError(f"engines ran the nodes of their segments in TensorFlow, none took the shape: {ran}")
    took, left = seen.segments.get("in_tensorrt", 0), sum(stayed.values())
    how = f"TensorRT took {took} of {took + left} nodes in {len(seen.segments.get('engines', {}))} segments"
    seen.kinds.update({f"in TensorRT {name}": count for name, count in inside.items()})
    traced = f"TensorFlow's trace of the served sessions: {'; '.join(sorted(seen.versions))}"
    return weighed(f"{traced}; {how}", dict(seen.kinds.most_common()), +(seen.kernels or UNSEEN))


def _seen(directory: Path) -> Seen:
    seen, failed = Seen(), set[str]()
    files = sorted(directory.rglob("*.tensorflow"))
    try:
        for facts in map(json.loads, map(Path.read_text, files)):
            failed |= {facts["error"]} if "error" in facts else set()
            kinds, operators = Counter[str](), Counter[str]()
            whole = any(device.endswith("/stream:all") for device in facts["devices"])
            for device, entries in facts["devices"].items():
                if whole and re.search(r"/stream:\d+$", device):
                    continue  # the kernels of all streams stand together too
                for kind, operator, precision, time in _entries(device, entries):
                    kinds[kind] += 1
                    operators[operator] += 1
                    if operator:
                        seen.nodes[precision] += time
                    else:
                        seen.kernels[precision] += time
            seen.kinds |= kinds
            seen.operators |= operators
            seen.segments = facts.get("segments") or seen.segments
            seen.versions.add(f"TensorFlow {facts['tensorflow']}, {facts['executions']} executions")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasureError(f"{directory}: holds no trace of TensorFlow: {error}") from None
    if not seen.kinds:
        reason = f" ({'; '.join(sorted(failed))})" if failed else ""
        raise MeasureError(
            f"{directory}: {len(files)} traces and no executed node in them: nothing proves what ran{reason}"
        )
    return seen


def _entries(device: str, entries: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, int]]:
    """Kind, operator ("" of a kernel), precision and time of what counts on a device."""
    place = re.search(r"device:(CPU|GPU):\d+", device)
    if place is None or "/memcpy" in device:
        return
    if "/stream" in device:
        for entry in entries:
            name = f"{entry['label']} {entry['name']}"
            if kernels.multiplies(name):
                precision = kernels.precision(name)
                yield f"{place[1]} kernel {precision}", "", precision, int(entry["microseconds"])
        return
    for entry in entries:
        operator = entry["label"].rpartition(" = ")[2].partition("(")[0]
        if operator in PLUMBING or not operator or " " in operator or operator.startswith("_S"):
            continue  # a thread has an entry too, "ThreadId 7"
        precision = TYPES.get(entry["type"], entry["type"] or "unknown")
        time = 0 if operator.startswith(CONVERSIONS) or precision not in TYPES.values() else int(entry["microseconds"])
        yield f"{place[1]} {precision} {operator}", operator, precision, time
