"""ModelConfig protobuf to config.pbtxt and back, and the layout of a model repository."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import ConfigError

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.models import Tensor

FILE = "config.pbtxt"
PLATFORMS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch"}
PLATFORMS |= {"torch_aoti": "pytorch", "tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow"}
TYPES = {
    "float64": "TYPE_FP64",
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bool": "TYPE_BOOL",
    "object": "TYPE_STRING",
}
TYPES |= {f"{kind}int{bits}": f"TYPE_{kind}INT{bits}".upper() for kind in ("", "u") for bits in (8, 16, 32, 64)}


def new(**fields: object) -> ModelConfig:
    """Return a ModelConfig with these fields, sub-messages given as dicts."""
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.ModelConfig(**fields)


def tensor(spec: Tensor) -> dict[str, object]:
    """Return an input or output of a model as a ModelConfig field; the batch dimension is not part of it."""
    if spec.dtype not in TYPES:
        raise ConfigError(
            f"{spec.name} is {spec.dtype}, a type that Triton does not have: export the model with float32"
        )
    return {"name": spec.name, "data_type": TYPES[spec.dtype], "dims": list(spec.dims)}


def parse(text: str, where: str | Path = FILE) -> ModelConfig:
    """Return the ModelConfig in a text; ConfigError names `where`, line, column and reason."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, new())
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        reason = re.sub(r"^\d+:\d+ : (?:'.*?': )?", "", " ".join(str(error).split()))
        place = f"{where}:{line}:{column}" if line else f"{where}"
        raise ConfigError(f"{place}: {reason}{_meant(reason)}") from None


def _meant(reason: str) -> str:
    """The field that a misspelt one is most like, as ` Did you mean "..."?`, or nothing."""
    found = re.search(r'Message type "(.+?)" has no field named "(.+?)"', reason)
    pool = new().DESCRIPTOR.file.pool
    close = get_close_matches(found[2], pool.FindMessageTypeByName(found[1]).fields_by_name, 1) if found else []
    return f' Did you mean "{close[0]}"?' if close else ""


def read(path: Path) -> ModelConfig:
    """Return the ModelConfig in a file, or in config.pbtxt of a model's directory; ConfigError if it does not parse."""
    path = path / FILE if path.is_dir() else path
    return parse(content(path), path)


def content(path: Path) -> str:
    """Return the text of a file; ConfigError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def text(config: ModelConfig) -> str:
    """Return a ModelConfig as the text of a config.pbtxt."""
    from google.protobuf import text_format

    return text_format.MessageToString(config, use_short_repeated_primitives=True)


def equal(one: ModelConfig, other: ModelConfig) -> bool:
    """Say whether two configs mean the same; comments, order of fields and layout do not count."""
    return one == other


def add(repository: Path, config: ModelConfig, files: Mapping[str, Path], version: int = 1) -> Path:
    """Put `files` (by name in the version directory) and config.pbtxt into a repository; return the model's directory.

    A config.pbtxt there that means the same stays, with its comments. A failure (disk full) leaves nothing behind.
    """
    directory = repository / config.name
    existed = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=directory) as scratch:
            fresh = Path(scratch, "version")
            fresh.mkdir()  # an ensemble has a version too, and no file in it
            for name, source in files.items():
                target = fresh / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            target = directory / str(version)
            if target.exists():
                target.rename(Path(scratch, "old"))
            fresh.rename(target)
            if not (directory / FILE).exists() or not _same(directory / FILE, config):
                Path(scratch, FILE).write_text(text(config), encoding="utf-8")
                Path(scratch, FILE).replace(directory / FILE)
    except (OSError, shutil.Error) as error:
        if not existed:
            shutil.rmtree(directory, ignore_errors=True)
        where = getattr(error, "filename", None) or directory
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{where}: model {config.name} cannot be put into the repository: {reason}") from None
    return directory


def _same(path: Path, config: ModelConfig) -> bool:
    try:
        return equal(read(path), config)
    except ConfigError:
        return False
