"""Ways to run one network, in turns in one process without a server: `python -m accelkit.torchfiles.timing ORDER.json`.

The order is {"module", "weights", "ways": {name: "eager", "compile" or a file of PyTorch}, "inputs": NPY of [N, ...],
"batches": [...], "seconds", "repeats", "device", and "engines": true where a file has TensorRT's}. It prints one line of
JSON: by batch and way the rates, inferences a second, one for each repeat, the seconds of the first call, and how far the
outputs are from the first way's without TF32.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelkit import program
from accelkit.errors import ModelError


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Return {"torch", "gpu", BATCH: {WAY: {"rates", "first_s", "far"} or {"error"}}}; the order of the ways rotates."""
    try:
        import numpy as np
        import torch
    except ModuleNotFoundError as error:
        raise ModelError(f"measuring PyTorch needs the package {error.name}, which is not installed here") from None
    device = order["device"]
    inputs = torch.from_numpy(np.load(order["inputs"])).to(device)
    calls = {name: opened(torch, order, way, device) for name, way in order["ways"].items()}
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    found: dict[str, Any] = {"torch": torch.__version__, "gpu": gpu}
    with torch.inference_mode():
        for batch in order["batches"]:
            parts = [inputs[start : start + batch] for start in range(0, len(inputs) - batch + 1, batch)]
            found[str(batch)] = _interleaved(torch, calls, parts, order["seconds"], order["repeats"])
    return found


def opened(torch: Any, order: dict[str, Any], way: str, device: str) -> Callable[[Any], Any] | str:
    """Return what runs a way on tensors of the device, or why it cannot."""
    from accelkit.torchfiles import networks, plain

    try:
        if way in ("eager", "compile"):
            network = networks.restore(order["module"], Path(order["weights"])).to(device)
            return torch.compile(network) if way == "compile" else network
        if way.endswith(".pt2"):
            run = plain.opened(way).run
            return lambda inputs: run([inputs])[0]
        if order.get("engines"):
            import torch_tensorrt  # noqa: F401 - brings the class of engines
        return torch.jit.load(way, map_location=device).eval()
    except Exception as error:
        return " ".join(str(error).split())[:300] or type(error).__name__


def _interleaved(torch: Any, calls: dict[str, Any], parts: list[Any], seconds: float, repeats: int) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    able: dict[str, Callable[[Any], Any]] = {}
    right = None
    for name, call in calls.items():
        try:
            if isinstance(call, str):
                raise RuntimeError(call)
            started = time.perf_counter()
            made = _settled(torch, call, parts[0])
            first = time.perf_counter() - started
            right = _exact(torch, call, parts[0]) if right is None else right
            far = float((made.float() - right.float()).abs().max() / right.abs().max())
            rows[name] = {"rates": [], "first_s": round(first, 3), "far": far}
            able[name] = call
            for part in parts[:3]:
                _settled(torch, call, part)
        except Exception as error:
            rows[name] = {"error": " ".join(str(error).split())[:300]}
    names = list(able)
    for repeat in range(repeats if names else 0):
        turn = repeat % len(names)
        for name in [*names[turn:], *names[:turn]]:
            count, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds or count < 3:
                _settled(torch, able[name], parts[count % len(parts)])
                count += 1
            rows[name]["rates"].append(round(count * len(parts[0]) / (time.perf_counter() - started), 2))
    return rows


def _settled(torch: Any, call: Callable[[Any], Any], part: Any) -> Any:
    """The output of one call, after the GPU has done its work; some ways wrap it into a tuple."""
    made = call(part)
    if part.is_cuda:
        torch.cuda.synchronize()
    return made[0] if isinstance(made, (tuple, list)) else made


def _exact(torch: Any, call: Callable[[Any], Any], part: Any) -> Any:
    """The output of one call whose convolutions keep FP32, which PyTorch computes in TF32 on a GPU unless told not to."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        return _settled(torch, call, part)
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def main(arguments: list[str]) -> int:
    """Print what was measured, or the reason for nothing."""
    return program.run(lambda words: run(json.loads(Path(words[0]).read_text())), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
