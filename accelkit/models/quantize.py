"""INT8 by NNCF's post-training quantization: a Q/DQ ONNX file that stays as accurate as the float one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelkit import versions
from accelkit.errors import MissingPackage, ModelError
from accelkit.models import files, named

if TYPE_CHECKING:
    from onnx import ModelProto

    from accelkit.models import Model

DROP = 0.005
"""How much of the task metric (of the cosine where it is unknown) may be lost on the validation half of the calibration split."""
BATCH = 16
PACKAGES = ("nncf", "onnx", "onnxruntime")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def int8_onnx(model: Model, say: Callable[[str], object] = _say) -> Path:
    """The Q/DQ ONNX file in the cache, built if it is not there or damaged; a JSON record of the same name is beside it.

    The first half of the calibration split calibrates, the second says what is lost; the test split is not looked at.
    ModelError for a calibration split that is empty or has another shape than the model's input.
    """
    samples = model.samples("calibration")
    inputs = named(model.inputs, samples.inputs)[model.inputs[0].name]
    _check(model, inputs)
    parts = [
        model.code_hash,
        *map(repr, (DROP, BATCH, samples.labels)),
        *(versions.get(f"packages.{name}") for name in PACKAGES),
    ]
    key = files.digest(Path(__file__), inputs.tobytes(), *(part.encode() for part in parts))
    stem = f"{model.name}_{model.variant}_int8-{key}"
    for path in sorted(files.cache().glob(f"{stem}-*.onnx")):
        if path.with_suffix(".json").is_file() and path.stem.endswith(files.digest(path)):
            return path
    say(f"{model.name} {model.variant}: quantizing to INT8, once")
    started = time.perf_counter()
    made, facts = quantized(model, inputs, samples.labels, say=say)
    content = made.SerializeToString()
    path = files.cache() / f"{stem}-{files.digest(content)}.onnx"
    facts["seconds"] = round(time.perf_counter() - started, 1)
    files.write(path.with_suffix(".json"), json.dumps(facts).encode() + b"\n")
    files.write(path, content)
    say(
        f"{model.name} {model.variant}: {len(facts['float'])} layers stay in float, {facts['metric']} {facts['before']:.4f} "
        f"-> {facts['after']:.4f}, {facts['seconds']:.0f} s"
    )
    return path


def record(path: Path) -> dict[str, Any]:
    """What is known of a quantized file: layers left in float, metric before and after, samples, seconds, versions."""
    return json.loads(files.read(path.with_suffix(".json")))


def _check(model: Model, inputs: np.ndarray) -> None:
    wanted = model.inputs[0]
    if len(inputs) < 2:
        raise ModelError(
            f"{model.name}: the calibration split has {len(inputs)} samples, INT8 needs two at least: add some"
        )
    fits = inputs.ndim == len(wanted.dims) + 1 and all(
        want in (-1, have) for want, have in zip(wanted.dims, inputs.shape[1:])
    )
    if not fits or inputs.dtype != wanted.dtype:
        raise ModelError(
            f"{model.name}: calibration samples are {inputs.dtype} {list(inputs.shape[1:])}, its input {wanted.name} is "
            f"{wanted.dtype} {list(wanted.dims)}: preprocess them as the model's own"
        )


def quantized(
    model: Model, inputs: np.ndarray, labels: Any, limit: float = DROP, say: Callable[[str], object] = _say
) -> tuple[ModelProto, dict[str, Any]]:
    """The quantized graph, layers put back into float until at most `limit` is lost, and the facts of its record."""
    nncf, onnx = _packages()
    half = len(inputs) // 2
    source, known, truth = onnx.load(str(model.onnx())), inputs[half:], labels[half:]
    for number, node in enumerate(source.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # layers are put back into float by their names
    name = model.inputs[0].name
    batches = [{name: inputs[start : start + BATCH]} for start in range(0, half, BATCH)]
    # NNCF's bias correction for ONNX made the text recognition model less accurate.
    options = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
    try:
        with redirect_stdout(sys.stderr):  # its progress
            whole = nncf.quantize(source, nncf.Dataset(batches), subset_size=len(batches), advanced_parameters=options)
    except Exception as error:  # NNCF's own kinds, and those of the runtime below it
        raise ModelError(f"{model.name}: NNCF cannot quantize it: {files.reason(error)}") from None
    right = _outputs(source, name, known)
    metric = model.metric or "cosine"

    def score(graph: ModelProto) -> float:
        outputs = _outputs(graph, name, known)
        return model.score(outputs, truth) if model.metric else _cosine(outputs, right)

    made, back = whole, []
    before, after = score(source), score(whole)
    first = after
    if after < before - limit:
        say(f"{model.name}: {before - after:.4f} of {metric} lost, looking for the layers that lose it")
        for layer in _by_damage(source, whole, lambda graph: _error(graph, name, known, right)):
            back.append(layer)
            made = in_float(source, whole, back)
            after = score(made)
            if after >= before - limit:
                break
    return made, {
        "float": back, "metric": metric, "before": before, "all_int8": first, "after": after, "limit": limit,
        "calibrated_on": half, "validated_on": len(truth), "versions": {name: versions.get(f"packages.{name}") for name in PACKAGES},
    }  # fmt: skip


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """By angle, where nobody has said what a right answer is."""
    left, right = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def _packages() -> tuple[Any, Any]:
    try:
        import nncf
        import onnx
    except ImportError as error:
        raise MissingPackage(error.name or "nncf", "cpu", "quantizing a model to INT8") from None
    nncf.set_log_level(40)
    return nncf, onnx


def _outputs(graph: ModelProto, name: str, inputs: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    steps = range(0, len(inputs), BATCH)
    return np.concatenate([session.run(None, {name: inputs[start : start + BATCH]})[0] for start in steps])


def _error(graph: ModelProto, name: str, inputs: np.ndarray, right: np.ndarray) -> float:
    return float(np.square(_outputs(graph, name, inputs) - right).mean())


def _by_damage(source: ModelProto, whole: ModelProto, error: Callable[[ModelProto], float]) -> list[str]:
    """Names of the quantized layers, that one first whose return to float brings the outputs nearest to the float ones."""
    from tqdm import tqdm

    made = {node.output[0] for node in whole.graph.node if node.op_type == "DequantizeLinear"}
    pairs = ("QuantizeLinear", "DequantizeLinear")
    layers = [node.name for node in whole.graph.node if node.op_type not in pairs and made & set(node.input)]
    errors = {layer: error(in_float(source, whole, [layer])) for layer in tqdm(layers, desc="layers", leave=False)}
    return sorted(layers, key=errors.__getitem__)


def in_float(source: ModelProto, whole: ModelProto, layers: list[str]) -> ModelProto:
    """A copy of the quantized graph in which these layers read what the float graph's layers of that name read."""
    made = type(whole)()
    made.CopyFrom(whole)
    floats = {node.name: node for node in source.graph.node}
    weights = {entry.name: entry for entry in source.graph.initializer}
    have = {entry.name for entry in made.graph.initializer}
    for node in made.graph.node:
        if node.name in layers:
            node.input[:] = floats[node.name].input
            fresh = [weights[name] for name in node.input if name in weights and name not in have]
            made.graph.initializer.extend(fresh)
            have.update(entry.name for entry in fresh)
    return _pruned(made)


def _pruned(made: ModelProto) -> ModelProto:
    """Without the quantizers and initializers that nothing reads any more."""
    while True:
        read = {name for node in made.graph.node for name in node.input} | {value.name for value in made.graph.output}
        useless = [node for node in made.graph.node if not read & set(node.output)]
        unread = [entry for entry in made.graph.initializer if entry.name not in read]
        for node in useless:
            made.graph.node.remove(node)
        for entry in unread:
            made.graph.initializer.remove(entry)
        if not useless:
            return made
