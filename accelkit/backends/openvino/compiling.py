"""A read model compiled for its device, with its part of what several instances share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import openvino as ov
from openvino import properties

from accelkit.backends.key import Key, Refused
from accelkit.backends.openvino import keys
from accelkit.backends.openvino.reading import attempt

_HINTS = {name.lower(): name for name in ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")}
_STREAMS = {"auto": properties.streams.Num.AUTO, "numa": properties.streams.Num.NUMA}


def core(config: Mapping[str, Any]) -> ov.Core:
    """OpenVINO with the configuration's library of operators."""
    made, library = ov.Core(), keys.EXTENSION.text(config)
    if library:
        attempt(" loading custom CPU extensions", made.add_extension, library)
    return made


def device(config: Mapping[str, Any]) -> str:
    """OpenVINO's device for a configuration."""
    return (keys.DEVICE.text(config) or keys.DEVICE.default).upper()


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """OpenVINO's properties for what the configuration sets; Refused for a value that the official backend refuses."""
    found: dict[str, Any] = {}
    for key, name in ((keys.THREADS, properties.inference_num_threads()),
                      (keys.COMPILE_THREADS, properties.compilation_num_threads())):  # fmt: skip
        if text := _lower(key, config):
            found[name] = _number(key, text, "a non-negative number")
    if text := _lower(keys.BF16, config):
        if text != "yes":
            raise Refused(f"expected the parameter '{keys.BF16.name}' to be YES, got {text}")
        found[properties.hint.inference_precision()] = ov.Type.bf16
    if text := _lower(keys.STREAMS, config):
        known = _STREAMS.get(text)
        found[properties.num_streams()] = (
            known if known is not None else _number(keys.STREAMS, text, "either AUTO/NUMA/<int_value>")
        )
    if text := _lower(keys.HINT, config):
        if text not in _HINTS:
            raise Refused(f"expected the parameter '{keys.HINT.name}' to be {'/'.join(_HINTS.values())}, got {text}")
        found[properties.hint.performance_mode()] = _HINTS[text]
    return found


def _lower(key: Key, config: Mapping[str, Any]) -> str:
    return (key.text(config) or "").lower()


def _number(key: Key, text: str, wanted: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise Refused(f"expected the parameter '{key.name}' to be {wanted}, got {text}")
    if int(text) >= 2**31:
        raise Refused("ModelInstanceState::Create exception")
    return int(text)


def compiled(core: ov.Core, model: ov.Model, config: Mapping[str, Any], profile: bool) -> ov.CompiledModel:
    """The model compiled as the configuration asks, for one of its instances.

    The official backend has one compiled model with an infer request for each instance. Here every instance is a process
    with a compiled model of its own, so each of several takes one stream, with that stream's part of the threads; where
    there are more instances than streams, they part the threads among themselves, as if there were as many streams.
    """
    target, chosen = device(config), settings(config)
    core.available_devices  # noqa: B018 - loads the devices' libraries, which then check what is set
    for name, value in chosen.items():
        attempt("configuring openvino core", core.set_property, target, {name: value})
    batching = bool(config.get("max_batch_size")) and not keys.yes(keys.SKIP_BATCHING, config)
    options: dict[str, Any] = {properties.hint.allow_auto_batching(): batching}
    if profile:
        options[properties.enable_profiling()] = True
    made = attempt("loading model", core.compile_model, model, target, options)
    instances = sum(group["count"] for group in config["instance_group"])
    if instances == 1 or target != "CPU":
        return made
    parts = max(instances, int(made.get_property(properties.num_streams())))
    threads = int(made.get_property(properties.inference_num_threads()))
    options |= {
        properties.num_streams(): 1,
        properties.inference_num_threads(): max(1, threads // parts),
        properties.hint.enable_cpu_pinning(): False,  # every process would pin its threads to the first cores
    }
    return attempt("loading model", core.compile_model, model, target, options)
