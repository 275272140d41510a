"""Which CUDA graphs an instance captures, by the official rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import keys

Shapes = dict[str, tuple[int, ...]]
USUAL = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True)
class Spec:
    """A graph to capture: its batch, the inputs' shapes without it (none for the profile's best), and the least of both."""

    batch: int
    shapes: Shapes = field(default_factory=dict)
    least: int = 0
    least_shapes: Shapes = field(default_factory=dict)


def specs(config: Mapping[str, Any]) -> list[Spec]:
    """The graphs to capture; none when the configuration wants none."""
    largest, written = int(config.get("max_batch_size") or 0), keys.GRAPH_SPEC.items(config)
    if not keys.GRAPHS.boolean(config):
        return []
    if not written:
        return [Spec(batch, least=batch) for batch in usual(config, largest)]
    found = [_written(entry) for entry in written]
    for spec in found:
        _check(spec, largest)
    return found


def usual(config: Mapping[str, Any], largest: int) -> list[int]:
    """The batches of the graphs that are captured when the configuration names none."""
    sizes = {1} if largest else {0}
    batchers = (config.get("dynamic_batching"), (config.get("sequence_batching") or {}).get("oldest"))
    batcher = next((one for one in batchers if one is not None), None)
    if batcher is not None:
        sizes |= {int(size) for size in batcher.get("preferred_batch_size") or ()}
    else:
        sizes |= set(USUAL)
    return sorted(size for size in sizes | {largest} if size <= largest)


def _shapes(entry: Mapping[str, Any]) -> Shapes:
    return {name: tuple(int(size) for size in value["dim"]) for name, value in (entry.get("input") or {}).items()}


def _written(entry: Mapping[str, Any]) -> Spec:
    batch, shapes, bound = int(entry.get("batch_size") or 0), _shapes(entry), entry.get("graph_lower_bound")
    if not bound:
        return Spec(batch, shapes, batch, shapes)
    return Spec(batch, shapes, int(bound.get("batch_size") or 0), _shapes(bound))


def _check(spec: Spec, largest: int) -> None:
    """Refuse what the official backend refuses, in its words."""
    if not largest and (spec.batch or spec.least):
        raise Refused("graph spec expects 'batch_size' to be 0 if 'max_batch_size' is 0")
    if largest and not (1 <= spec.batch <= largest and 1 <= spec.least <= largest):
        raise Refused(f"graph spec expects 'batch_size' to be >= 1 and <= {largest}")
    if spec.least > spec.batch:
        raise Refused("graph lower bound spec expects 'batch_size' to be <= graph spec 'batch_size'")
    for name, shape in spec.shapes.items():
        least = spec.least_shapes.get(name)
        if least is None:
            raise Refused(f"graph lower bound spec expects shape for input '{name}'")
        if len(least) != len(shape):
            raise Refused(f"graph lower bound spec expects to have '{len(shape)} dimensions, got {len(least)}")
        for low, high in zip(least, shape):
            if low < 0 or high < 0:
                raise Refused(f"graph spec expects input '{name}' to have dimension >= 0")
            if low > high:
                raise Refused(f"graph lower bound spec expects input '{name}' to have dimension <= {high}")
