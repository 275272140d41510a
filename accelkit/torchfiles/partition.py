"""What TensorRT took of a network and what stayed with PyTorch, counted in the graphs before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

ENGINE = "tensorrt::execute_engine"
CONVOLUTIONS = ("aten::conv1d", "aten::conv2d", "aten::conv3d")
"""What Torch-TensorRT's TorchScript front end rewrites to aten::_convolution before it cuts the graph."""


def of_script(module: Any) -> Counter[str]:
    """Return how often each operator stands in a TorchScript module, what it calls included; ENGINE is an engine."""
    import torch

    inlined = module.forward.graph.copy()
    torch._C._jit_pass_inline(inlined)
    return Counter(_kinds(inlined))


def _kinds(block: Any) -> Iterator[str]:
    """Operators that make tensors; what only reckons with sizes, and what a model does while it learns, is left out."""
    for node in block.nodes():
        tensors = any(value.type().kind() in ("TensorType", "ListType") for value in node.outputs())
        if not node.kind().startswith("prim::") and tensors:
            yield "aten::_convolution" if node.kind() in CONVOLUTIONS else node.kind()


def of_program(program: Any) -> Counter[str]:
    """Return how often each operator stands in a program of torch.export, by the core operators that its compilers see."""
    return Counter(_called(program.run_decompositions().graph))


def of_compiled(module: Any) -> Counter[str]:
    """Return how often each operator stands outside of TensorRT in a module of the dynamo front end; ENGINE is an engine."""
    found: Counter[str] = Counter()
    for part in module.modules():
        if type(part).__name__ in ("TorchTensorRTModule", "PythonTorchTensorRTModule"):
            found[ENGINE] += 1
        elif hasattr(part, "graph"):
            found.update(_called(part.graph))
    return found


def _called(graph: Any) -> Iterator[str]:
    for node in graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema"):  # others only take tuples apart
            yield node.target._schema.name


def report(before: Counter[str], after: Counter[str]) -> dict[str, Any]:
    """Return {"engines", "operators" of the network, those "inside" TensorRT, those "outside" by name}."""
    outside = {kind: count for kind, count in after.most_common() if kind != ENGINE}
    stayed = sum((Counter(outside) & before).values())
    every = sum(before.values())
    return {"engines": after[ENGINE], "operators": every, "inside": every - stayed, "outside": outside}
