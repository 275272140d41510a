"""Rules about the backend tensorflow: what its parameters and accelerators may say, and what a SavedModel beside it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from accelkit.errors import ModelError
from accelkit.lint.subject import Subject
from accelkit.savedmodel import reading

Found = Iterator[tuple[str, str]]


def _tf_platform(it: Subject) -> Found:
    platform = it.config.platform
    if platform and platform not in it.table.FILES:
        yield platform, f'platform "{platform}"'
    elif not platform and it.versions():
        there = any((version / name).exists() for version in it.versions() for name in it.table.FILES.values())
        if not there:
            yield "backend", f"no platform, and no {' or '.join(it.table.FILES.values())} that would tell it"


def _tf_value(it: Subject) -> Found:
    for key, least in ((it.table.INTRA_THREADS, 0), (it.table.SHARE_COUNT, 1)):
        match = re.match(r"\s*([+-]?\d+)", it.parameters.get(key.name, key.default), re.ASCII)
        if match and int(match[1]) < least:
            yield key.name, f'{key.name} is "{it.parameters[key.name]}"'


def _tf_accelerator(it: Subject) -> Found:
    for name, _ in it.accelerators("cpu"):
        yield name, f'cpu_execution_accelerator "{name}"'
    listed = [] if it.on_cpu else [name for name, _ in it.accelerators("gpu")]
    for name in listed:
        if name not in it.table.ACCELERATORS:
            yield name or "gpu_execution_accelerator", f'gpu_execution_accelerator "{name}"'
    if {it.table.TENSORRT, it.table.MIXED} <= set(listed):
        yield it.table.MIXED, f"{it.table.MIXED} beside {it.table.TENSORRT}"


def _tf_tensorrt_parameter(it: Subject) -> Found:
    numbers = {key.name for key in it.table.TENSORRT_KEYS if key.type == "int"}
    for name, parameters in () if it.on_cpu else it.accelerators("gpu"):
        for key, value in sorted(parameters.items()) if name == it.table.TENSORRT else ():
            if key in numbers and not re.match(r"\s*[+-]?\d", value, re.ASCII):
                yield key, f'{key} "{value}", which is no number'
            elif key == it.table.PRECISION_MODE.name and value not in it.table.PRECISIONS:
                yield key, f'{key} "{value}"'
            elif key not in numbers and key != it.table.PRECISION_MODE.name:
                yield key, f'parameter "{key}" of the accelerator {name}'


def _tf_accelerator_ignored(it: Subject) -> Found:
    for name, parameters in () if it.on_cpu else it.accelerators("gpu"):
        if name in (it.table.GPU_IO, it.table.MIXED):
            for key in sorted(parameters):
                yield key, f'parameter "{key}" of the accelerator {name}'


def asks_tensorrt(it: Subject) -> bool:
    """Whether instances on a GPU are to have the accelerator tensorrt."""
    return not it.on_cpu and it.table.TENSORRT in [name for name, _ in it.accelerators("gpu")]


def _tf_first_requests(it: Subject) -> Found:
    if asks_tensorrt(it) and not it.config.model_warmup and not any(_tf_calls_only(it)):
        yield it.table.TENSORRT, f"the accelerator {it.table.TENSORRT} without model_warmup"


def _tf_xla_on_cpu(it: Subject) -> Found:
    level = it.config.optimization.graph.level
    if level > 0 and it.on_cpu:
        yield "level", f"optimization graph level {level} on instances of KIND_CPU"


def saved(it: Subject) -> Iterator[tuple[Path, reading.Graph | None, list[reading.Graph], str]]:
    """Each SavedModel beside the config: its graph of the tag that is served, all its graphs, why it cannot be read."""
    for version in it.versions() if it.config.platform != it.table.GRAPH_DEF else ():
        path = version / (it.config.default_model_filename or it.table.FILES[it.table.SAVED_MODEL])
        if not path.exists():
            continue
        try:
            found = reading.graphs(path)
        except ModelError as error:
            yield path, None, [], str(error).partition(": ")[2]
            continue
        tag = it.parameters.get(it.table.GRAPH_TAG.name) or reading.SERVE
        yield path, reading.tagged(found, tag), found, ""


def _tf_saved_model(it: Subject) -> Found:
    for path, _, _, reason in saved(it):
        if reason and not (path / "saved_model.pbtxt").exists():
            yield "backend", f"{path.name} in version {path.parent.name} is no SavedModel: {reason}"


def asked(it: Subject, graph: reading.Graph) -> tuple[str, list[str]]:
    """The name of the signature that is asked for, and of those that the graph has."""
    name = it.parameters.get(it.table.SIGNATURE.name) or reading.DEFAULT
    return name, [known for known in graph.signatures if known not in reading.INTERNAL]


def _tf_calls_only(it: Subject) -> Found:
    for path, graph, _, _ in saved(it) if asks_tensorrt(it) else ():
        parts = graph.functions if graph is not None else {}
        own = {node.operator for node in parts.get("", ())}
        if (
            own & {*reading.CALLS}
            and own <= {*reading.PLUMBING}
            and not any(map(reading.holds_engines, parts.values()))
        ):
            yield it.table.TENSORRT, f"the accelerator {it.table.TENSORRT}, and {path.name} computes in functions alone"


def _tf_signature(it: Subject) -> Found:
    for path, graph, found, _ in saved(it):
        if found and graph is None:
            tags = "; ".join(",".join(one.tags) for one in found)
            tag = it.parameters.get(it.table.GRAPH_TAG.name) or reading.SERVE
            yield it.table.GRAPH_TAG.name, f'{path.name} without the tag "{tag}", it has {tags}'
        elif graph is not None:
            name, there = asked(it, graph)
            if name not in there and (not there or it.parameters.get(it.table.SIGNATURE.name)):
                yield (
                    it.table.SIGNATURE.name,
                    f'{path.name} without the signature "{name}", it has {", ".join(there) or "none"}',
                )


def _tf_other_signature(it: Subject) -> Found:
    for path, graph, _, _ in saved(it):
        if graph is not None and not it.parameters.get(it.table.SIGNATURE.name):
            name, there = asked(it, graph)
            if there and name not in there:
                yield "backend", f'{path.name} without "{name}": one of {", ".join(there)} is served'


def _tf_tensors(it: Subject) -> Found:
    for _, graph, _, _ in saved(it):
        name, there = asked(it, graph) if graph is not None else ("", [])
        if graph is None or name not in there:
            continue
        signature = graph.signatures[name]
        for side, listed, ports in (
            ("input", it.config.input, signature.inputs),
            ("output", it.config.output, signature.outputs),
        ):
            for io in listed:
                if io.name not in ports:
                    yield io.name, f'{side} "{io.name}", the signature "{name}" has {", ".join(ports)}'
