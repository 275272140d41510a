"""The arithmetic of a large transformer: what its weights and its cache take, and what its ranks say for every id."""

from __future__ import annotations

from accelkit.models.gpt.layout import Sizes

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
CHOSEN = 8
"""Bytes of an id as the last stage tells it to the others."""


def cut(sizes: Sizes) -> int:
    """How many numbers of the weights ranks and stages share out among them; each rank holds an equal part."""
    return sizes.layers * (4 * sizes.width**2 + 2 * sizes.width * sizes.inner + 3 * sizes.width + sizes.inner)


def weights(sizes: Sizes, ranks: int = 1, data_type: str = "fp32") -> int:
    """Bytes of the weights on all ranks together: the cut ones once, norms and other biases, and the embeddings, as copies."""
    copies = ranks * 6 * sizes.width * sizes.layers
    tables = ranks * (sizes.vocabulary + sizes.positions) * sizes.width + sizes.vocabulary * sizes.width
    return BYTES[data_type] * (cut(sizes) + copies + tables)


def cache(sizes: Sizes, rows: int, ids: int, data_type: str = "fp32") -> int:
    """Bytes of the key-value cache on all ranks together, for so many rows of so many ids, prompts included."""
    return 2 * sizes.layers * rows * ids * sizes.width * BYTES[data_type]


def said(sizes: Sizes, ranks: int, stages: int, data_type: str = "fp32") -> dict[str, int]:
    """Bytes that a rank hands into each kind of call that it makes, for one new id of one row.

    all_reduce: two for each layer of the stage; all_gather: the last stage's part of the logits, float32; send: to the next
    stage; broadcast: the chosen id, back to the others.
    """
    each = sizes.width * BYTES[data_type]
    found = (
        {"all_reduce": 2 * (sizes.layers // stages) * each, "all_gather": -(-sizes.vocabulary // ranks) * 4}
        if ranks > 1
        else {}
    )
    return found | ({"send": each, "broadcast": CHOSEN} if stages > 1 else {})
