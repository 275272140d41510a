"""Other weights into a plan, by the names that they have in the ONNX file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from accelkit.engine import building, describing
from accelkit.errors import MissingPackage, ModelError


def weights(onnx_file: Path, out: Path) -> dict[str, Any]:
    """Write an ONNX file's weights as .npz by name, so that an interpreter without the package onnx can refit with them."""
    try:
        import onnx
    except ImportError:
        raise MissingPackage("onnx", "gpu", "reading an ONNX file") from None
    import numpy as np

    try:
        found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(onnx_file).graph.initializer}
    except Exception as error:  # a protobuf error, or one of the file system: for the user both are the file
        raise ModelError(f"{onnx_file}: is no ONNX model: {error}") from None
    with out.open("wb") as stream:
        np.savez(stream, **found)
    return {"weights": str(out), "count": len(found)}


def refit(trt: Any, log: Any, plan: Path, source: Path, out: Path) -> dict[str, Any]:
    """Write the plan with the weights of an .npz; ModelError when it cannot take them or needs others."""
    import numpy as np

    started, engine = time.perf_counter(), describing.read(trt, log, plan)
    if not engine.refittable:
        raise ModelError(f"{plan.name} was not built to be refitted: build it with --refit")
    try:
        arrays = dict(np.load(source, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ModelError(f"{source}: is no .npz of weights: {error}") from None
    refitter = trt.Refitter(engine, log)
    taken = [name for name in refitter.get_all_weights() if name in arrays]
    for name in taken:
        if not refitter.set_named_weights(name, np.ascontiguousarray(arrays[name])):
            raise ModelError(f"TensorRT {trt.__version__} cannot take the weights {name} of {source.name}: {log.last}")
    if missing := refitter.get_missing_weights():
        raise ModelError(f"{source.name} lacks {len(missing)} weights that the plan needs, such as {missing[0]}")
    if not refitter.refit_cuda_engine():
        raise ModelError(f"TensorRT {trt.__version__} cannot refit {plan.name}: {log.last}")
    building.write(out, engine.serialize())
    return {
        "plan": str(out),
        "bytes": out.stat().st_size,
        "weights": len(taken),
        "seconds": round(time.perf_counter() - started, 3),
    }
