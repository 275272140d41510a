"""What is made once for a batch of one size: its context, views of the memory, copies, and a CUDA graph if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import graphs as rule
from accelkit.backends.tensorrt.contexts import Profile, Shape

Key = tuple[int, tuple[Shape, ...]]


@dataclass(frozen=True)
class Ready:
    """All that an execution of some shapes needs: context, graph if there is one, views of the host, copies to make."""

    profile: Profile
    shapes: dict[str, Shape]
    graph: Any
    turn: int
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    copies_in: list[tuple[int, int, int]]
    copies_out: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Graph:
    """A captured graph: batch and shapes that it computes, and the least that it takes."""

    ready: Any
    key: Key
    least: Key


def flat(key: Key) -> tuple[int, ...]:
    """All sizes of a key in a row, as the official backend compares them."""
    return (key[0], *(size for shape in key[1] for size in shape))


def shapes_of(profile: Profile, spec: rule.Spec, inputs: list[str]) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Shapes that a graph computes and the least that it takes; those of the profile where the spec gives none."""
    if not spec.shapes:
        best = {name: ((spec.batch, *shape[1:]) if spec.batch else shape) for name, shape in profile.best.items()}
        # The official backend compares the batch's dimension too: with the default shapes only the same one fits.
        return best, best
    unknown = [name for name in inputs if name not in spec.shapes]
    if unknown:
        raise Refused(f"trt failed to set input shape for unknown input '{unknown[0]}'")
    front, low = ((spec.batch,), (spec.least,)) if spec.batch else ((), ())
    return {name: front + spec.shapes[name] for name in inputs}, {
        name: low + spec.least_shapes[name] for name in inputs
    }
