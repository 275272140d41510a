"""The checkpoint layout of FasterTransformer: a GPT-2 cut for any tensor-parallel size, and put together again.

A directory N-gpu with config.ini and one headerless little-endian file for each weight, row by row. What tensor parallelism
cuts has one file for each rank; pipeline parallelism cuts nothing: every stage reads the files of its layers. Source:
NVIDIA/FasterTransformer examples/pytorch/gpt/utils/huggingface_gpt_convert.py and models/multi_gpu_gpt.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import ModelError
from accelkit.models import files
from accelkit.models.gpt.layout import Sizes, block

INI, SECTION = "config.ini", "gpt"
TYPES: dict[str, Any] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}
EPSILON, EPSILON_KEY = 1e-6, "layernorm_eps"
"""What the official reader takes where config.ini has no layernorm_eps; GPT-2 was trained with 1e-5."""
WHOLE, HEAD = {"wte.weight": "model.wte.bin", "wpe.weight": "model.wpe.bin"}, "model.lm_head.weight.bin"
WHOLE |= {"ln_f.weight": "model.final_layernorm.weight.bin", "ln_f.bias": "model.final_layernorm.bias.bin"}
# A layer's weights: name in the layout of Hugging Face, name in the file, axis of [h, 3, h] or [in, out] that is cut.
LAYER: dict[str, tuple[str, int | None]] = {
    "ln_1.weight": ("input_layernorm.weight", None), "ln_1.bias": ("input_layernorm.bias", None),
    "attn.c_attn.weight": ("attention.query_key_value.weight", -1),
    "attn.c_attn.bias": ("attention.query_key_value.bias", -1),
    "attn.c_proj.weight": ("attention.dense.weight", 0), "attn.c_proj.bias": ("attention.dense.bias", None),
    "ln_2.weight": ("post_attention_layernorm.weight", None), "ln_2.bias": ("post_attention_layernorm.bias", None),
    "mlp.c_fc.weight": ("mlp.dense_h_to_4h.weight", -1), "mlp.c_fc.bias": ("mlp.dense_h_to_4h.bias", -1),
    "mlp.c_proj.weight": ("mlp.dense_4h_to_h.weight", 0), "mlp.c_proj.bias": ("mlp.dense_4h_to_h.bias", None),
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What config.ini says: the sizes, the element type of the files, and how many ranks they are cut for."""

    sizes: Sizes
    dtype: str
    ranks: int
    name: str
    start: int


def folder(ranks: int) -> str:
    """Name of the directory for so many ranks."""
    return f"{ranks}-gpu"


def fits(sizes: Sizes, ranks: int, stages: int = 1) -> str | None:
    """Why a GPT of these sizes cannot be cut so; None when it can."""
    for what, size, parts in (
        ("heads", sizes.heads, ranks),
        ("inner size", sizes.inner, ranks),
        ("layers", sizes.layers, stages),
    ):
        if parts < 1 or size % parts:
            way = "tensor" if what != "layers" else "pipeline"
            fit = ", ".join(str(number) for number in range(1, size + 1) if size % number == 0 and number <= 64)
            return f"{what} {size} cannot be cut into {parts} parts for {way} parallelism: take one of {fit}"
    return None


def names(layer: int, name: str) -> tuple[str, int | None]:
    """File name of a layer's weight, with {} for the rank where it is cut, and the axis."""
    stem, axis = LAYER[name]
    return f"model.layers.{layer}.{stem}{'' if axis is None else '.{}'}.bin", axis


def shape(sizes: Sizes, name: str) -> tuple[int, ...]:
    """Shape of a layer's weight as the files have it, query, key and value on an axis of their own."""
    width, inner = sizes.width, sizes.inner
    return {
        "attn.c_attn.weight": (width, 3, width), "attn.c_attn.bias": (3, width), "attn.c_proj.weight": (width, width),
        "mlp.c_fc.weight": (width, inner), "mlp.c_fc.bias": (inner,), "mlp.c_proj.weight": (inner, width),
    }.get(name, (width,))  # fmt: skip


def parts(
    state: Mapping[str, np.ndarray], sizes: Sizes, ranks: int, dtype: str = "fp32"
) -> Iterator[tuple[str, bytes]]:
    """Every file of the layout by name, one after the other; ModelError when the sizes cannot be cut so."""
    if reason := fits(sizes, ranks):
        raise ModelError(reason)
    kind = TYPES[dtype]
    whole = WHOLE | ({"lm_head.weight": HEAD} if "lm_head.weight" in state else {})
    for name, file in whole.items():
        yield file, state[name].astype(kind).tobytes()
    for layer in range(sizes.layers):
        for name in LAYER:
            file, axis = names(layer, name)
            value = state[f"h.{layer}.{name}"].reshape(shape(sizes, name)).astype(kind)
            for rank, part in enumerate([value] if axis is None else np.split(value, ranks, axis)):
                yield file.format(rank), np.ascontiguousarray(part).tobytes()


def ini(sizes: Sizes, ranks: int, dtype: str = "fp32", name: str = "gpt", start: int | None = None) -> str:
    """The text of config.ini."""
    values = {
        "model_name": name, "head_num": sizes.heads, "size_per_head": sizes.head, "inter_size": sizes.inner,
        "max_pos_seq_len": sizes.positions, "num_layer": sizes.layers, "vocab_size": sizes.vocabulary,
        "start_id": sizes.end if start is None else start, "end_id": sizes.end, EPSILON_KEY: repr(sizes.epsilon),
        "weight_data_type": dtype, "tensor_para_size": ranks,
    }  # fmt: skip
    return "\n".join([f"[{SECTION}]", *(f"{key} = {value}" for key, value in values.items())]) + "\n"


def write(
    state: Mapping[str, np.ndarray], sizes: Sizes, directory: Path, ranks: int, dtype: str = "fp32", name: str = "gpt"
) -> Path:
    """Write the layout for so many ranks below a directory; return N-gpu there."""
    target = directory / folder(ranks)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file, content in parts(state, sizes, ranks, dtype):
            (target / file).write_bytes(content)
        (target / INI).write_text(ini(sizes, ranks, dtype, name), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def header(directory: Path) -> Header:
    """What config.ini in a directory says; ModelError for what is missing, unreadable or not offered."""
    path, parser = directory / INI, configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
        given = parser[SECTION]
        numbers = {
            key: int(given[key]) for key in ("head_num", "size_per_head", "inter_size", "num_layer", "vocab_size")
        }
        sizes = Sizes(
            numbers["num_layer"], numbers["head_num"], numbers["head_num"] * numbers["size_per_head"], numbers["inter_size"],
            int(given["max_pos_seq_len"]), numbers["vocab_size"], int(given["end_id"]), float(given.get(EPSILON_KEY, EPSILON)),
        )  # fmt: skip
        found = Header(
            sizes, given.get("weight_data_type", "fp16"), int(given.get("tensor_para_size", "0")),
            given.get("model_name", "gpt"), int(given["start_id"]),
        )  # fmt: skip
        odd = [
            f"{key} {given[key]}" for key, plain in (
                ("layernorm_type", "pre_layernorm"), ("activation_type", "gelu"), ("has_positional_encoding", "1 true"),
                ("has_pre_decoder_layernorm", "0 false"), ("has_post_decoder_layernorm", "1 true"),
                ("use_attention_linear_bias", "0 false"), ("has_adapters", "0 false"),
            ) if given.get(key, plain.split()[0]).lower() not in plain.split()
        ]  # fmt: skip
    except (OSError, configparser.Error, KeyError, ValueError) as error:
        reason = (
            f"{error.args[0]} is not there"
            if isinstance(error, KeyError)
            else getattr(error, "strerror", None) or files.reason(error)
        )
        raise ModelError(f"{path} cannot be read as FasterTransformer's: {reason}") from None
    if min(*numbers.values(), sizes.positions) < 1 or found.dtype not in TYPES or odd:
        what = ", ".join(odd) or (f"weight_data_type {found.dtype}" if found.dtype not in TYPES else "a size below 1")
        raise ModelError(f"{path}: {what} is not offered: a GPT-2 in {' or '.join(TYPES)} is")
    return found


def tensor(directory: Path, file: str, dims: tuple[int, ...], dtype: str) -> np.ndarray:
    """One file as an array of these dims; ModelError when it is not there or has not exactly that size."""
    path, wanted = directory / file, int(np.prod(dims)) * TYPES[dtype].itemsize
    try:
        size = path.stat().st_size
        if size != wanted:
            dimensions = " x ".join(map(str, dims))
            raise ModelError(
                f"{path} has {size} bytes, but {INI} means {dimensions} in {dtype}, {wanted} bytes: one of the two is wrong or cut short"
            )
        return np.fromfile(path, TYPES[dtype]).reshape(dims)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror or error}; every rank of every layer needs its files"
        ) from None


def cut(dims: tuple[int, ...], axis: int | None, ranks: int) -> tuple[int, ...]:
    """Dims of one rank's part."""
    if axis is None:
        return dims
    place = axis % len(dims)
    return (*dims[:place], dims[place] // ranks, *dims[place + 1 :])


def layer_part(directory: Path, found: Header, layer: int, rank: int) -> dict[str, np.ndarray]:
    """What one rank holds of one layer, by the names of Hugging Face's layout, in the files' type."""
    part = {}
    for name in LAYER:
        file, axis = names(layer, name)
        part[name] = tensor(directory, file.format(rank), cut(shape(found.sizes, name), axis, found.ranks), found.dtype)
    return part


def whole(directory: Path, found: Header) -> dict[str, np.ndarray]:
    """What no rank shares: both embeddings, the last norm, and the output layer where it has a file of its own."""
    sizes = found.sizes
    dims = {"wte.weight": (sizes.vocabulary, sizes.width), "wpe.weight": (sizes.positions, sizes.width)}
    state = {name: tensor(directory, file, dims.get(name, (sizes.width,)), found.dtype) for name, file in WHOLE.items()}
    if (directory / HEAD).is_file():
        state["lm_head.weight"] = tensor(directory, HEAD, dims["wte.weight"], found.dtype)
    return state


def read(directory: Path) -> tuple[Header, dict[str, np.ndarray]]:
    """The whole GPT-2 of a layout, every cut undone, in the files' type and by the names of Hugging Face's layout."""
    found = header(directory)
    if reason := fits(found.sizes, found.ranks):
        raise ModelError(f"{directory / INI}: {reason}")
    state = whole(directory, found)
    for layer in range(found.sizes.layers):
        held = [layer_part(directory, found, layer, rank) for rank in range(found.ranks)]
        for name in LAYER:
            axis = LAYER[name][1]
            value = held[0][name] if axis is None else np.concatenate([part[name] for part in held], axis)
            state[f"h.{layer}.{name}"] = value.reshape(block(found.sizes)[name])
    return found, state
