"""Record what the GPU paths do on this machine: `python tests/gpu/record.py NAME [STEP]...`, done steps are skipped.

Each step is one interleaved run of every GPU path that is here, the CUDA provider's default (TF32 allowed) its baseline, and
becomes notebooks/recorded/NAME_STEP.json with the raw exports beside it; tests/test_recorded.py computes its rows anew.
A step whose record was made by the same code and configs on the same machine is left alone, so a run that was cut off goes
on where it stopped. Plans come from the cache.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelkit import comparison, machine, models, paths, recorded
from accelkit.budget import BUDGETS
from accelkit.measure import result
from accelkit.measure.bench import Load

BASELINE = "onnxruntime-cuda:tf32"


@dataclass(frozen=True)
class Step:
    """A load and how often every path takes it."""

    load: Load
    repeats: int


STEPS = {
    "batch16": Step(Load(16, 2), 5),
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


def record(
    name: str, steps: Sequence[str], model: models.Model, specs: Sequence[str], baseline: str, folder: Path
) -> list[Path]:
    """Make the records of the steps that are not done; return their files."""
    made = []
    for step in steps:
        file = folder / f"{name}_{step}.json"
        if not done(file, model, specs):
            limits = replace(BUDGETS["quick"], repeats=STEPS[step].repeats)
            with tempfile.TemporaryDirectory(prefix="accelkit-record-") as out:
                given = {"baseline": baseline, "load": STEPS[step].load, "out": Path(out), "limits": limits}
                rows = comparison.compare(model, specs, **given)
                recorded.keep(file.stem, rows, Path(out), folder)
            for row in rows:
                print(step, row.label, row.status, row.reason or f"{row.speed['throughput']:.0f} infer/s", flush=True)
        made.append(file)
    return made


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
