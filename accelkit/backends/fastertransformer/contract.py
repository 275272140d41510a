"""The tensors of the official backend's GPT: names, types, and what a request says with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.backends.fastertransformer import keys
from accelkit.backends.key import Refused
from accelkit.models.gpt.layout import Sizes

IDS, LENGTHS, COUNT = keys.NEEDED["input"]
OUTPUT, LENGTH, INPUT_LENGTHS, CUMULATIVE, LOG_PROBS, _ = keys.OUTPUTS
PROMPT_LEARNING = (
    "prompt_learning_task_name_ids", "request_prompt_embedding", "request_prompt_lengths", "request_prompt_type"
)  # fmt: skip
DECAY = ("top_p_decay", "top_p_min", "top_p_reset_ids")
TOP_K_MAX = 1024
"""What the official kernels can sort."""


@dataclass(frozen=True)
class Row:
    """One prompt: its ids, how many to add, and how they are drawn."""

    ids: tuple[int, ...]
    count: int
    end: int
    top_k: int = 0
    top_p: float = 0.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[tuple[int, ...], ...] = ()
    bad: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Ask:
    """A request: its rows, the width of its input_ids, and whether it wants probabilities."""

    rows: tuple[Row, ...]
    width: int
    log_probs: bool


def check(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that lacks what every request needs, or has a tensor that the backend does not know."""
    for side, known in (("input", keys.INPUTS), ("output", keys.OUTPUTS)):
        there = {io["name"]: io["data_type"].removeprefix("TYPE_") for io in config.get(side) or []}
        for name in keys.NEEDED[side]:
            if name not in there:
                raise Refused(f"the configuration has no {side} '{name}', which a GPT of this backend has")
        for name, kind in there.items():
            if name not in known:
                raise Refused(f"the configuration has {side} '{name}', which is none of {', '.join(known)}")
            if kind != known[name]:
                raise Refused(f"{side} '{name}' is {known[name]} with this backend, the configuration has TYPE_{kind}")


def ask(arrays: Mapping[str, np.ndarray], sizes: Sizes, end: int) -> Ask:
    """What a request's arrays ask for, `end` where it has no end_id; Refused for what cannot be or is not in the stand-in."""
    ids = _matrix(arrays[IDS], IDS)
    rows = len(ids)
    lengths, counts = (_column(arrays, name, rows, 0) for name in (LENGTHS, COUNT))
    _refuse(arrays, rows)
    ends = _column(arrays, "end_id", rows, end)
    tops, nucleus = _column(arrays, "runtime_top_k", rows, 0), _column(arrays, "runtime_top_p", rows, 0.0)
    warm, penalty = _column(arrays, "temperature", rows, 1.0), _column(arrays, "repetition_penalty", rows, 1.0)
    seeds = _column(arrays, "random_seed", rows, 0)
    words = {name: _words(arrays.get(name), rows, name) for name in ("stop_words_list", "bad_words_list")}
    found = []
    for row in range(rows):
        length, count = int(lengths[row]), int(counts[row])
        if not 1 <= length <= ids.shape[1]:
            raise Refused(
                f"{LENGTHS} is {length}, but {IDS} holds {ids.shape[1]} ids for a row, and one at least is needed"
            )
        if count < 1:
            raise Refused(f"{COUNT} is {count}: ask for one id at least")
        if length + count > sizes.positions:
            raise Refused(
                f"{length} ids and {COUNT} {count} make {length + count}, more than the {sizes.positions} positions "
                "(max_pos_seq_len) of the checkpoint: shorten one of them"
            )
        taken = ids[row, :length]
        if int(taken.max()) >= sizes.vocabulary:
            raise Refused(f"{IDS} holds {int(taken.max())}, the vocabulary ends at {sizes.vocabulary - 1}")
        if not 0 <= tops[row] <= TOP_K_MAX:
            raise Refused(f"runtime_top_k is {int(tops[row])}: the largest is {TOP_K_MAX}")
        if not 0 <= nucleus[row] <= 1:
            raise Refused(f"runtime_top_p is {nucleus[row]:g}: it is a probability, 0 to 1")
        if not warm[row] > 0 or not penalty[row] > 0:
            raise Refused(f"temperature {warm[row]:g} and repetition_penalty {penalty[row]:g} must be above 0")
        found.append(
            Row(tuple(taken.tolist()), count, int(ends[row]), int(tops[row]), float(nucleus[row]), float(warm[row]),
                float(penalty[row]), int(seeds[row]), words["stop_words_list"][row], words["bad_words_list"][row])
        )  # fmt: skip
    wanted = bool(np.any(arrays.get("is_return_log_probs", False)))
    return Ask(tuple(found), ids.shape[1], wanted)


def _refuse(arrays: Mapping[str, np.ndarray], rows: int) -> None:
    """Refuse what only the official kernels do."""
    if (width := int(_column(arrays, "beam_width", rows, 1).max())) != 1:
        raise Refused(f"beam_width {width} is not in this stand-in: write 1, beam search is the official backend's")
    if np.any(arrays.get("is_return_context_embeddings", False)):
        raise Refused("is_return_context_embeddings is not in this stand-in: leave it out or false")
    for name in (*PROMPT_LEARNING, *DECAY):
        if name in arrays:
            raise Refused(f"{name} is not in this stand-in: leave it out")


def _matrix(values: np.ndarray, name: str) -> np.ndarray:
    """Rows of ids; a model without a batch dimension sends one row alone."""
    found = np.asarray(values).astype(np.int64)
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise Refused(f"{name} has shape {list(np.shape(values))}: it is [batch, length], with one id at least")
    return found


def _column(arrays: Mapping[str, np.ndarray], name: str, rows: int, default: float) -> np.ndarray:
    """One value for each row, the default where the request has none."""
    if name not in arrays:
        return np.full(rows, default)
    values = np.asarray(arrays[name]).reshape(-1)
    if len(values) not in (1, rows):
        raise Refused(f"{name} has {len(values)} values for {rows} rows: give one for each")
    return np.broadcast_to(values, (rows,))


def _words(values: np.ndarray | None, rows: int, name: str) -> list[tuple[tuple[int, ...], ...]]:
    """For each row the words, each some ids: the first line holds all ids, the second where each word ends, -1 where none."""
    if values is None:
        return [()] * rows
    lists = np.asarray(values)
    lists = lists[None] if lists.ndim == 2 else lists
    if lists.ndim != 3 or lists.shape[1] != 2 or len(lists) not in (1, rows):
        raise Refused(
            f"{name} has shape {list(np.shape(values))}: it is [batch, 2, length], ids above the ends of words"
        )
    found = []
    for ids, ends in np.broadcast_to(lists, (rows, *lists.shape[1:])).tolist():
        stops = [0, *(end for end in ends if end > 0)]
        found.append(tuple(tuple(ids[start:end]) for start, end in zip(stops, stops[1:]) if end > start))
    return found


def over(row: Row, fresh: Sequence[int]) -> bool:
    """Whether a row is complete: its number of ids, its end, or a stop word, which may begin in the prompt."""
    if len(fresh) >= row.count or fresh[-1] == row.end:
        return True
    told = (*row.ids, *fresh) if row.stop else ()
    return any(told[-len(word) :] == word for word in row.stop)
