"""What TensorRT made of a model inside ONNX Runtime: its layers, as the log of the build names them.

No option of the provider reports the layers of an engine, so they are read where TensorRT writes them when asked for a
detailed log; beside a cached engine the report of its build is kept. ONNX Runtime 1.17 drops that log: there the size of the
engines must say in which type they hold the weights.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from accelkit.backends.onnxruntime.accelerators import TRUE
from accelkit.backends.onnxruntime.keys import BUILD_LOG, ENGINE_CACHE, ENGINES

_LAYER = re.compile(r"Layer\((\w+)\): (.*), Tactic: \S+, (.*)")
_TYPE = re.compile(r"\b([A-Z][A-Za-z]*\d*)(?=[(\[][-\d:,]*[)\]])")
KEPT = "layers.json"


def detailed(options: Mapping[str, str], report: Path) -> dict[str, str]:
    """The provider's options with the log of builds turned on, and a cache of engines beside the report where none is asked for."""
    own = {} if options.get(ENGINE_CACHE) else {ENGINES: TRUE, ENGINE_CACHE: str(report.with_suffix(".engines"))}
    return {**options, BUILD_LOG: TRUE, **own}


@contextmanager
def reported(options: Mapping[str, str], report: Path, model: Path) -> Iterator[None]:
    """Write a report of the engines that are built inside; of those taken from a cache, copy what is kept beside them.

    It is {"layers": [{"kind", "name", "type"}], "engines": {file: bytes}, "model": the ONNX file}.
    """
    cache = Path(options[ENGINE_CACHE])
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            with _standard_error(log.fileno()):
                yield
        except BaseException:
            log.seek(0)
            sys.stderr.writelines(line for line in log if "Error" in line or "ERROR" in line)
            raise
        log.seek(0)
        layers = read(log)
    kept = cache / KEPT
    if layers and cache.is_dir():
        fresh = cache / f".{os.getpid()}-{KEPT}"
        fresh.write_text(json.dumps(layers))
        fresh.replace(kept)
    elif kept.is_file():
        layers = json.loads(kept.read_text())
    engines = {file.name: file.stat().st_size for file in sorted(cache.glob("*.engine"))}
    report.write_text(json.dumps({"layers": layers, "engines": engines, "model": str(model)}, indent=1))


def read(lines: Iterator[str] | list[str]) -> list[dict[str, str]]:
    """Kind, name and element type of each layer in the lines of a log; the type is that of its first typed input."""
    layers = []
    for line in lines:
        if match := _LAYER.search(line):
            sources, _, targets = match[3].rpartition(" -> ")
            types = _TYPE.findall(sources) or _TYPE.findall(targets)
            layers.append({"kind": match[1], "name": match[2], "type": types[0] if types else "unknown"})
    return layers


@contextmanager
def _standard_error(target: int) -> Iterator[None]:
    """Lead what libraries write to standard error into a file."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
