"""The recogniser in Keras, with the weights of its ONNX file, and its SavedModel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import ConfigError, ModelError
from accelkit.models.text_recognition.layout import Block, Conv, Pool, steps
from accelkit.savedmodel import api, reading


def keras_model(tf: Any, weights: Mapping[str, np.ndarray], shape: tuple[int, ...], classes: int) -> Any:
    """Return the Keras model: pictures `shape`, that is [N, 1, height, width], to logits [N, steps, classes].

    Weights are those of the ONNX file, [out, in, height, width], where batch normalization is folded into the convolutions.
    TensorFlow's convolutions on a CPU take the channels last, so the picture turns first. The last layer is a 1x1 convolution:
    the same sums as a dense layer, which Keras would wrap in reshapes.
    """
    layers = tf.keras.layers

    def convolve(conv: Conv, x: Any, activation: str | None) -> Any:
        same = conv.kernel == 3  # then its padding is what Keras calls same
        if not same and any(conv.pad):
            x = layers.ZeroPadding2D(conv.pad)(x)
        padding = "same" if same else "valid"
        made = layers.Conv2D(
            conv.outputs, conv.kernel, conv.stride, padding, activation=activation, name=_name(conv.key)
        )
        return made(x)

    picture = x = tf.keras.Input(shape, name="picture")
    x = layers.Permute((2, 3, 1))(x)
    for step in steps(weights["Prediction.weight"].shape[1]):
        if isinstance(step, Conv):
            x = convolve(step, x, "relu")
        elif isinstance(step, Pool):
            if any(step.pad):  # behind a ReLU no value is below the zeros around it
                x = layers.ZeroPadding2D(step.pad)(x)
            x = layers.MaxPool2D(2, step.stride)(x)
        elif isinstance(step, Block):
            y = convolve(step.second, convolve(step.first, x, "relu"), None)
            x = convolve(step.downsample, x, None) if step.downsample else x
            x = layers.ReLU()(layers.Add()([y, x]))
    x = layers.Conv2D(classes, 1, name="Prediction")(x)
    x = layers.Reshape((x.shape[2], classes))(x)  # one row is left
    made = tf.keras.Model(picture, x, name="text_recognition")
    for layer in made.layers:
        key = next((key for key in weights if key.endswith(".weight") and _name(key[:-7]) == layer.name), None)
        if key is not None:
            kernel = weights[key]
            square = kernel if kernel.ndim == 4 else kernel[:, :, None, None]
            layer.set_weights([square.transpose(2, 3, 1, 0), weights[f"{key[:-7]}.bias"]])
    return made


def _name(key: str) -> str:
    return key.replace(".", "_")


def write(weights: Path, target: Path, source: str, result: str, keras: Path | None = None) -> dict[str, Any]:
    """Write the SavedModel of an .npz of weights, its signature from `source` to `result`, its batch free; return its facts.

    `keras` also takes the model in Keras' own format. ModelError for an .npz of something else, or a target that takes nothing.
    """
    if keras is not None and keras.suffix != ".keras":
        raise ConfigError(f"{keras}: a file of Keras' own format ends in .keras")
    tf = api.load()
    started = time.perf_counter()
    try:
        with np.load(weights) as stored:
            held = {name: stored[name] for name in stored.files}
        shape, classes = tuple(int(size) for size in held.pop("shape")), len(held["Prediction.bias"])
        made = keras_model(tf, held, shape, classes)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{weights} holds no weights of text recognition: {str(error).splitlines()[0]}") from None
    module = tf.Module()
    # Variables of Keras 3 hide TensorFlow's: a session, and so Triton, restores those that the module itself holds.
    module.held = [getattr(variable, "value", variable) for variable in made.variables]
    if callable(module.held[0]):
        module.held = list(made.variables)

    @tf.function(input_signature=[tf.TensorSpec([None, *shape], tf.float32, name=source)])
    def serve(pictures: Any) -> dict[str, Any]:
        return {result: made(pictures, training=False)}

    try:
        tf.saved_model.save(module, str(target), signatures={reading.DEFAULT: serve})
    except tf.errors.OpError as error:
        raise ModelError(f"{target}: no SavedModel can be written there: {error.message}") from None
    if keras is not None:
        keras.parent.mkdir(parents=True, exist_ok=True)
        made.save(keras)
    return {
        "tensorflow": tf.__version__,
        "keras": tf.keras.__version__ if hasattr(tf.keras, "__version__") else tf.__version__,
        "seconds": round(time.perf_counter() - started, 2),
        "parameters": int(made.count_params()),
    }
