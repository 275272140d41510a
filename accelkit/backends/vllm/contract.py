"""What a request says with the official tensors, and what its answer says with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelkit.backends.key import Refused
from accelkit.backends.vllm import keys

PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "int | None": int, "Optional[int]": int}
"""Types of sampling parameters that are made of what came; a value of another type is passed on as it is."""


@dataclass(frozen=True)
class Ask:
    """A request: its text, whether it is answered in parts and with its prompt, sampling parameters, further outputs."""

    text: str
    stream: bool
    prompt: bool
    sampling: dict[str, Any]
    returns: tuple[str, ...]


@dataclass
class Told:
    """How much of each of a request's outputs has been sent."""

    texts: dict[int, int] = field(default_factory=dict)
    ids: dict[int, int] = field(default_factory=dict)
    chances: dict[int, int] = field(default_factory=dict)
    began: bool = False


def ask(arrays: Mapping[str, np.ndarray], parameters: str, types: Mapping[str, Any]) -> Ask:
    """What a request's arrays ask for; `parameters` are those of the request itself, which count without the tensor.

    `types` are those of vLLM's SamplingParams. Refused for what cannot be, or is not in the stand-in.
    """
    for name in keys.ABSENT:
        if name in arrays:
            raise Refused(f"{name} is not in this stand-in: leave it out")
    stream = _flag(arrays, keys.STREAM, False)
    prompt = not _flag(arrays, keys.WITHOUT_PROMPT, stream)
    if stream and prompt:
        raise Refused(f"When streaming, `{keys.WITHOUT_PROMPT}` = False is not allowed.")
    text = _text(arrays[keys.SAMPLING]) if keys.SAMPLING in arrays else parameters
    returns = tuple(name for name in keys.RETURNS if _flag(arrays, name, False))
    return Ask(_text(arrays[keys.TEXT]), stream, prompt, sampling(text, types), returns)


def sampling(text: str, types: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling parameters in JSON; numbers may come as text, as parameters of HTTP requests do."""
    try:
        found = json.loads(text or "{}")
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        for name, value in found.items():
            kind = PLAIN.get(_named(types.get(name)))
            if kind is not None and value is not None:
                found[name] = kind(value)
    except (TypeError, ValueError) as error:
        raise Refused(f"{keys.SAMPLING} cannot be read: {error}") from None
    for name in found:
        if name not in types:
            raise Refused(f"{keys.SAMPLING}: vLLM's SamplingParams has no '{name}'")
    return found


def _named(kind: Any) -> str:
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return text.replace("typing.", "")


def answer(output: Any, ask: Ask, told: Told) -> dict[str, np.ndarray]:
    """The outputs of one answer of the engine, by name: of all that came so far, what has not been told yet."""
    before = output.prompt or "" if ask.prompt and not told.began else ""
    fresh = [before + one.text[told.texts.get(one.index, 0) :] for one in output.outputs]
    found = {"text_output": np.array([text.encode() for text in fresh], object)}
    counts = [len(one.token_ids) - told.ids.get(one.index, 0) for one in output.outputs]
    made = {
        "return_finish_reason": lambda: np.array([str(one.finish_reason).encode() for one in output.outputs], object),
        "return_cumulative_logprob": lambda: np.array([one.cumulative_logprob for one in output.outputs], np.float32),
        "return_logprobs": lambda: np.array([_logprobs(one, told) for one in output.outputs], object),
        "return_num_input_tokens": lambda: np.array([len(output.prompt_token_ids)], np.uint32),
        "return_num_output_tokens": lambda: np.array(counts, np.uint32),
    }
    found |= {keys.RETURNS[name]: made[name]() for name in ask.returns}
    told.began = True
    for one in output.outputs:
        told.texts[one.index], told.ids[one.index] = len(one.text), len(one.token_ids)
        told.chances[one.index] = len(one.logprobs or ())
    return found


def _logprobs(one: Any, told: Told) -> bytes:
    if one.logprobs is None:
        return b"null"
    rows = [
        {index: {"logprob": found.logprob, "rank": found.rank, "decoded_token": found.decoded_token}
         for index, found in row.items()}
        for row in one.logprobs[told.chances.get(one.index, 0) :]
    ]  # fmt: skip
    return json.dumps(rows).encode()


def _flag(arrays: Mapping[str, np.ndarray], name: str, default: bool) -> bool:
    return bool(np.asarray(arrays[name]).reshape(-1)[0]) if name in arrays else default


def _text(array: np.ndarray) -> str:
    value = np.asarray(array).reshape(-1)[0]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
