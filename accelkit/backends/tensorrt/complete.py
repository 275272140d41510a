"""Auto-complete of a model configuration, as the official backend does it: from the plan, whatever is already there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import contexts
from accelkit.backends.tensorrt.plan import Place, Plan
from accelkit.backends.tensorrt.tensors import Tensor, dims_of, tensors


def complete(place: Place, config: Mapping[str, Any], plan: Plan, log: Any) -> dict[str, Any]:
    """The configuration with batching, inputs and outputs filled in; Refused when it says what the plan cannot do."""
    found, known = dict(config), tensors(plan)
    hint, shaped = _hint(place.model, found, known)
    largest = largest_batch(place.model, found, plan, known)
    if hint and not largest:
        raise Refused(
            f"autofill failed for model '{place.model}': model tensor shape configuration hints for dynamic batching but the "
            "underlying engine doesn't support batching."
        )
    if shaped and not hint:
        log.log_warn(f"The specified dimensions in model config for {place.model} hints that batching is unavailable")
        largest = 0
    found["max_batch_size"] = bounded(place.model, found, largest)
    if largest > 1 and "sequence_batching" not in found and "dynamic_batching" not in found:
        found["dynamic_batching"] = {}
    for side in ("input", "output"):
        own = [tensor for tensor in known.values() if tensor.is_input == (side == "input")]
        entries = {tensor.name: _entry(tensor, found["max_batch_size"] > 0) for tensor in own}
        if not found.get(side):
            found[side] = list(entries.values())
        else:
            found[side] = [_filled(entry, entries.get(entry["name"], {})) for entry in found[side]]
    return found


def bounded(model: str, config: Mapping[str, Any], largest: int) -> int:
    """max_batch_size of the configuration, or the plan's where it is 0; Refused when the plan takes less."""
    batch = int(config.get("max_batch_size") or 0)
    if batch > largest:
        raise Refused(
            f"autofill failed for model '{model}': configuration specified max-batch {batch} but TensorRT engine only supports "
            f"max-batch {largest}"
        )
    return batch or largest


def largest_batch(model: str, config: Mapping[str, Any], plan: Plan, known: Mapping[str, Tensor]) -> int:
    """The first size of every input's largest shape, over the profiles that the instance groups list."""
    count, indices = plan.engine.num_optimization_profiles, set()
    for group in config.get("instance_group") or []:
        for name in group.get("profile") or []:
            index = contexts.number(name)
            if not 0 <= index < count:
                raise Refused(
                    f"unable to autofill for '{model}', configuration specified invalid profile {name} . Number of profiles "
                    f"supported by TensorRT engine: {count}"
                )
            indices.add(index)
    inputs = [name for name, tensor in known.items() if tensor.is_input]
    shapes = [[plan.engine.get_tensor_profile_shape(name, index)[2] for name in inputs] for index in indices or {0}]
    return max(min(int(tuple(shape)[0]) for shape in profile) for profile in shapes)


def _hint(model: str, config: Mapping[str, Any], known: Mapping[str, Tensor]) -> tuple[bool, bool]:
    """Whether the shapes of the configuration lack the batch, and whether it has any."""
    hint = shaped = False
    for side in ("input", "output"):
        allowed = sorted(name for name, tensor in known.items() if tensor.is_input == (side == "input"))
        for entry in config.get(side) or []:
            if entry["name"] not in allowed:
                raise Refused(
                    f"unexpected inference {side} '{entry['name']}', allowed {side}s are: {', '.join(allowed)}"
                )
            if entry.get("allow_ragged_batch"):
                return True, shaped
            dims = dims_of(entry)
            if not dims:
                continue
            shaped = True
            batched = len(known[entry["name"]].shape) == len(dims) + 1
            if hint and not batched:
                raise Refused(
                    f"unable to autofill for '{model}', model tensor configurations are contradicting each other in terms of "
                    "whether batching is supported"
                )
            hint = hint or batched
    return hint, shaped


def _entry(tensor: Tensor, batched: bool) -> dict[str, Any]:
    dims = list(tensor.shape[1:] if batched else tensor.shape)
    entry: dict[str, Any] = {"name": tensor.name, "data_type": f"TYPE_{tensor.kind}", "dims": dims or [1]}
    if not dims:
        entry["reshape"] = {"shape": []}
    return entry


def _filled(entry: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the type and dims that it lacks."""
    found = dict(entry)
    if found.get("data_type") in (None, "", "TYPE_INVALID") and known:
        found["data_type"] = known["data_type"]
    if not found.get("dims") and known:
        found["dims"] = known["dims"]
        if "reshape" in known:
            found["reshape"] = known["reshape"]
    return found
