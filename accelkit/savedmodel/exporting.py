"""The way out: an ONNX file of a SavedModel, by the package tf2onnx."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from accelkit.errors import ModelError
from accelkit.savedmodel import api, converting, reading

OPSET = 17


def onnx(source: Path, target: Path, opset: int = OPSET, signature: str = reading.DEFAULT) -> dict[str, Any]:
    """Write the ONNX file of a signature and return its facts; ModelError for what is missing or cannot be expressed.

    Inputs and outputs keep the names of the signature, and the batch stays free.
    """
    ports = converting.served(source, signature)
    tf = api.load()
    try:
        import tf2onnx
    except ImportError:
        raise ModelError("an ONNX file needs the package tf2onnx: pip install 'accelkit[tensorflow]'") from None
    started = time.perf_counter()
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(source), "--signature_def", signature]
    command += ["--output", str(target), "--opset", str(opset)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode or not target.is_file():
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise ModelError(f"tf2onnx cannot express {source.name} in opset {opset}: {said[-1]}")
    return {
        "tf2onnx": tf2onnx.__version__,
        "tensorflow": tf.__version__,
        "opset": opset,
        "seconds": round(time.perf_counter() - started, 2),
        "inputs": sorted(ports.inputs),
        "outputs": sorted(ports.outputs),
    }
