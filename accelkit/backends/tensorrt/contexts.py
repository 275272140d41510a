"""One execution context for each optimization profile of an instance, and the choice among them for a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import cuda, keys
from accelkit.backends.tensorrt.plan import Place, Plan
from accelkit.backends.tensorrt.tensors import Tensor, dims_of, text

Shape = tuple[int, ...]


@dataclass
class Profile:
    """A context: each input's least, best and largest shape, the last one bounded by the configuration; its shapes now."""

    name: str
    index: int
    context: Any
    least: dict[str, Shape]
    best: dict[str, Shape]
    most: dict[str, Shape]
    now: dict[str, Shape] = field(default_factory=dict)

    def takes(self, name: str, shape: Shape) -> str | None:
        """What is wrong with the shape of an input; None when the profile covers it."""
        low, high = self.least[name], self.most[name]
        if len(shape) != len(high):
            return f"model expected {len(high)} dimensions but received {len(shape)} dimensions"
        for index, (size, small, large) in enumerate(zip(shape, low, high)):
            if not small <= size <= large:
                return f"model expected the shape of dimension {index} to be between {small} and {large} but received {size}"
        return None

    def set(self, shapes: Mapping[str, Shape]) -> None:
        """Give the context the shapes of its inputs; Refused when TensorRT does not take them."""
        for name, shape in shapes.items():
            if self.now.get(name) != shape:
                if not self.context.set_input_shape(name, shape):
                    self.now.pop(name, None)
                    raise Refused(f"trt failed to set binding dimension to {text(shape)} for input '{name}'")
                self.now[name] = shape

    def distance(self, shapes: Mapping[str, Shape]) -> int | None:
        """How far shapes are from the best ones, counted as the official backend counts it; None when they do not fit."""
        total = 0
        for name, shape in shapes.items():
            if self.takes(name, shape):
                return None
            best = self.best[name]
            # The official backend compares each size behind the first with its left neighbour.
            total += abs(best[0] - shape[0]) + sum(abs(best[at] - shape[at - 1]) for at in range(1, len(best)))
        return total


def wanted(place: Place, config: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Names and indices of the profiles that the group of an instance lists; the first one when it lists none."""
    groups = [group for group in config.get("instance_group") or [] if place.instance.startswith(group.get("name", ""))]
    own: Mapping[str, Any] = max(groups, key=lambda group: len(group.get("name", "")), default={})
    return [(name, number(name)) for name in own.get("profile") or []] or [("default", 0)]


def number(name: str) -> int:
    """A profile's index, read as the C++ function stoi reads it."""
    match = re.match(r"\s*([+-]?\d+)", name, re.ASCII)
    if match is None:
        raise Refused(f"unable to parse '{name}': stoi" if name else "profile name must not be empty")
    return int(match[1])


def open_profiles(
    place: Place, config: Mapping[str, Any], plan: Plan, known: Mapping[str, Tensor], stream: Any, log: Any
) -> list[Profile]:
    """A context for each profile, given its largest shapes; Refused when the plan has no such profile or no memory."""
    found: dict[int, Profile] = {}
    for name, index in wanted(place, config):
        if index in found:
            log.log_warn(
                f"{name} maps to profile index {index} which has been mapped by {found[index].name}, existing optimization "
                "profile will be reused"
            )
            continue
        context = _context(config, plan)
        if context is None:
            raise Refused(f"unable to create TensorRT context: {plan.log.last}")
        count = plan.engine.num_optimization_profiles
        if index and not (0 < index < count and context.set_optimization_profile_async(index, int(stream))):
            raise Refused(
                f"Can not set the specified optimization profile {name}[{index}] for {place.instance}. Expected optimization "
                f"profile index range 0-{count - 1}"
            )
        cuda.synchronize(stream)
        shapes = {
            name: [tuple(int(size) for size in shape) for shape in plan.engine.get_tensor_profile_shape(name, index)]
            for name, tensor in known.items()
            if tensor.is_input
        }
        least, best, most = ({key: value[at] for key, value in shapes.items()} for at in range(3))
        found[index] = Profile(name, index, context, least, best, most)
        _bound(place, config, found[index])
    return [found[index] for index in sorted(found)]


def _context(config: Mapping[str, Any], plan: Plan) -> Any:
    strategy, trt = keys.ALLOCATION.text(config), plan.trt
    if strategy not in (None, *keys.STRATEGIES):
        raise Refused(
            f"Invalid value for '{keys.ALLOCATION.name}': '{strategy}' for model instance '{config['name']}'. Supported values "
            "are 'STATIC' and 'ON_PROFILE_CHANGE'."
        )
    if hasattr(trt, "ExecutionContextAllocationStrategy"):
        return plan.engine.create_execution_context(
            getattr(trt.ExecutionContextAllocationStrategy, strategy or "STATIC")
        )
    if strategy == "ON_PROFILE_CHANGE":
        raise Refused(f"'{keys.ALLOCATION.name}' ON_PROFILE_CHANGE needs TensorRT 10, this is {trt.__version__}")
    return plan.engine.create_execution_context()


def _bound(place: Place, config: Mapping[str, Any], profile: Profile) -> None:
    """Take what the configuration fixes, and its largest batch, as the largest shapes, and set them."""
    batch = int(config.get("max_batch_size") or 0)
    for entry in config["input"]:
        name = entry["name"]
        full = ([-1] if batch else []) + dims_of(entry)
        most = profile.most[name]
        inside = tuple(low if size == -1 else size for size, low in zip(full, profile.least[name]))
        if wrong := profile.takes(name, inside):
            raise Refused(
                f"model configuration specified invalid shape for input '{name}' for model {place.model}. Error details: {wrong}"
            )
        bounded = [large if size == -1 else size for size, large in zip(full, most)]
        if batch:
            bounded[0] = min(most[0], batch)
        profile.most[name] = tuple(bounded)
    profile.set(profile.most)


def choose(profiles: Sequence[Profile], shapes: Mapping[str, Shape], log: Any) -> Profile:
    """The profile whose best shapes are nearest; where none fits, the first, which then refuses the request."""
    if len(profiles) == 1:
        return profiles[0]
    far = [(profile.distance(shapes), profile) for profile in profiles]
    fitting = [(distance, profile) for distance, profile in far if distance is not None]
    if not fitting:
        listed = "".join(f" {profile.name}[{profile.index}]" for profile in profiles)
        log.log_error(
            f"failed to find any Optimization Profile among [{listed}] to support the requested dimensions (or shape values), "
            "proceeding with first profile."
        )
        return profiles[0]
    return min(fitting, key=lambda one: one[0])[1]
