"""What the name of a GPU's kernel says: whether it multiplies matrices or convolves, and in which precision."""

from __future__ import annotations

import re

_MULTIPLIES = re.compile(r"gemm|conv|fprop|dgrad|wgrad|xmma|cutlass|winograd|mma|cudnn|sm\d\d_", re.IGNORECASE)
_MOVES = re.compile(r"^(\S+ )?triton_(poi|per|red)_|nchwtonhwc|nhwctonchw", re.IGNORECASE)
"""Kernels that bear the name of a convolution and only move its data or add to it."""
_PRECISIONS = (
    ("tf32", r"tf32"),
    ("int8", r"i8i8|imma|int8"),
    ("bf16", r"bf16"),
    ("fp16", r"f16|fp16|half|h884|h1688|hmma|hgemm"),
    ("tf32", r"s1688|s16816"),  # tensor cores that take 32-bit floats
    ("fp32", r"f32f32|sgemm|scudnn|ffma|fp32|float"),
)


def multiplies(name: str) -> bool:
    """Return whether a kernel multiplies matrices or convolves; the others move data or add."""
    return bool(_MULTIPLIES.search(name)) and not _MOVES.search(name)


def precision(name: str) -> str:
    """Return the precision in the name of a kernel of cuDNN, cuBLAS, CUTLASS or TensorRT; unseen where it names none."""
    found = (of for of, pattern in _PRECISIONS if re.search(pattern, name, re.IGNORECASE))
    return next(found, "unseen")
