"""A placed model in one process, no server: `python inprocess.py ORDER.json`, then a line with seconds for each measurement.

The order is {"backend", "repository", "model", "config", "feeds": {input: NPY of [N, batch, ...]}}. Every line is answered by
one of JSON: [[start, end], ...] in nanoseconds, of calls one after another. Nothing of the kit's own packages is needed, so
it runs in the interpreter of a backend. ONNX Runtime is called as its users call it, session.run; TensorRT has no such call
that copies, so the stand-in's instance stands for it, and for PyTorch too, whose copies are then the same as when served.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from accelkit.backends import host  # noqa: E402

Feed = dict[str, np.ndarray]


def onnxruntime(order: dict[str, Any]) -> Callable[[Feed], Any]:
    """Return session.run of the session that the stand-in would open."""
    from accelkit.backends.onnxruntime import session

    kind = order["config"]["instance_group"][0]["kind"].removeprefix("KIND_")
    place = session.Place(order["model"], str(Path(order["repository"], order["model"])), "1", kind=kind)
    opened = session.open_session(place, order["config"], [])
    return lambda feed: opened.run(None, feed)


class _Input:
    def __init__(self, name: str, array: np.ndarray):
        self.name, self.array = lambda: name, array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def to_dlpack(self) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def instance(order: dict[str, Any]) -> Callable[[Feed], Any]:
    """Return a request to the stand-in's own instance; its outputs are views of its memory."""
    utils = ModuleType("triton_python_backend_utils")
    quiet = {f"log_{kind}": lambda text: None for kind in ("info", "verbose")}
    loud = {f"log_{kind}": lambda text: print(text, file=sys.stderr) for kind in ("error", "warn")}
    utils.Logger = SimpleNamespace(**quiet, **loud)
    utils.Tensor = SimpleNamespace(from_dlpack=lambda name, array: (name, array))
    utils.TritonError = str
    utils.get_input_tensor_by_name = lambda request, name: next(one for one in request.inputs() if one.name() == name)
    utils.InferenceResponse = lambda tensors=None, error=None: dict(tensors) if error is None else sys.exit(error)
    sys.modules["triton_python_backend_utils"] = utils
    host.capsule = lambda array: array
    host.command_line = lambda: []
    backend = importlib.import_module(f"accelkit.backends.{order['backend']}.model").TritonPythonModel()
    group = order["config"]["instance_group"][0]
    kind = "GPU" if order["backend"] == "tensorrt" else group.get("kind", "KIND_AUTO").removeprefix("KIND_")
    if kind == "AUTO":
        import torch

        kind = "GPU" if torch.cuda.is_available() else "CPU"
    backend.initialize({
        "model_config": json.dumps(order["config"]), "model_name": order["model"], "model_version": "1",
        "model_repository": str(Path(order["repository"], order["model"])), "model_instance_name": f"{order['model']}_0_0",
        "model_instance_kind": kind, "model_instance_device_id": "0",
    })  # fmt: skip

    def infer(feed: Feed) -> Any:
        inputs = [_Input(name, array) for name, array in feed.items()]
        return backend.execute([SimpleNamespace(inputs=lambda: inputs, requested_output_names=list)])[0]

    return infer


def main() -> None:
    """Open the model, warm it up, say `ready`, then measure for each line."""
    faulthandler.enable()  # or a crash says nothing
    order = json.loads(Path(sys.argv[1]).read_text())
    arrays = {name: np.load(file) for name, file in order["feeds"].items()}
    feeds = [dict(zip(arrays, parts)) for parts in zip(*arrays.values())]
    infer = {"onnxruntime": onnxruntime}.get(order["backend"], instance)(order)
    for feed in (feeds * 3)[:8]:
        infer(feed)
    print("ready", flush=True)
    for line in sys.stdin:
        calls, end = [], time.time_ns() + int(float(line) * 1e9)
        while (started := time.time_ns()) < end:
            infer(feeds[len(calls) % len(feeds)])
            calls.append((started, time.time_ns()))
        print(json.dumps(calls), flush=True)


if __name__ == "__main__":
    main()
