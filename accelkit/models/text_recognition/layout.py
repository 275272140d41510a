"""The network None-ResNet-None-CTC as data: the one description that graph, widening and checkpoint checks follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelkit.models.text_recognition.charset import CLASSES

PREFIX = "FeatureExtraction.ConvNet."
EPSILON = 1e-5
BLOCKS = (1, 2, 5, 3)


@dataclass(frozen=True)
class Conv:
    """A bias-free convolution and the batch normalization after it, by their state_dict keys."""

    key: str
    norm: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Pool:
    """A 2x2 max pooling."""

    key: str
    stride: tuple[int, int] = (2, 2)
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Block:
    """A residual block: two convolutions, added to the input, which a 1x1 convolution fits to the output if need be."""

    key: str
    first: Conv
    second: Conv
    downsample: Conv | None


def _conv(name: str, inputs: int, outputs: int, **shape) -> Conv:
    return Conv(f"{PREFIX}conv{name}", f"{PREFIX}bn{name}", inputs, outputs, **shape)


def _layer(number: int, inputs: int, outputs: int) -> Iterator[Block]:
    for index in range(BLOCKS[number - 1]):
        key = f"{PREFIX}layer{number}.{index}"
        fit = None
        if inputs != outputs:
            fit = Conv(f"{key}.downsample.0", f"{key}.downsample.1", inputs, outputs, kernel=1, pad=(0, 0))
        first = Conv(f"{key}.conv1", f"{key}.bn1", inputs, outputs)
        yield Block(key, first, Conv(f"{key}.conv2", f"{key}.bn2", outputs, outputs), fit)
        inputs = outputs


def steps(width: int) -> tuple[Conv | Pool | Block, ...]:
    """The feature extractor in order; `width` is its channels at the end (the original's: 512), a multiple of 16."""
    w = width
    return (
        _conv("0_1", 1, w // 16),
        _conv("0_2", w // 16, w // 8),
        Pool(f"{PREFIX}maxpool1"),
        *_layer(1, w // 8, w // 4),
        _conv("1", w // 4, w // 4),
        Pool(f"{PREFIX}maxpool2"),
        *_layer(2, w // 4, w // 2),
        _conv("2", w // 2, w // 2),
        Pool(f"{PREFIX}maxpool3", stride=(2, 1), pad=(0, 1)),
        *_layer(3, w // 2, w),
        _conv("3", w, w),
        *_layer(4, w, w),
        _conv("4_1", w, w, kernel=2, stride=(2, 1), pad=(0, 1)),
        _conv("4_2", w, w, kernel=2, pad=(0, 0)),
    )


def convolutions(width: int) -> Iterator[Conv]:
    """All 32 convolutions in order."""
    for step in steps(width):
        if isinstance(step, Block):
            yield from (conv for conv in (step.first, step.second, step.downsample) if conv)
        elif isinstance(step, Conv):
            yield step


def shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Every state_dict key with its shape: 194 entries."""
    table: dict[str, tuple[int, ...]] = {}
    for conv in convolutions(width):
        table[f"{conv.key}.weight"] = (conv.outputs, conv.inputs, conv.kernel, conv.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            table[f"{conv.norm}.{part}"] = (conv.outputs,)
        table[f"{conv.norm}.num_batches_tracked"] = ()
    return table | {"Prediction.weight": (CLASSES, width), "Prediction.bias": (CLASSES,)}
