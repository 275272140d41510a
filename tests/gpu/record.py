"""Record what the GPU paths do on this machine: `python tests/gpu/record.py NAME [STEP]...`, done steps are skipped.

Each step is one interleaved run of every GPU path that is here, the CUDA provider's default (TF32 allowed) its baseline, and
becomes notebooks/recorded/NAME_STEP.json with the raw exports beside it; tests/test_recorded.py computes its rows anew. At
batch 16 the CUDA provider and TensorRT's plans are measured without a server too, in the same run.
A step whose record was made by the same code and configs on the same machine is left alone, so a run that was cut off goes
on where it stopped. Plans come from the cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from accelkit import comparison, interpreters, machine, models, paths, recorded, repository
from accelkit.budget import BUDGETS
from accelkit.measure import bench, result
from accelkit.measure.bench import Load
from accelkit.models import batches, named

BASELINE = "onnxruntime-cuda:tf32"


INPROCESS = Path(__file__).with_name("inprocess.py")


@dataclass(frozen=True)
class Step:
    """A load, how often every path takes it, and which paths are measured without a server too."""

    load: Load
    repeats: int
    inside: tuple[str, ...] = ()


STEPS = {
    "batch16": Step(Load(16, 2), 5, ("onnxruntime-cuda", "tensorrt")),
    "batch1": Step(Load(1, 2), 3),
    "batch64": Step(Load(64, 2), 3),
    "batch256": Step(Load(256, 2), 3),
}


def on_gpu(model: models.Model) -> list[str]:
    """Every GPU path that is here, in every precision of the model, as PATH:PRECISION."""
    here = machine.probe()
    able = [paths.get(name) for name in paths.names() if paths.get(name).GPU]
    able = [path for path in able if path.unavailable(here, model) is None]
    return [f"{path.NAME}:{precision}" for path in able for _, precision in paths.chosen(path.NAME, model)]


def done(file: Path, model: models.Model, specs: Iterable[str]) -> bool:
    """Whether a record holds every spec, by the code of now and on this machine."""
    if not file.exists():
        return False
    rows = {f"{row.path}:{row.precision['requested']}": row for row in result.read(file)}
    line = machine.probe().line()
    for spec in specs:
        row, path = rows.get(spec), paths.one(spec, model)[0]
        if not row or row.where["machine"]["line"] != line or row.provenance["code"] != comparison.code(path, model):
            return False
    return True


@contextmanager
def inside(
    spec: str, model: models.Model, batch: int, seconds: float, folder: Path
) -> Iterator[Callable[[], bench.Run]]:
    """What measures a path in a process of its backend's interpreter, without a server, while the context lasts."""
    path, precision = paths.one(spec, model)
    fitted = paths.fitted(path, machine.probe(), batch, model.max_batch)
    store = folder / spec.replace(":", "-")
    placed = paths.place(path, model, store, precision, **fitted)
    parts = [*batches(model, model.samples("test", 4 * batch).inputs, batch)]
    feeds = {}
    for tensor in model.inputs:
        feeds[tensor.name] = str(store / f"{len(feeds)}.npy")
        np.save(feeds[tensor.name], np.stack([named(model.inputs, part)[tensor.name] for part in parts]))
    config = json_format.MessageToDict(repository.read(placed.directory), preserving_proto_field_name=True)
    order = store / "order.json"
    order.write_text(
        json.dumps(
            {
                "backend": path.BACKEND,
                "repository": str(store),
                "model": placed.directory.name,
                "config": config,
                "feeds": feeds,
            }
        )
    )
    executable, env = interpreters.start(interpreters.name(path.NAME, path.BACKEND))
    with subprocess.Popen(
        [executable, str(INPROCESS), str(order)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as child:

        def measure() -> bench.Run:
            print(seconds, file=child.stdin, flush=True)
            calls = json.loads(child.stdout.readline())
            requests = [{"timestamp": start, "response_timestamps": [end]} for start, end in calls]
            one = {"experiment": {"mode": "concurrency", "value": 1}, "requests": requests, "window_boundaries": []}
            return bench.rows({"experiments": [one], "service_kind": "in-process"}, batch)[0]

        if child.stdout.readline() != "ready\n":
            sys.exit(f"{spec} cannot be measured without a server: its process said why above")
        yield measure
        child.stdin.close()


def record(
    name: str, steps: Sequence[str], model: models.Model, specs: Sequence[str], baseline: str, folder: Path
) -> list[Path]:
    """Make the records of the steps that are not done; return their files."""
    made = []
    for step in steps:
        file = folder / f"{name}_{step}.json"
        if not done(file, model, specs):
            with tempfile.TemporaryDirectory(prefix="accelkit-record-") as out:
                rows = measured(STEPS[step], model, specs, baseline, Path(out))
                recorded.keep(file.stem, rows, Path(out), folder)
            for row in rows:
                print(step, row.label, row.status, row.reason or f"{row.speed['throughput']:.0f} infer/s", flush=True)
        made.append(file)
    return made


def measured(step: Step, model: models.Model, specs: Sequence[str], baseline: str, out: Path) -> list[result.Result]:
    """Return the rows of one step; the raw exports are in `out`."""
    limits = replace(BUDGETS["quick"], repeats=step.repeats)
    with ExitStack() as stack:
        beside = {
            paths.label(*spec.split(":")): stack.enter_context(
                inside(spec, model, step.load.batch, limits.window_s, out)
            )
            for spec in specs
            if spec.split(":")[0] in step.inside
        }
        given = {"baseline": baseline, "load": step.load, "out": out, "limits": limits, "inside": beside}
        return comparison.compare(model, specs, **given)


def main() -> None:
    """Record the steps named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", help="what the records are called, such as h200")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{', '.join(STEPS)} (default: all)")
    given = parser.parse_args()
    if unknown := set(given.steps) - set(STEPS):
        parser.error(f"no step {', '.join(sorted(unknown))}: there are {', '.join(STEPS)}")
    model = models.get("text_recognition", "full")
    specs = on_gpu(model)
    if not specs:
        sys.exit("no path that runs on a GPU is here: `accelkit paths` says what each lacks")
    record(given.name, given.steps or list(STEPS), model, specs, BASELINE, recorded.FOLDER)


if __name__ == "__main__":
    main()
