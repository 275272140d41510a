"""Evidence: what executed, on which provider, in which element type; observed, not requested."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError

PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8", "double": "fp64"}
NUMPY = {"float": "float32", "double": "float64"}
CONVERSIONS = ("Cast", "QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Memcpy")
MINOR = 0.05


@dataclass(frozen=True)
class Evidence:
    """How it was read, nodes by provider and element type, precision of the bulk of the compute time, shares of it."""

    how: str
    nodes: dict[str, int]
    observed: str
    shares: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the evidence part of a Result."""
        return {"how": self.how, "nodes": self.nodes, "shares": self.shares}


def _element(arguments: dict[str, Any]) -> str:
    tensors = [*arguments.get("input_type_shape", []), *arguments.get("output_type_shape", [])]
    return next((kind for tensor in tensors for kind in tensor), "unknown")


def read(events: list[dict[str, Any]]) -> tuple[dict[str, int], Counter[str]]:
    """Return nodes by "provider element type" and microseconds by precision from the events of an ONNX Runtime profile.

    Conversions count as nodes but not as compute time: Q/DQ pairs around a float convolution do not make it INT8.
    """
    kinds: dict[tuple[str, str], str] = {}
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") != "Node" or not event.get("name", "").endswith("_kernel_time"):
            continue
        arguments = event.get("args", {})
        element = _element(arguments)
        kind = f"{arguments.get('provider')} {NUMPY.get(element, element)}"
        kinds[arguments.get("node_index", ""), event["name"]] = kind
        if not arguments.get("op_name", "").startswith(CONVERSIONS):
            spent[PRECISIONS.get(element, element)] += event.get("dur", 0)
    return dict(Counter(kinds.values()).most_common()), spent


def from_profiles(directory: Path) -> Evidence:
    """Read the profiles that the sessions of one served model wrote; MeasureError if none shows an executed node.

    Several instances of a model run the same graph: their nodes are counted once, their times together.
    """
    nodes: dict[str, int] = {}
    spent: Counter[str] = Counter()
    files = sorted(directory.rglob("*.json"))
    for file in files:
        try:
            found, time = read(json.loads(file.read_text()))
        except (ValueError, AttributeError, TypeError) as error:
            raise MeasureError(f"{file}: is no ONNX Runtime profile: {error}") from None
        nodes = {kind: max(nodes.get(kind, 0), found.get(kind, 0)) for kind in {**nodes, **found}}
        spent += time
    if not nodes:
        raise MeasureError(f"{directory}: {len(files)} profiles and no executed node in them: nothing proves what ran")
    total = sum(spent.values()) or 1
    shares = {precision: round(count / total, 4) for precision, count in spent.most_common()}
    bulk = [precision for precision, share in shares.items() if share >= MINOR] or list(shares) or ["unknown"]
    return Evidence("ONNX Runtime profile of the served sessions", nodes, "+".join(bulk), shares)


READERS: dict[str, Callable[[Path], Evidence]] = {"onnxruntime": from_profiles}
