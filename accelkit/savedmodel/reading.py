"""What a SavedModel says of itself, read from its saved_model.pb without TensorFlow: tags, signatures, nodes, segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelkit.errors import ModelError

FILE = "saved_model.pb"
SERVE, DEFAULT = "serve", "serving_default"
INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")
"""Signatures that are never served."""
TYPES = {
    1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "STRING", 9: "INT64", 10: "BOOL", 17: "UINT16",
    19: "FP16", 22: "UINT32", 23: "UINT64",
}  # fmt: skip
"""Numbers of tensorflow.DataType as Triton calls them; it has no name for the others."""
ENGINE = "TRTEngineOp"
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
PLUMBING = (
    *CALLS,
    *"Const Identity IdentityN NoOp Placeholder VarHandleOp ReadVariableOp _Arg _Retval".split(),
    *"_Send _Recv _HostSend _HostRecv".split(),
)
"""Operators that hold or hand on values and compute nothing."""


@dataclass(frozen=True)
class Port:
    """An input or output of a signature: the tensor's name in the graph, Triton's type, the shape; () also where unknown."""

    tensor: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by the names that requests use."""

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]


@dataclass(frozen=True)
class Node:
    """A node: its name, its operator, and the function and precision of a segment of TensorRT."""

    name: str
    operator: str
    segment: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Graph:
    """One graph of a SavedModel: its tags, its signatures by name, its nodes by function, those of no function under ""."""

    tags: tuple[str, ...]
    signatures: Mapping[str, Signature]
    functions: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)


def graphs(directory: Path) -> list[Graph]:
    """Return the graphs of a SavedModel; ModelError for a directory without one, or with a damaged one."""
    path = directory / FILE
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        reason = f"there is no {FILE}" if not path.exists() else error.strerror
        raise ModelError(f"{directory} is no SavedModel: {reason}") from None
    try:
        return [_graph(part) for part in _all(data, 2)]
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ModelError(f"{directory} is no SavedModel: {FILE} is damaged") from None


def tagged(found: list[Graph], tag: str = SERVE) -> Graph | None:
    """Return the graph that bears a tag."""
    return next((graph for graph in found if tag in graph.tags), None)


def holds_engines(part: tuple[Node, ...]) -> bool:
    """Whether there are engines of TensorRT among nodes."""
    return any(node.operator == ENGINE for node in part)


def segments(graph: Graph) -> dict[str, Any]:
    """Return what TensorFlow's TensorRT took of a graph: segments with their nodes by operator, and the operators that stayed."""
    engines = {node.name: node for nodes in graph.functions.values() for node in nodes if node.operator == ENGINE}
    holders = filter(holds_engines, graph.functions.values())
    inside = {
        name: Counter(part.operator for part in graph.functions.get(node.segment, ()) if part.operator not in PLUMBING)
        for name, node in engines.items()
    }
    stayed = Counter(node.operator for nodes in holders for node in nodes if node.operator not in [ENGINE, *PLUMBING])
    return {
        "engines": {
            name: {"precision": node.precision, "nodes": dict(inside[name].most_common())}
            for name, node in sorted(engines.items())
        },
        "in_tensorrt": sum(sum(counted.values()) for counted in inside.values()),
        "stayed": dict(stayed.most_common()),
    }


def nodes(definition: Any) -> dict[str, tuple[Node, ...]]:
    """Return the nodes of a serialized GraphDef by function, those of no function under ""."""
    found = {"": tuple(map(_node, _all(definition, 1)))}
    for function in _all(_first(definition, 2), 1):
        found[_text(_first(function, 1), 1)] = tuple(map(_node, _all(function, 3)))
    return found


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: an int, or the bytes of what is longer."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("no such wire type")
        if at + size > len(data):
            raise ValueError("it ends too early")
        yield number, data[at : at + size]
        at += size


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _all(data: Any, number: int) -> list[Any]:
    return [value for found, value in _fields(data) if found == number]


def _first(data: Any, number: int, otherwise: Any = b"") -> Any:
    return next(iter(_all(data, number)), otherwise)


def _text(data: Any, number: int) -> str:
    return bytes(_first(data, number)).decode()


def _map(data: Any, number: int) -> dict[str, Any]:
    return {_text(entry, 1): _first(entry, 2) for entry in _all(data, number)}


def _graph(data: Any) -> Graph:
    tags = tuple(bytes(tag).decode() for tag in _all(_first(data, 1), 4))
    signatures = {
        name: Signature(_ports(signature, 1), _ports(signature, 2)) for name, signature in sorted(_map(data, 5).items())
    }
    return Graph(tags, signatures, nodes(_first(data, 2)))


def _ports(signature: Any, number: int) -> dict[str, Port]:
    return {name: _port(info) for name, info in sorted(_map(signature, number).items())}


def _port(info: Any) -> Port:
    sizes = [_first(dim, 1, 0) for dim in _all(_first(info, 3), 2)]
    return Port(
        _text(info, 1),
        TYPES.get(_first(info, 2, 0), ""),
        tuple(size - (1 << 64 if size >> 63 else 0) for size in sizes),
    )


def _node(data: Any) -> Node:
    name, operator = _text(data, 1), _text(data, 2)
    if operator != ENGINE:
        return Node(name, operator)
    attributes = _map(data, 5)
    return Node(
        name,
        operator,
        _text(_first(attributes.get("segment_func", b""), 10), 1),
        _text(attributes.get("precision_mode", b""), 2),
    )
