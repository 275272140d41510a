"""A GPT-2's weights as numpy arrays: the shipped ones, seeded ones of any size, and Hugging Face checkpoints."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import ModelError
from accelkit.models import files
from accelkit.models.gpt.layout import PREFIX, Sizes, shapes

HEAD = "lm_head.weight"
_BUFFERS = (".attn.bias", ".attn.masked_bias")
_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")
_PLAIN = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}


def seeded(sizes: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights drawn from a seed, float32, in GPT-2's scale: they cost what trained ones cost and say nothing."""

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("bias") or "ln_" in name:
            return np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
        values = np.random.default_rng((seed, zlib.crc32(name.encode()))).standard_normal(shape, np.float32)
        values *= np.float32(0.02)
        return values

    wanted = shapes(sizes)
    with ThreadPoolExecutor() as pool:  # each has a generator of its own, and NumPy lets threads draw
        return dict(zip(wanted, pool.map(draw, wanted, wanted.values())))


def load(path: Path, sizes: Sizes) -> dict[str, np.ndarray]:
    """The weights in a .safetensors file, float32, checked; ModelError names what is missing, foreign or misshapen."""
    return check(_tensors(path), sizes, path)


def sizes_of(directory: Path) -> Sizes:
    """The sizes in a Hugging Face checkpoint's config.json; ModelError where it is no GPT-2 that the kit can run."""
    path = directory / "config.json"
    try:
        given: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        width = int(given["n_embd"])
        found = Sizes(
            int(given["n_layer"]), int(given["n_head"]), width, int(given.get("n_inner") or 4 * width),
            int(given.get("n_positions") or given["n_ctx"]), int(given["vocab_size"]),
            int(given["vocab_size"] - 1 if given.get("eos_token_id") is None else given["eos_token_id"]),
            float(given.get("layer_norm_epsilon", 1e-5)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no config.json of a GPT-2: {files.reason(error)}") from None
    wrong = [name for name, value in _PLAIN.items() if given.get(name, value) != value]
    if given.get("model_type") != "gpt2" or given.get("activation_function", "gelu_new") not in _ACTIVATIONS or wrong:
        what = ", ".join(wrong) or f"{given.get('model_type')} with {given.get('activation_function', 'gelu_new')}"
        raise ModelError(f"{path}: the kit runs model_type gpt2 with {' or '.join(_ACTIVATIONS)}, not {what}")
    if width % found.heads:
        raise ModelError(f"{path}: n_embd {width} is no multiple of n_head {found.heads}")
    return found


def import_directory(directory: Path) -> dict[str, np.ndarray]:
    """The weights of a Hugging Face GPT-2 checkpoint, in one .safetensors file or in parts with an index; float32."""
    sizes, index = sizes_of(directory), directory / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{index} cannot be read: {files.reason(error)}") from None
    state: dict[str, np.ndarray] = {}
    for name in sorted(names):
        state |= _tensors(directory / name)
    return check(state, sizes, directory)


def check(state: Mapping[str, np.ndarray], sizes: Sizes, where: Path) -> dict[str, np.ndarray]:
    """The weights under plain names, float32; an output layer that equals the embedding is left out."""
    plain = {name.removeprefix(PREFIX): value for name, value in state.items()}
    plain = {name: value for name, value in plain.items() if not name.endswith(_BUFFERS)}
    wanted = shapes(sizes)
    if HEAD in plain:
        if "wte.weight" in plain and np.array_equal(plain[HEAD], plain["wte.weight"]):
            del plain[HEAD]
        else:
            wanted[HEAD] = wanted["wte.weight"]
    odd = [f"{name} is missing" for name in wanted if name not in plain]
    odd += [f"{name} does not belong there" for name in plain if name not in wanted]
    odd += [
        f"{name} is {list(plain[name].shape)}, its config means {list(shape)}"
        for name, shape in wanted.items() if name in plain and plain[name].shape != shape
    ]  # fmt: skip
    if odd:
        raise ModelError(
            f"{where} is no GPT-2 of its sizes: {odd[0]}" + (f", and {len(odd) - 1} more" * (len(odd) > 1))
        )
    return {name: np.asarray(plain[name], np.float32) for name in wanted}


def _tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is no readable safetensors file ({files.reason(error)}): restore it or give another"
        ) from None
