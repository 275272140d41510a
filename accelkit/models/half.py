"""FP16 in the file: an ONNX graph with half the bytes in its weights and FP16 arithmetic, whose inputs and outputs stay FP32."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.errors import MissingPackage, ModelError
from accelkit.models import files

if TYPE_CHECKING:
    from onnx import ModelProto

    from accelkit.models import Model


def _convert(source: Path) -> ModelProto:
    """By ONNX Runtime's converter: every operator that FP16 has."""
    import onnx
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    made = float16.convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    OnnxModel(made).topological_sort()  # the casts of the inputs stand behind their readers
    return made


def _autocast(source: Path) -> ModelProto:
    """By NVIDIA ModelOpt's AutoCast: operators whose values would leave FP16's range stay in FP32."""
    from modelopt.onnx import autocast

    return autocast.convert_to_mixed_precision(str(source), low_precision_type="fp16", keep_io_types=True)


# How: the package whose version counts, the extra that holds it, and the function.
WAYS: dict[str, tuple[tuple[str, ...], str, Callable[[Path], Any]]] = {
    "convert": (("onnxruntime", "onnxruntime-gpu"), "cpu", _convert),
    "autocast": (("nvidia-modelopt",), "modelopt", _autocast),
}


def fp16_onnx(model: Model, how: str = "convert", say: Callable[[str], object] | None = None) -> Path:
    """The FP16 ONNX file in the cache, built if it is not there or damaged; ModelError if the model cannot be converted."""
    if how not in WAYS:
        raise ModelError(f"no way {how!r} to make an FP16 file: there are {', '.join(WAYS)}")
    packages, extra, convert = WAYS[how]
    source = model.onnx()
    key = files.digest(Path(__file__), source, *(f"{name} {_version(name)}".encode() for name in packages))
    stem = f"{model.name}_{model.variant}_fp16_{how}-{key}"
    if found := files.find(stem, ".onnx"):
        return found
    (say or _say)(f"{model.name} {model.variant}: converting to FP16 ({how}), once")
    try:
        made = convert(source)
        _check(made)
    except ImportError as error:
        raise MissingPackage(error.name or packages[0], extra, "converting a model to FP16") from None
    except Exception as error:  # converters have no kind of their own
        raise ModelError(f"{model.name}: cannot be converted to FP16 ({how}): {files.reason(error)}") from None
    content = made.SerializeToString()
    return files.write(files.cache() / f"{stem}-{files.digest(content)}.onnx", content)


def _check(made: ModelProto) -> None:
    """Refuse a graph that no runtime would load, or in which nothing became FP16."""
    import onnx

    onnx.checker.check_model(made, full_check=True)
    halves = [entry.name for entry in made.graph.initializer if entry.data_type == onnx.TensorProto.FLOAT16]
    if not halves:
        raise ValueError("none of its weights became FP16")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
