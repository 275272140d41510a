"""What an instance ran: the nodes and, on a GPU, the kernels of one more execution of its last inputs, as TensorFlow traces them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelkit.backends.tensorflow.run import Runner
from accelkit.errors import ModelError
from accelkit.savedmodel import reading

TYPES = {1: "float32", 2: "float64", 3: "int32", 9: "int64", 10: "bool", 14: "bfloat16", 19: "float16"}


def write(path: Path, runner: Runner) -> None:
    """Write it as JSON: {"tensorflow", "executions", "segments", "devices": {device: [{"name", "label", "type", "microseconds"}]}}.

    What fails becomes "error": an instance at its end has nobody to tell.
    """
    facts: dict[str, Any] = {"tensorflow": runner.found.tf.__version__, "executions": runner.executions, "devices": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if runner.last is not None:
            metadata = _traced(runner)
            facts["segments"] = _segments(runner, metadata)
            for device in metadata.step_stats.dev_stats:
                facts["devices"].setdefault(device.device, []).extend(map(_node, device.node_stats))
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {error}"
    path.write_text(json.dumps(facts, indent=1))


def _traced(runner: Runner) -> Any:
    v1, found = runner.found.tf.compat.v1, runner.found
    feed = {found.inputs[name]: array for name, array in (runner.last or {}).items()}
    for last in (
        False,
        False,
        True,
    ):  # the first ones warm the clocks; a graph holds all weights, so it is asked for once
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=last)
        metadata = v1.RunMetadata()
        found.session.run(list(found.outputs.values()), feed, options=options, run_metadata=metadata)
    return metadata


def _segments(runner: Runner, metadata: Any) -> dict[str, Any]:
    """What TensorRT has of the graph: of what the session made of it, or of the file where its engines stay in functions."""
    functions: dict[str, Any] = {}
    own: tuple[Any, ...] = ()  # on all devices
    try:
        for graph in reading.graphs(runner.found.directory):
            functions |= graph.functions
    except ModelError:
        pass  # a frozen graph
    for graph in metadata.partition_graphs:
        found = reading.nodes(memoryview(graph.SerializeToString()))
        own += found.pop("")
        functions |= found
    if reading.holds_engines(own):  # the functions that held them are part of it now
        functions = {name: part for name, part in functions.items() if not reading.holds_engines(part)}
    return reading.segments(reading.Graph((), {}, functions | {"": own}))


def _node(stats: Any) -> dict[str, Any]:
    kinds = [TYPES.get(output.tensor_description.dtype, "other") for output in stats.output[:1]]
    time = stats.op_end_rel_micros - stats.op_start_rel_micros
    return {
        "name": stats.node_name,
        "label": stats.timeline_label[:300],
        "type": (kinds or [""])[0],
        "microseconds": time if time > 0 else stats.all_end_rel_micros,
    }
