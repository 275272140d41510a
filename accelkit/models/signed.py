"""The quantized ONNX file as TensorRT takes it: signed bytes around zero everywhere, and weights that are quantized in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import MissingPackage, ModelError
from accelkit.models import files

if TYPE_CHECKING:
    from onnx import ModelProto

    from accelkit.models import Model


def int8_onnx(model: Model) -> Path:
    """The file in the cache, made from quantize.int8_onnx if it is not there; ModelError for zero points that it cannot have."""
    from accelkit.models import quantize

    try:
        import onnx
    except ImportError:
        raise MissingPackage("onnx", "cpu", "quantizing a model to INT8") from None
    source = quantize.int8_onnx(model)
    stem = f"{model.name}_{model.variant}_int8_signed-{files.digest(Path(__file__), source)}"
    if found := files.find(stem, ".onnx"):
        return found
    made = signed(onnx.load(str(source)))
    onnx.checker.check_model(made)
    content = made.SerializeToString()
    return files.write(files.cache() / f"{stem}-{files.digest(content)}.onnx", content)


def signed(graph: ModelProto) -> ModelProto:
    """A copy whose quantizers have a zero point of 0 in int8, as TensorRT reads them in every version.

    A byte from 0 to 255 becomes one from 0 to 127 of a coarser scale, one around 128 keeps its scale, and weights that lie in
    the file as bytes become floats with a quantizer.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    made = type(graph)()
    made.CopyFrom(graph)
    made.graph.ClearField("node")
    values = {entry.name: numpy_helper.to_array(entry) for entry in made.graph.initializer}

    def constant(name: str, array: np.ndarray) -> str:
        if name not in values:
            values[name] = array
            made.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    for node in graph.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            made.graph.node.append(node)
            continue
        source, scale, zero = (*node.input, "")[:3]
        size, point = values[scale], values.get(zero, np.zeros((), np.uint8))
        if not np.isin(point, (0, 128) if point.dtype == np.uint8 else (0,)).all():
            where = node.name or node.output[0]
            raise ModelError(
                f"quantizer {where} has the zero point {point.max()}: TensorRT takes signed bytes around 0 alone"
            )
        if point.dtype == np.uint8 and not point.any():
            scale = constant(f"{scale}_signed", (size * (255 / 127)).astype(size.dtype))
        centre = constant(f"{zero or scale}_int8", np.zeros(size.shape, np.int8))
        options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if source in values:
            axis = options.get("axis", 1) % values[source].ndim if size.ndim else 0
            shape = [-1 if size.ndim and at == axis else 1 for at in range(values[source].ndim)]
            floats = (values[source].astype(size.dtype) - point.astype(size.dtype).reshape(shape)) * size.reshape(shape)
            options = {"axis": axis} if size.ndim else {}
            inputs = [constant(f"{source}_float", floats), scale, centre]
            made.graph.node.append(helper.make_node("QuantizeLinear", inputs, [f"{source}_quantized"], **options))
            source = f"{source}_quantized"
        made.graph.node.append(
            helper.make_node(node.op_type, [source, scale, centre], node.output, node.name, **options)
        )
    read = {name for node in made.graph.node for name in node.input}
    for entry in [entry for entry in made.graph.initializer if entry.name not in read]:
        made.graph.initializer.remove(entry)
    return made
