"""A TensorFlow session with the model in it: a SavedModel's signature, or a frozen graph."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorflow import keys, settings, signature
from accelkit.backends.tensorflow.settings import Settings


@dataclass(frozen=True)
class Opened:
    """A session, and the tensors of the graph by the names that requests use."""

    tf: Any
    session: Any
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    directory: Path


def tensorflow() -> Any:
    """TensorFlow, its log limited to errors and CUDA's kernels loaded at first use unless the environment says otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise Refused(f"TensorFlow cannot be loaded: {str(error).splitlines()[0]}") from None
    tf.get_logger().setLevel("ERROR")
    return tf


def load_libraries(config: Mapping[str, Any]) -> None:
    """Load the configuration's libraries with operators."""
    for file in keys.OP_LIBRARIES.items(config):
        tf = tensorflow()
        attempt(tf, tf.load_op_library, file)


def attempt(tf: Any, call: Any, *arguments: Any) -> Any:
    """What a call of TensorFlow returns; Refused with its reason, on one line."""
    try:
        return call(*arguments)
    except (tf.errors.OpError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise Refused(reason(getattr(error, "message", None) or str(error))) from None


def reason(text: str) -> str:
    """The line of an error of TensorFlow that says why; before it may stand where in Python the node was made, after it which."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    at = next((index for index, line in enumerate(lines) if line.startswith("[[")), 0)
    return (lines[max(at - 1, 0)] if lines else "TensorFlow said nothing")[:600]


def opened(
    model: str, path: Path, config: Mapping[str, Any], wanted: Settings, command: Mapping[str, str], device: int | None,
    log: Any,
) -> Opened:  # fmt: skip
    """The model in a session of its own; Refused where it and the configuration do not agree."""
    chosen = None
    if not wanted.graphdef:
        chosen = signature.choose(model, path, wanted, log)
        signature.check(model, config, chosen)
    tf = tensorflow()
    if device is not None and device >= 0 and not tf.config.list_physical_devices("GPU"):
        raise Refused(f"unable to load model '{model}': the TensorFlow of this server, {tf.__version__}, sees no GPU")
    if wanted.engine is not None:
        _need_tensorrt(tf)
    graph = tf.Graph()
    options = settings.session(tf, wanted, command, device, int(config.get("max_batch_size") or 0))
    with graph.as_default():
        session = attempt(tf, lambda: tf.compat.v1.Session(graph=graph, config=options))
        if chosen is None:
            return _frozen(tf, session, model, path, config)
        loader = tf.compat.v1.saved_model.loader
        attempt(tf, loader.load, session, [wanted.tag or signature.reading.SERVE], str(path))
    inputs, outputs = ({name: port.tensor for name, port in side.items()} for side in (chosen.inputs, chosen.outputs))
    return Opened(tf, session, inputs, outputs, path)


def _need_tensorrt(tf: Any) -> None:
    from accelkit.errors import ModelError
    from accelkit.savedmodel import api

    try:
        api.converter(tf)
    except ModelError as error:
        raise Refused(f"TensorRT Execution Accelerator: {error}") from None


def _frozen(tf: Any, session: Any, model: str, path: Path, config: Mapping[str, Any]) -> Opened:
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
    except Exception:
        raise Refused(f"Can't parse {path} as binary proto") from None
    if not definition.node:
        raise Refused(f"model {model} has an empty network")
    inputs = [node.name for node in definition.node if node.op == "Placeholder"]
    outputs = [node.name for node in definition.node if node.op != "Placeholder"]
    signature.check_nodes(model, config, inputs, outputs)
    attempt(tf, lambda: tf.import_graph_def(definition, name=""))
    names = [*signature.controls(config), *(io["name"] for io in config["input"])]
    return Opened(
        tf,
        session,
        {name: f"{name}:0" for name in names},
        {io["name"]: f"{io['name']}:0" for io in config["output"]},
        path,
    )


def initialize(found: Opened, wanted: Settings, folders: Sequence[Path]) -> None:
    """Run the operators that the configuration's file of initializers names, from the version's folder or the model's."""
    if not wanted.init_ops:
        return
    file = next((folder / wanted.init_ops for folder in folders if (folder / wanted.init_ops).exists()), None)
    if file is None:
        raise Refused(f"failed to open text file for read {folders[-1] / wanted.init_ops}: No such file or directory")
    try:
        names = json.loads(file.read_text())["init_ops"]
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{file} is no JSON file with init_ops, a list of operators") from None
    for name in names:
        attempt(found.tf, lambda name=name: found.session.run(found.session.graph.get_operation_by_name(name)))
