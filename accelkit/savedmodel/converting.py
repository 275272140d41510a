"""A SavedModel converted by TensorFlow's TensorRT: segments become engines, what TensorRT cannot take stays TensorFlow's."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import ModelError
from accelkit.savedmodel import api, reading

PRECISIONS = ("fp32", "tf32", "fp16")
PROFILES = ("Range+Optimal", "Range", "Optimal")
"""TensorFlow's strategies; TensorRT times its kernels once for each profile: `Range` has one, `Optimal` one for each batch."""


@dataclass(frozen=True)
class Order:
    """What to convert and how: files, precision, batches that engines are built for, and what a segment must have.

    `implicit` builds an engine for each batch, without TensorRT's dynamic shapes; `engines` False leaves building to the
    first requests. `profiles` says what an engine has profiles of TensorRT for: each batch, their range, or both.
    """

    source: Path
    target: Path
    precision: str = "fp32"
    batches: tuple[int, ...] = ()
    minimum_segment_size: int = 3
    workspace_mb: int = 1024
    implicit: bool = False
    engines: bool = True
    signature: str = reading.DEFAULT
    profiles: str = PROFILES[0]


def arguments(order: Order) -> dict[str, Any]:
    """Return what TrtGraphConverterV2 is given."""
    shapes = {"use_dynamic_shape": not order.implicit}
    return {
        "input_saved_model_dir": str(order.source),
        "input_saved_model_signature_key": order.signature,
        "precision_mode": "FP16" if order.precision == "fp16" else "FP32",
        "minimum_segment_size": order.minimum_segment_size,
        "max_workspace_size_bytes": order.workspace_mb << 20,
        "maximum_cached_engines": max(1, len(order.batches)),
        # With engines in the file a shape that none of them takes is TensorFlow's, at once, instead of a build in a request.
        "allow_build_at_runtime": not order.engines,
        **shapes,
        **({} if order.implicit else {"dynamic_shape_profile_strategy": order.profiles}),
    }


def convert(order: Order) -> dict[str, Any]:
    """Write the converted SavedModel and return its facts: versions, seconds, segments, engines, the converter's summary.

    ModelError for what is missing, and with TensorFlow's reason where it refuses.
    """
    if order.precision not in PRECISIONS:
        raise ModelError(f"no precision {order.precision!r}: there are {', '.join(PRECISIONS)}")
    if order.engines and not order.batches:
        raise ModelError("engines are built for batches: name some with --batch, or leave them out with --no-engines")
    signature = served(order.source, order.signature)
    tf = api.load()
    module, versions = api.converter(tf)
    started = time.perf_counter()
    # The builder of an engine, and TensorFlow outside of it, use TF32 unless told not to.
    tf.config.experimental.enable_tensor_float_32_execution(order.precision != "fp32")
    try:
        made = module.TrtGraphConverterV2(**arguments(order))
        made.convert()
        converted = time.perf_counter()
        if order.engines:
            made.build(lambda: inputs(signature, order.batches))
        built = time.perf_counter()
        made.save(str(order.target), save_gpu_specific_engines=order.engines)
        lines: list[str] = []
        made.summary(print_fn=lambda *words: lines.append(" ".join(map(str, words))))
    except (tf.errors.OpError, RuntimeError, ValueError, NotImplementedError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"TensorFlow {tf.__version__} cannot convert {order.source.name}: {reason}") from None
    rename(order.target, order.signature, signature)
    graph = reading.tagged(reading.graphs(order.target))
    assert graph is not None
    return {
        "tensorflow": tf.__version__,
        **versions,
        "precision": order.precision,
        "batches": list(order.batches),
        "seconds": {
            "convert": round(converted - started, 2),
            "build": round(built - converted, 2),
            "save": round(time.perf_counter() - built, 2),
        },
        "segments": reading.segments(graph),
        "engine_bytes": {
            path.name.removeprefix("trt-serialized-engine."): path.stat().st_size
            for path in sorted((order.target / "assets").glob("trt-serialized-engine.*"))
        },
        "summary": [line for text in lines for line in text.splitlines()],
    }


def served(directory: Path, name: str) -> reading.Signature:
    """Return a signature of a SavedModel; ModelError where it has none of that name."""
    graph = reading.tagged(reading.graphs(directory))
    if graph is None or name not in graph.signatures:
        there = ", ".join(known for known in (graph.signatures if graph else ()) if known not in reading.INTERNAL)
        raise ModelError(f"{directory} has no signature {name!r}: there are {there or 'none'}")
    return graph.signatures[name]


def inputs(signature: reading.Signature, batches: Sequence[int]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield inputs of zeros for each batch, the largest first: the engine is built at the first of them."""
    try:
        dtypes = [np.dtype(port.kind.lower().replace("fp", "float")) for port in signature.inputs.values()]
    except TypeError:
        kinds = ", ".join(port.kind for port in signature.inputs.values())
        raise ModelError(f"inputs of {kinds}: TensorRT takes numbers alone") from None
    for batch in sorted(set(batches), reverse=True):
        shapes = [(batch, *port.shape[1:]) for port in signature.inputs.values()]
        if any(size < 0 for shape in shapes for size in shape):
            raise ModelError("an input has free sizes beside the batch, for which no engine can be chosen")
        yield tuple(np.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes))


def rename(directory: Path, name: str, wanted: reading.Signature) -> None:
    """Give a converted SavedModel's signature the names of the original: the converter makes identifiers of them."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = directory / reading.FILE
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        signature = graph.signature_def[name]
        for ports, names in ((signature.inputs, wanted.inputs), (signature.outputs, wanted.outputs)):
            for old, new in renamed(list(ports), names).items():
                ports[new].CopyFrom(ports[old])
                del ports[old]
    path.write_bytes(saved.SerializeToString())


def renamed(there: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """Return what is to be renamed to what; ModelError for a name whose tensor cannot be told."""
    left, found = [name for name in there if name not in set(wanted)], {}
    missing = [name for name in wanted if name not in there]
    while missing:
        name = missing.pop(0)
        alike = [old for old in left if re.sub(r"\W", "_", old) == re.sub(r"\W", "_", name)]
        old = alike[0] if len(alike) == 1 else left[0] if len(left) == 1 and not missing else None
        if old is None:
            raise ModelError(f"the converted model has no {name!r}, only {', '.join(there)}")
        found[old] = name
        left.remove(old)
    return found
