"""The text recognition model behind the interface of `accelkit.models`."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from accelkit.errors import MissingPackage
from accelkit.models import Samples, Tensor, files
from accelkit.models.text_recognition import charset, data, preprocess, weights

HERE = Path(__file__).parent
CODE = ("charset.py", "layout.py", "preprocess.py", "graph.py", "weights.py", "widen.py")
BATCH = 64
CLIENT = '''"""Pictures to inputs, outputs to words."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = {size}
CHARSET = "{charset}"


{functions}

def read(path: Path) -> dict[str, np.ndarray]:
    """Inputs by name from the picture of one word."""
    with Image.open(path) as image:
        return {{"{source}": normalize(pixels(ImageOps.exif_transpose(image))[None])}}


def answers(outputs: dict[str, np.ndarray]) -> list[str]:
    """The words in outputs by name."""
    return decode(outputs["{target}"])
'''


@dataclass(frozen=True)
class TextRecognition:
    """Reads one word of letters and digits from a picture; `weights_file` holds its state dict."""

    variant: str
    weights_file: Path
    widened: bool = False
    name: str = "text_recognition"
    kind: str = "network"
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "int8")
    network: str = "accelkit.models.text_recognition.training.network"
    """The module whose `restore` makes the network in PyTorch from the state dict."""
    max_batch: int = 64
    metric: str | None = "word_accuracy"
    inputs: tuple[Tensor, ...] = (Tensor("input.1", "float32", (1, preprocess.HEIGHT, preprocess.WIDTH)),)
    outputs: tuple[Tensor, ...] = (Tensor("logits", "float32", (charset.STEPS, charset.CLASSES)),)
    score = staticmethod(charset.word_accuracy)
    decode = staticmethod(charset.decode)
    open = staticmethod(preprocess.open_image)
    preprocess = staticmethod(preprocess.preprocess)

    @cached_property
    def code_hash(self) -> str:
        """16 hexadecimal digits over the weights and the code that makes the graph and the inputs."""
        return files.digest(self.weights_file, *(HERE / name for name in CODE), str(self.widened).encode())

    def client_code(self) -> str:
        """Source of a module without the kit: `read` makes inputs from a picture, `answers` words from outputs."""
        return CLIENT.format(
            size=(preprocess.WIDTH, preprocess.HEIGHT), charset=charset.CHARSET, source=self.inputs[0].name,
            functions="\n\n".join(inspect.getsource(part) for part in (preprocess.pixels, preprocess.normalize, charset.decode)),
            target=self.outputs[0].name,
        )  # fmt: skip

    def state(self) -> dict[str, np.ndarray]:
        """The checked state dict, float32."""
        state = weights.load(self.weights_file)
        if self.widened:
            from accelkit.models.text_recognition.widen import widen

            state = widen(state)
        return state

    def onnx(self) -> Path:
        """The ONNX file in the cache, its name ending in its content's hash; built if it is not there or damaged."""
        stem = f"{self.name}_{self.variant}-{self.code_hash}"
        for path in sorted(files.cache().glob(f"{stem}-*.onnx")):
            if _intact(path, path.stat().st_mtime_ns):
                return path
        try:
            from accelkit.models.text_recognition import graph
        except ImportError:
            raise MissingPackage("onnx", "cpu", "writing a model's ONNX file") from None
        content = graph.write(self.state())
        return files.write(files.cache() / f"{stem}-{files.digest(content)}.onnx", content)

    def folded(self) -> dict[str, np.ndarray]:
        """Weights and biases of the ONNX file by layer, in which batch normalization is part of the convolutions."""
        try:
            from accelkit.models.text_recognition import graph
        except ImportError:
            raise MissingPackage("onnx", "cpu", "folding a model's weights") from None
        return graph.folded(self.state())

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        """The first `limit` pictures of a split as inputs [N, 1, 32, 100], with lower-case labels and texts as drawn."""
        records = data.records(split)[:limit]
        inputs = preprocess.preprocess(data.images(records))
        texts = tuple(record.text for record in records)
        return Samples(inputs, tuple(map(charset.canonical, texts)), texts)

    def reference(self, split: str = "test", limit: int | None = None) -> np.ndarray:
        """Logits [N, 26, 37] of ONNX Runtime's CPU provider in FP32 for the first `limit` pictures of a split."""
        import onnxruntime

        every, count = len(data.records(split)), len(data.records(split)[:limit])
        key = files.digest(self.code_hash.encode(), data.digest().encode(), onnxruntime.__version__.encode())
        for stored in (every, count):
            path = files.cache() / f"{self.name}_{self.variant}-{key}-{split}-{stored}.logits"
            if path.is_file() and (outputs := _stored(path)) is not None and len(outputs) == stored:
                return outputs[:count]
        outputs = infer(self.onnx(), self.samples(split, limit).inputs)
        files.write(path, _sealed(outputs))
        return outputs


def infer(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Logits [N, 26, 37] of an ONNX file for inputs [N, 1, 32, 100], in batches, on ONNX Runtime's CPU provider."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
    return np.concatenate([session.run(["logits"], {"input.1": batch})[0] for batch in batches])


@cache
def _intact(path: Path, changed: int) -> bool:
    """Whether a file holds what its name says; computed again only when its time of change is another."""
    return path.stem.endswith(files.digest(path))


def _sealed(values: np.ndarray) -> bytes:
    content = values.tobytes()
    return hashlib.sha256(content).digest() + content


def _stored(path: Path) -> np.ndarray | None:
    content = files.read(path)
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    return np.frombuffer(content[32:], np.float32).reshape(-1, charset.STEPS, charset.CLASSES)
