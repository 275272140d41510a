"""The same network with an operator that TensorRT does not have: QuickGelu of ONNX Runtime behind each pooling.

x * sigmoid(ALPHA * x) of what a ReLU has left is x again, so the answers stay; ONNX Runtime has kernels for CPU and CUDA.
"""

from __future__ import annotations

from pathlib import Path

from accelkit.errors import ModelError

OPERATOR, DOMAIN = "QuickGelu", "com.microsoft"
ALPHA = 1e4
"""So steep that x changes by at most 0.28 / ALPHA."""


def write(source: Path, target: Path) -> list[str]:
    """Write the ONNX file `source` with the operator behind each pooling to `target`; return the names of its nodes.

    ModelError for a file without a pooling.
    """
    import onnx

    made = onnx.shape_inference.infer_shapes(onnx.load(source))
    shapes = {value.name: value for value in made.graph.value_info}
    names: list[str] = []
    for pooling in [node for node in made.graph.node if node.op_type == "MaxPool"]:
        out = pooling.output[0]
        before = onnx.ValueInfoProto()
        before.CopyFrom(shapes[out])
        before.name = pooling.output[0] = f"{out}_before"
        made.graph.value_info.append(before)
        name = f"{OPERATOR}_{len(names)}"
        node = onnx.helper.make_node(OPERATOR, [before.name], [out], name=name, domain=DOMAIN, alpha=ALPHA)
        made.graph.node.insert(list(made.graph.node).index(pooling) + 1, node)
        names.append(name)
    if not names:
        raise ModelError(f"{source}: has no pooling to put {OPERATOR} behind")
    made.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    onnx.save(made, target)
    return names
