"""Record what the GPU paths do on this machine: `python tests/gpu/record.py NAME [STEP]...`, done steps are skipped.

Each step is one interleaved run of those of its paths that are here and becomes notebooks/recorded/NAME_STEP.json with the raw
exports beside it; tests/test_recorded.py computes its rows anew. The steps batch* hold ONNX Runtime's and TensorRT's paths
against the CUDA provider's default (TF32 allowed), the steps torch* PyTorch's against TorchScript. Some paths are measured
without a server too, in the same run. `--awake` keeps the cores of a virtual machine awake while they are measured
(tests/gpu/awake.py) and is written into every row.

A step whose record was made by the same code and configs on the same machine is left alone, so a run that was cut off goes
on where it stopped. Files come from the cache; `--build PATH:PRECISION` makes those of one path and no more, so that what
takes minutes to compile can be made beforehand, several at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from google.protobuf import json_format

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from accelkit import comparison, interpreters, machine, models, paths, recorded, repository
from accelkit.budget import BUDGETS
from accelkit.errors import AccelkitError, MeasureError
from accelkit.measure import bench, result
from accelkit.measure.bench import Load
from accelkit.models import files, named
from tests.gpu.awake import awake

INPROCESS = Path(__file__).with_name("inprocess.py")
SAMPLES = 4096
"""Pictures of the test split by which each row's accuracy is judged: all of them."""


@dataclass(frozen=True)
class Step:
    """Paths as PATH or PATH:PRECISION, the baseline among them; a load and how often each takes it; settings of their configs.

    `in_process` are measured without a server too.
    """

    paths: tuple[str, ...]
    baseline: str
    load: Load
    repeats: int
    in_process: tuple[str, ...] = ()
    settings: Mapping[str, int] = field(default_factory=dict)

    def of(self, specs: Iterable[str]) -> list[str]:
        """Return those of PATH:PRECISION that the step records."""
        return [spec for spec in specs if {spec, spec.partition(":")[0]} & {*self.paths}]


PROVIDERS = (("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"), "onnxruntime-cuda:tf32")
PYTORCH = (("pytorch", "pytorch-aoti", "torch-tensorrt:tf32", "torch-tensorrt:fp16"), "pytorch:fp32")
CALLED = ("pytorch", "pytorch-aoti", "torch-tensorrt")
"""TorchScript, compiled and with TensorRT: also as PyTorch's users call a model, without a server."""

STEPS = {
    "batch16": Step(*PROVIDERS, Load(16, 2), 5, ("onnxruntime-cuda", "tensorrt")),
    "batch1": Step(*PROVIDERS, Load(1, 2), 3),
    "batch64": Step(*PROVIDERS, Load(64, 2), 3),
    "batch256": Step(*PROVIDERS, Load(256, 2), 3),
    "torch16": Step(*PYTORCH, Load(16, 2), 5, CALLED),
    # A GPU waits while its instance copies, so others must compute meanwhile.
    "torch256": Step(*PYTORCH, Load(256, 8), 3, CALLED, {"instances": 4}),
}


def on_gpu(model: models.Model) -> list[str]:
    """Every GPU path that is here, in every precision of the model, as PATH:PRECISION."""
    here = machine.probe()
    able = [paths.get(name) for name in paths.names() if paths.get(name).GPU and here.gpus]
    able = [path for path in able if path.unavailable(here, model) is None]
    return [f"{path.NAME}:{precision}" for path in able for _, precision in paths.chosen(path.NAME, model)]


def done(file: Path, step: Step, model: models.Model, specs: Iterable[str]) -> bool:
    """Whether a record holds every spec, by the code, configs and packages of now and on this machine."""
    if not file.exists():
        return False
    rows = {f"{row.path}:{row.precision['requested']}": row for row in result.read(file)}
    now = comparison.where(None)
    for spec in specs:
        row, (path, precision) = rows.get(spec), paths.one(spec, model)
        if not row or row.provenance["code"] != comparison.code(path, model):
            return False
        made_by = comparison.built_by(path, model, precision)
        if (
            row.provenance.get("builders", made_by) != made_by
        ):  # a record from before they were kept is not held to them
            return False
        config = path.config(model, precision=precision, **_fitted(path, model, step))
        if row.provenance["config"] != files.digest(repository.text(config).encode()):
            return False
        if [row.where[part] for part in ("machine", "versions")] != [now[part] for part in ("machine", "versions")]:
            return False
        if bool(row.speed.get("in_process")) != (path.NAME in step.in_process):
            return False
    return True


def _fitted(path: paths.Path, model: models.Model, step: Step) -> dict[str, int]:
    return paths.fitted(path, machine.probe(), step.load.batch, model.max_batch, **step.settings)


def build(spec: str, model: models.Model, step: Step, repository: Path) -> paths.Placed:
    """Put a path's model into a repository as a step measures it; its file comes from the cache or goes there."""
    path, precision = paths.one(spec, model)
    return paths.place(path, model, repository, precision, **_fitted(path, model, step))


@contextmanager
def in_process(
    spec: str, model: models.Model, step: Step, seconds: float, folder: Path
) -> Iterator[Callable[[], bench.Run]]:
    """What measures a path in a process of its interpreter, without a server, while the context lasts.

    A process that does not open the model, or ends, is a MeasureError when it is to measure.
    """
    path, _ = paths.one(spec, model)
    store, batch = folder / spec.replace(":", "-"), step.load.batch
    placed = build(spec, model, step, store)
    feeds, served = {}, paths.as_served(model, repository.read(placed.directory))
    for name, array in named(served.inputs, model.samples("test", 4 * batch).inputs).items():
        feeds[name] = str(store / f"{len(feeds)}.npy")
        whole = len(array) // batch
        np.save(feeds[name], array[: whole * batch].reshape(whole, batch, *array.shape[1:]))
    config = json_format.MessageToDict(repository.read(placed.directory), preserving_proto_field_name=True)
    order = {"backend": path.BACKEND, "repository": str(store), "model": placed.directory.name}
    (store / "order.json").write_text(json.dumps({**order, "config": config, "feeds": feeds}))
    executable, env = interpreters.launcher(interpreters.name(path.NAME, path.BACKEND))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env, "text": True}
    child = subprocess.Popen([executable, str(INPROCESS), str(store / "order.json")], **pipes)
    child.stdout.readline()  # it is ready, or has ended

    def measure() -> bench.Run:
        try:
            print(seconds, file=child.stdin, flush=True)
            return bench.of_calls(json.loads(child.stdout.readline()), batch)
        except (OSError, ValueError):
            raise MeasureError(f"{spec} cannot be measured without a server: its process said why above") from None

    try:
        yield measure
    finally:
        child.communicate()  # the end of its input ends it; one that has ended is no error


def record(
    name: str,
    steps: Sequence[str],
    model: models.Model,
    specs: Sequence[str],
    folder: Path,
    kept_awake: bool = False,
) -> list[Path]:
    """Make the records of the steps that are not done; return their files."""
    made = []
    for step in steps:
        file, mine = folder / f"{name}_{step}.json", STEPS[step].of(specs)
        if not mine:
            print(f"{step}: none of its paths is here")
            continue
        if not done(file, STEPS[step], model, mine):
            with tempfile.TemporaryDirectory(prefix="accelkit-record-") as out:
                with awake() if kept_awake else nullcontext():
                    rows = measured(STEPS[step], model, mine, Path(out))
                if kept_awake:
                    rows = [replace(row, provenance={**row.provenance, "cores": "kept awake"}) for row in rows]
                recorded.keep(file.stem, rows, Path(out), folder)
            for row in rows:
                print(step, row.label, row.status, row.reason or f"{row.speed['throughput']:.0f} infer/s", flush=True)
        made.append(file)
    return made


def measured(step: Step, model: models.Model, specs: Sequence[str], out: Path) -> list[result.Result]:
    """Return the rows of one step; the raw exports are in `out`."""
    limits = replace(BUDGETS["quick"], repeats=step.repeats, samples=SAMPLES)
    with ExitStack() as stack:
        own = {
            paths.label(*spec.split(":")): stack.enter_context(in_process(spec, model, step, limits.window_s, out))
            for spec in specs
            if spec.split(":")[0] in step.in_process
        }
        given = {"baseline": step.baseline, "load": step.load, "out": out, "limits": limits, "settings": step.settings}
        return comparison.compare(model, specs, in_process=own, **given)


def beforehand(spec: str, model: models.Model, steps: Sequence[str]) -> None:
    """Build a path's files for the steps, so that they come from the cache; one line to standard error where that fails."""
    for step in steps:
        with tempfile.TemporaryDirectory(prefix="accelkit-record-") as folder:
            try:
                placed = build(spec, model, STEPS[step], Path(folder))
            except AccelkitError as error:
                sys.exit(f"{step}: {error}")
        print(f"{step}: {spec} is there, made in {placed.seconds:.0f} s", flush=True)


def main() -> None:
    """Record the steps named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", help="what the records are called, such as h200")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{', '.join(STEPS)} (default: all)")
    parser.add_argument("--awake", action="store_true", help="keep the cores awake")
    parser.add_argument(
        "--build", metavar="PATH:PRECISION", help="build this path's files for the steps, and record nothing"
    )
    given = parser.parse_args()
    if unknown := set(given.steps) - set(STEPS):
        parser.error(f"no step {', '.join(sorted(unknown))}: there are {', '.join(STEPS)}")
    model = models.get("text_recognition", "full")
    if given.build:
        return beforehand(given.build, model, given.steps or list(STEPS))
    specs = on_gpu(model)
    if not specs:
        sys.exit("no path that runs on a GPU is here: `accelkit paths` says what each lacks")
    record(given.name, given.steps or list(STEPS), model, specs, recorded.FOLDER, given.awake)


if __name__ == "__main__":
    main()
