"""Rules about the backend tensorrt: where it runs, and which CUDA graphs an instance captures and uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from accelkit.backends.key import Refused
from accelkit.lint.subject import Subject

Found = Iterator[tuple[str, str]]


def as_json(it: Subject) -> dict[str, Any]:
    """The configuration as the backend is given it."""
    from google.protobuf import json_format

    return json_format.MessageToDict(it.config, preserving_proto_field_name=True)


def _plan_cpu(it: Subject) -> Found:
    for group in it.config.instance_group:
        if group.Kind.Name(group.kind) == "KIND_CPU":
            yield "KIND_CPU", "an instance_group of KIND_CPU"


def _plan_profile(it: Subject) -> Found:
    for group in it.config.instance_group:
        for name in group.profile:
            if not re.match(r"\s*\+?\d", name, re.ASCII):
                yield "profile", f'profile "{name}", which is no number'


def _plan_allocation(it: Subject) -> Found:
    key = it.table.ALLOCATION
    if it.era in key.eras and it.parameters.get(key.name, key.default) not in it.table.STRATEGIES:
        yield key.name, f'{key.name} "{it.parameters[key.name]}"'


def _plan_graph_spec(it: Subject) -> Found:
    from accelkit.backends.tensorrt import graphs

    try:
        graphs.specs(as_json(it))
    except Refused as reason:
        yield "graph_spec", f"a graph_spec that is refused: {reason}"


def _plan_graphs_few(it: Subject) -> Found:
    from accelkit.backends.tensorrt import graphs

    cuda, largest = it.config.optimization.cuda, it.config.max_batch_size
    if cuda.graphs and not cuda.graph_spec and it.config.HasField("dynamic_batching") and largest > 1:
        sizes = graphs.usual(as_json(it), largest)
        if len(sizes) < min(largest, 3):
            yield "graphs", f"CUDA graphs of the batches {', '.join(map(str, sizes))} alone"


def _plan_graphs_unused(it: Subject) -> Found:
    cuda = it.config.optimization.cuda
    if cuda.graph_spec and not cuda.graphs:
        yield "graph_spec", "a graph_spec without graphs: true"
    if cuda.graphs and not it.config.max_batch_size:
        yield "graphs", "graphs with max_batch_size 0"
    for spec in cuda.graph_spec if cuda.graphs else ():
        if spec.HasField("graph_lower_bound") and not spec.input:
            yield "graph_lower_bound", "a graph_lower_bound in a graph_spec without shapes of its inputs"
