"""Evidence: what executed, on which provider, in which element type; observed, not requested."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError

PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8", "double": "fp64"}
IMPLEMENTED = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
NUMPY = {"float": "float32", "double": "float64"}
FORESTS = {"float32": "fp32", "float64": "fp64"}
CONVERSIONS = ("Cast", "QuantizeLinear", "DequantizeLinear", "Reorder", "Memcpy", "Convert", "FakeQuantize")
OPENVINO = "OpenVINOExecutionProvider"
MINOR = 0.05
SESSIONS = "ONNX Runtime profile of the served sessions"


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


def element_type(arguments: dict[str, Any]) -> str:
    """Return the element type of a node's first tensor; unknown where it has none."""
    tensors = [*arguments.get("input_type_shape", []), *arguments.get("output_type_shape", [])]
    return next((kind for tensor in tensors for kind in tensor), "unknown")


def implemented(implementation: str) -> str:
    """Return the precision in the name of an OpenVINO kernel, such as int8 in "jit_avx2_I8"."""
    element = implementation.rpartition("_")[2].lower()
    return IMPLEMENTED.get(element, element)


def read(events: list[dict[str, Any]]) -> tuple[dict[str, int], Counter[str]]:
    """Return nodes by "provider element type" and microseconds by precision from the events of an ONNX Runtime profile.

    Conversions count as nodes but not as compute time: Q/DQ pairs around a float convolution do not make it INT8. A
    subgraph that OpenVINO took is one node whose element types are those at its border: what it is made of are the layers
    that OpenVINO reports, and without a report its precision is "unseen".
    """
    kinds: dict[tuple[str, str], str] = {}
    spent: Counter[str] = Counter()
    reported = {event["args"].get("parent_ort_event_name") for event in events if event.get("cat") == "Kernel"}
    for event in events:
        name, arguments = event.get("name", ""), event.get("args", {})
        if event.get("cat") == "Kernel":
            precision, operator = implemented(arguments.get("ov_exec_type", "")), arguments.get("ov_node_type", "")
            kinds[arguments.get("parent_ort_event_name", ""), name] = f"OpenVINO layer {precision}"
        elif event.get("cat") == "Node" and name.endswith("_kernel_time"):
            element, operator = element_type(arguments), arguments.get("op_name", "")
            precision = PRECISIONS.get(element, element)
            kind = f"{arguments.get('provider')} {NUMPY.get(element, element)}"
            if arguments.get("provider") == OPENVINO:
                kind, precision = f"{OPENVINO} subgraph", "unseen"
            kinds[arguments.get("node_index", ""), name] = kind
            if name in reported:
                continue
        else:
            continue
        if not operator.startswith(CONVERSIONS):
            spent[precision] += event.get("dur", 0)
    return dict(Counter(kinds.values()).most_common()), spent


def from_profiles(
    directory: Path, changed: Callable[[Path, list[dict]], list[dict]] = lambda file, events: events
) -> Evidence:
    """Read the profiles that the sessions of one served model wrote; MeasureError if none shows an executed node.

    Several instances of a model run the same graph: their nodes are counted once, their times together. `changed` returns
    the events of a file as they count.
    """
    nodes: dict[str, int] = {}
    spent: Counter[str] = Counter()
    files = sorted(directory.rglob("*.json"))
    for file in files:
        try:
            found, time = read(changed(file, json.loads(file.read_text())))
        except (ValueError, AttributeError, TypeError) as error:
            raise MeasureError(f"{file}: is no ONNX Runtime profile: {error}") from None
        nodes = {kind: max(nodes.get(kind, 0), found.get(kind, 0)) for kind in {**nodes, **found}}
        spent += time
    if not nodes:
        raise MeasureError(f"{directory}: {len(files)} profiles and no executed node in them: nothing proves what ran")
    return weighed(SESSIONS, nodes, spent)


def weighed(how: str, nodes: dict[str, int], spent: Counter[str]) -> Evidence:
    """Evidence whose observed precision is that of the bulk of the time."""
    total = sum(spent.values()) or 1
    shares = {precision: round(count / total, 4) for precision, count in spent.most_common()}
    bulk = [precision for precision, share in shares.items() if share >= MINOR] or list(shares) or ["unknown"]
    return Evidence(how, nodes, "+".join(bulk), shares)


def from_openvino_profiles(directory: Path) -> Evidence:
    """Read the profiles as from_profiles does; MeasureError also when no node ran on OpenVINO.

    How many nodes of the graph OpenVINO took stands in the sessions' own notes beside the profiles.
    """
    found = from_profiles(directory)
    if not found.nodes.get(f"{OPENVINO} subgraph"):
        ran = ", ".join(f"{count} {kind}" for kind, count in found.nodes.items())
        raise MeasureError(f"no node ran on OpenVINO, every one fell back: {ran}")
    notes = [json.loads(file.read_text()).get("assigned", {}) for file in sorted(directory.rglob("*.session"))]
    taken, every = max(((note.get(OPENVINO, 0), sum(note.values())) for note in notes), default=(0, 0))
    return replace(found, how=f"{found.how}; OpenVINO took {taken} of {every} nodes of the graph")


def from_layers(directory: Path) -> Evidence:
    """Read what the instances of one served OpenVINO model wrote at their end: kernels and times of their last inference.

    Layers that were fused into others or folded at compile time have no kernel; MeasureError when none has one.
    """
    kinds: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    settings: set[str] = set()
    files = sorted(directory.rglob("*.openvino"))
    try:
        for facts in map(json.loads, map(Path.read_text, files)):
            layers = [(layer["type"], implemented(layer["implementation"]), layer) for layer in facts["layers"]]
            kinds |= Counter(f"CPU {precision} {kind}" for kind, precision, _ in layers)
            for kind, precision, layer in layers:
                spent[precision] += 0 if kind.startswith(CONVERSIONS) else layer["microseconds"]
            settings.add(", ".join(f"{name} {value}" for name, value in facts["settings"].items()))
    except (ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{directory}: holds no report of OpenVINO's layers: {error}") from None
    if not kinds:
        raise MeasureError(f"{directory}: {len(files)} reports and no executed layer in them: nothing proves what ran")
    return weighed(
        f"OpenVINO's report of the served instances: {'; '.join(sorted(settings))}", dict(kinds.most_common()), +spent
    )


def from_forests(directory: Path) -> Evidence:
    """Read what the instances of one served forest wrote at their end; MeasureError when none answered a row."""
    files = sorted(directory.rglob("*.forest"))
    try:
        ran = [facts for facts in map(json.loads, map(Path.read_text, files)) if facts["rows"]]
        kinds = {f"{facts['engine']} tree {facts['numbers']}": facts["trees"] for facts in ran}
        how = {f"{facts['engine']} {facts['treelite']}, {facts['form']}, {facts['threads']} threads" for facts in ran}
        observed = {FORESTS[facts["numbers"]] for facts in ran}
    except (ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{directory}: holds no report of a forest: {error}") from None
    if not ran:
        raise MeasureError(
            f"{directory}: {len(files)} reports of forests and no answered row in them: nothing proves what ran"
        )
    return Evidence(f"report of the served instances: {'; '.join(sorted(how))}", kinds, "+".join(sorted(observed)))


def _of(module: str, name: str) -> Callable[[Path], Evidence]:
    """A reader of a module beside this one, which is imported when it is called."""
    return lambda directory: getattr(import_module(f"accelkit.measure.{module}"), name)(directory)


READERS: dict[str, Callable[[Path], Evidence]] = {
    "onnxruntime": from_profiles,
    "onnxruntime-openvino": from_openvino_profiles,
    "openvino": from_layers,
    "fil": from_forests,
    "onnxruntime-cuda": _of("evidence_gpu", "from_cuda"),
    "onnxruntime-tensorrt": _of("evidence_gpu", "from_tensorrt_provider"),
    "tensorrt": _of("evidence_gpu", "from_plans"),
    "pytorch": _of("evidence_torch", "from_pytorch"),
    "torch-tensorrt": _of("evidence_torch", "from_torch_tensorrt"),
    "tensorflow": _of("evidence_tensorflow", "from_sessions"),
    "tf-tensorrt": _of("evidence_tensorflow", "from_engines"),
    "fastertransformer": _of("evidence_ranks", "from_ranks"),
    "vllm": _of("evidence_ranks", "from_engines"),
}
