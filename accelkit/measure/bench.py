"""Throughput and latency by perf_analyzer, computed from its export's own timestamps, which are kept."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
import time
import timeit
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.errors import MeasureError
from accelkit.measure.timing import Run, TooShort, rows
from accelkit.models import batches, named

if TYPE_CHECKING:
    from accelkit.models import Model
    from accelkit.serving import Server

WINDOWS = 3
STRETCH = 1.2
"""perf_analyzer lets every window last this much longer than its measurement interval."""
LEAST = 20
"""Requests that a run should at least hold; slow models get up to LONGER times the window for it."""
LONGER = 4
EXPORTED = 200e6
"""Bytes of inputs that a run should send at most: perf_analyzer writes them into its export as text, which takes long."""
SHORT = ("time window", "--measurement-interval", "failed to find the requested model version", "only one request")
"""What perf_analyzer says when none or one ended in a window; the third, when the server's counters did not move in it."""
BEFORE: list[str] = []
"""Words before perf_analyzer's command line, such as those of taskset, which keep the load generator off the model's CPUs."""
_FLAT = rb'\{[^{}"]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^{}"]*)*\}'  # texts may hold brackets
TENSORS = re.compile(rb'"(?:request_inputs|response_outputs)":(?:%s|\[(?:%s,?)*\]),?' % (_FLAT, _FLAT))


@dataclass(frozen=True)
class Load:
    """Rows in a request, requests in flight, and the protocol, grpc or http."""

    batch: int = 16
    concurrency: int = 2
    protocol: str = "grpc"


@dataclass(frozen=True)
class Candidate:
    """A name and what measures it once."""

    name: str
    measure: Callable[[], Run]


def inputs_file(model: Model, path: Path, count: int = 64) -> Path:
    """Write the model's first test inputs for --input-data (JSON, base64, one row each) and return the path."""
    arrays = named(model.inputs, model.samples("test", count).inputs)
    rows = zip(*([(name, row) for row in array] for name, array in arrays.items()))
    data = [{name: {"b64": b64encode(x.tobytes()).decode(), "shape": [*x.shape]} for name, x in row} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"data": data}))
    return path


def command(
    name: str,
    url: str,
    load: Load,
    data: Path | str,
    seconds: float,
    export: Path | str | None = None,
    streaming: bool = False,
) -> list[str]:
    """Return the perf_analyzer command line of one run, for the shell or, through text(), for a reader.

    Three windows that together last `seconds`, whatever they show; its own search for stability stops where it likes.
    `streaming` is for a decoupled model, which answers a request in several parts.
    """
    line = ["perf_analyzer", "-m", name, "-u", url, "-i", load.protocol, "-b", str(load.batch)]
    line += ["--concurrency-range", str(load.concurrency), "--input-data", str(data)]
    line += ["--measurement-interval", str(round(seconds * 1000 / WINDOWS / STRETCH))]
    line += ["--max-trials", str(WINDOWS), "--stability-percentage", "100000"]
    line += ["--streaming"] if streaming else []
    return line + (["--profile-export-file", str(export)] if export else [])


def text(line: Sequence[str]) -> str:
    """Return a command line as text that can be copied, one option to a line."""
    parts: list[str] = []
    for word in line:
        if word.startswith("-") or not parts:
            parts.append(shlex.quote(word))
        else:
            parts[-1] += " " + shlex.quote(word)
    return " \\\n    ".join(parts)


def run(server: Server, name: str, load: Load, data: Path, seconds: float, streaming: bool = False) -> Run:
    """Load a served model for `seconds` with perf_analyzer and read its export; MeasureError if it fails.

    A run that is too short for its requests (a busy machine), or left nothing, is made again, twice as long, up to four times.
    """
    from accelkit import toolchain

    tools = toolchain.ensure(progress=False)
    url = server.grpc if load.protocol == "grpc" else server.http
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env["LD_LIBRARY_PATH"] = ":".join([*map(str, tools.analyzer_libs), env.get("LD_LIBRARY_PATH", "")]).rstrip(":")
    output = ""
    for length in (seconds * 2**again for again in range(5)):
        with tempfile.TemporaryDirectory(prefix="accelkit-bench-") as folder:
            export = Path(folder, "export.json")
            line = [*BEFORE, str(tools.perf_analyzer), *command(name, url, load, data, length, export, streaming)[1:]]
            limit = 3 * length + 60
            try:
                done = subprocess.run(line, capture_output=True, text=True, env=env, timeout=limit)
            except subprocess.TimeoutExpired:
                raise MeasureError(f"perf_analyzer did not end within {limit:.0f} s: model {name} on {url}") from None
            content = export.read_bytes() if export.exists() else b""
        if done.returncode == 0 and (content or SHORT[-1] not in done.stdout):
            try:
                return rows(_slim(content, name), load.batch)[0]
            except TooShort as error:
                output = f"error: {error}"
        else:
            output = done.stderr + done.stdout
            if not any(word in output for word in SHORT):
                break
    raise MeasureError(f"perf_analyzer cannot measure model {name} on {url}: {_reason(output)}")


def _reason(output: str) -> str:
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()] or ["it said nothing"]
    telling = re.compile(r"had error:|^error:|^No valid|^Failed to obtain", re.IGNORECASE)
    noise = r"^(?:Thread \[\d+\] had )?error: |\[request id: <id_unknown>\] "
    return re.sub(noise, "", next(filter(telling.search, lines), lines[0]))


def _slim(content: bytes, name: str) -> dict[str, Any]:
    """Parse an export without the tensors that some versions repeat for every request (they are in the inputs file)."""
    content = re.sub(rb",(?=\})", b"", TENSORS.sub(b"", content))
    try:
        return json.loads(content)
    except ValueError:
        what, cannot = f"perf_analyzer's export for model {name} is", "NaN or infinity, which it cannot write"
        if not content:
            raise TooShort(f"{what} empty: no request ended in time, or it met {cannot}") from None
        raise MeasureError(f"{what} cut short: it met {cannot}") from None


def seconds_for(server: Server, name: str, model: Model, load: Load, window: float) -> tuple[float, float]:
    """Warm a served model up and return (seconds to measure it for, milliseconds of its first request)."""
    batch = named(model.inputs, next(batches(model, model.samples("test", load.batch).inputs, load.batch)))
    first = timeit.timeit(lambda: server.infer(name, batch), number=1, timer=time.perf_counter)
    size, clients = sum(array.nbytes for array in batch.values()), load.concurrency
    with ThreadPoolExecutor(clients) as pool:
        every = partial(pool.map, server.infer, [name] * clients, [batch] * clients)
        turn = min(timeit.repeat(lambda: list(every()), repeat=3, number=1, timer=time.perf_counter))
    least = max(LEAST / clients, 2 * WINDOWS) * turn  # clients wait for each other: in no window may nothing end
    return max(min(window, EXPORTED / size / clients * turn), min(least, LONGER * window)), first * 1e3


def served(
    server: Server, name: str, load: Load, data: Path, seconds: float, streaming: bool = False
) -> Callable[[], Run]:
    """Return what measures a served model once, for a Candidate."""
    return lambda: run(server, name, load, data, seconds, streaming)


def inprocess(model: Model, threads: int | None, batch: int, seconds: float) -> Callable[[], Run]:
    """Return what measures the model in this process on ONNX Runtime's CPU provider, one call after another, no server.

    `threads` None is ONNX Runtime's default.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(model.onnx(), options, providers=["CPUExecutionProvider"])
    return timed(lambda inputs: session.run(None, named(model.inputs, inputs)), model, batch, seconds)


def timed(infer: Callable[[Any], object], model: Model, batch: int, seconds: float) -> Callable[[], Run]:
    """Return what measures `infer` (inputs [batch, ...] as the model's samples are) in this process, call after call.

    The export has perf_analyzer's form and is recomputed like any other.
    """
    parts = [*batches(model, model.samples("test", max(batch, 64)).inputs, batch)]
    parts = [part for part in parts if len(next(iter(named(model.inputs, part).values()))) == batch]
    if not parts:
        raise MeasureError(f"a batch of {batch} is more than the samples of model {model.name}")

    def measure() -> Run:
        calls: list[tuple[int, int]] = []
        end = time.time_ns() + int(seconds * 1e9)
        while (started := time.time_ns()) < end:
            infer(parts[len(calls) % len(parts)])
            calls.append((started, time.time_ns()))
        return of_calls(calls, batch)

    return measure


def of_calls(calls: Sequence[tuple[int, int]], batch: int) -> Run:
    """Return the Run of calls one after another, each (start, end) in nanoseconds, of `batch` rows."""
    requests = [{"timestamp": start, "response_timestamps": [end]} for start, end in calls]
    experiment = {"experiment": {"mode": "concurrency", "value": 1}, "requests": requests, "window_boundaries": []}
    return rows({"experiments": [experiment], "service_kind": "in-process"}, batch)[0]


def interleave(
    candidates: Sequence[Candidate],
    repeats: int,
    progress: Callable[[str], object] | None = None,
    broken: dict[str, str] | None = None,
) -> dict[str, list[Run]]:
    """Measure every candidate once per repeat, the order rotating, so that drift of the machine hits all alike.

    A candidate that cannot be measured is left out from then on, its reason in `broken`; without `broken` it raises.
    """
    runs: dict[str, list[Run]] = {candidate.name: [] for candidate in candidates}
    for repeat in range(repeats):
        turn = repeat % len(candidates)
        for candidate in (one for one in [*candidates[turn:], *candidates[:turn]] if one.name in runs):
            try:
                runs[candidate.name].append(made := candidate.measure())
            except MeasureError as error:
                if broken is None:
                    raise
                broken[candidate.name] = str(error)
                del runs[candidate.name]
                continue
            if progress:
                found = f"{made.throughput:.1f} infer/s, p50 {made.p50_ms:.2f} ms"
                progress(f"{repeat + 1}/{repeats} {candidate.name}: {found}")
    return runs
