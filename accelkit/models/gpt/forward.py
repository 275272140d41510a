"""The reference: a GPT-2 in NumPy, float32, with a key-value cache. A test holds it against transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accelkit.models.gpt.layout import Sizes

State = Mapping[str, np.ndarray]
Cache = list[tuple[np.ndarray, np.ndarray]]


def logits(state: State, sizes: Sizes, ids: np.ndarray, cache: Cache | None = None) -> np.ndarray:
    """Logits float32 [N, L, vocabulary] after every id of [N, L]; a cache, empty at first, holds what came before."""
    cache = [] if cache is None else cache
    past = cache[0][0].shape[2] if cache else 0
    count, length = ids.shape
    hidden = state["wte.weight"][ids] + state["wpe.weight"][past : past + length]
    later = np.triu(np.full((length, past + length), -np.inf, np.float32), past + 1)
    for layer in range(sizes.layers):
        at = f"h.{layer}."
        normed = _norm(hidden, state, at + "ln_1", sizes.epsilon)
        joined = normed @ state[at + "attn.c_attn.weight"] + state[at + "attn.c_attn.bias"]
        parts = [
            part.reshape(count, length, sizes.heads, sizes.head).swapaxes(1, 2) for part in np.split(joined, 3, -1)
        ]
        query, key, value = parts
        if layer < len(cache):
            key, value = (np.concatenate(pair, axis=2) for pair in zip(cache[layer], (key, value)))
            cache[layer] = (key, value)
        else:
            cache.append((key, value))
        weights = query @ key.swapaxes(2, 3) / np.float32(np.sqrt(sizes.head)) + later
        weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        mixed = mixed.swapaxes(1, 2).reshape(count, length, sizes.width)
        hidden = hidden + mixed @ state[at + "attn.c_proj.weight"] + state[at + "attn.c_proj.bias"]
        inner = _norm(hidden, state, at + "ln_2", sizes.epsilon) @ state[at + "mlp.c_fc.weight"]
        inner = _gelu(inner + state[at + "mlp.c_fc.bias"])
        hidden = hidden + inner @ state[at + "mlp.c_proj.weight"] + state[at + "mlp.c_proj.bias"]
    return _norm(hidden, state, "ln_f", sizes.epsilon) @ state.get("lm_head.weight", state["wte.weight"]).T


def greedy(state: State, sizes: Sizes, prompt: Sequence[int], count: int, end: int | None = None) -> list[int]:
    """The next `count` ids, the likeliest one each time; none after `end`."""
    cache: Cache = []
    found: list[int] = []
    ids = np.array([prompt])
    while len(found) < count and (not found or found[-1] != end):
        found.append(int(logits(state, sizes, ids, cache)[0, -1].argmax()))
        ids = np.array([found[-1:]])
    return found


def perplexity(state: State, sizes: Sizes, ids: np.ndarray) -> float:
    """Of a stream of ids, its first given; each is scored once, with at least half a window before it where there is one."""
    window = sizes.positions
    total, scored, start = 0.0, 0, 0
    while scored < len(ids) - 1:
        part = ids[start : start + window + 1]
        found = logits(state, sizes, part[None, :-1])[0].astype(np.float64)
        fresh = slice(scored - start, len(part) - 1)
        top = found[fresh].max(axis=-1)
        norm = top + np.log(np.exp(found[fresh] - top[:, None]).sum(axis=-1))
        total += float((norm - found[fresh][np.arange(len(norm)), part[1:][fresh]]).sum())
        scored += len(norm)
        start += window // 2
    return float(np.exp(total / scored))


def _norm(values: np.ndarray, state: State, name: str, epsilon: float) -> np.ndarray:
    centred = values - values.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(epsilon))
    return centred / spread * state[name + ".weight"] + state[name + ".bias"]


def _gelu(values: np.ndarray) -> np.ndarray:
    """GELU with the hyperbolic tangent, as GPT-2 has it."""
    cube = values * values * values
    return values * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (values + np.float32(0.044715) * cube))) / 2
