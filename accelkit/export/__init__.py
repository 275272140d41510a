"""A path as a project of its own: model repository, client, test, compose file and README, none of which needs the kit."""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from accelkit import paths, repository, versions
from accelkit.errors import ConfigError
from accelkit.lint.rules import GONE
from accelkit.measure import parity, result
from accelkit.models import named

if TYPE_CHECKING:
    from accelkit.models import Model

HERE = Path(__file__).parent
COMMITTED = HERE.parents[1] / "model_repository"
SAMPLES = 16
BEST = "best"
STAYS = {
    "fastertransformer": "no image of NVIDIA has its backend, and a project needs one",
    "pytorch-aoti": "a package is for the PyTorch that made it, which no image holds: make it in NVIDIA's image, as lesson 08 shows",
}
"""Paths that no project is made of, and why."""


def export(
    model: Model,
    spec: str,
    folder: Path,
    results: Path = Path("build/compare/results.json"),
    say: Callable[[str], object] = lambda text: None,
) -> Path:
    """Write a project that serves `model` through `spec` (PATH, PATH:PRECISION, or best: the fastest one in `results`).

    Its samples hold the reference's outputs, and its test the tolerance of the precision, or of what hardware may
    make of it: the project may move to another machine. `say` gets the line that says which path is the best and why.
    ConfigError when the folder has something in it or the path cannot be built here; nothing is left behind then.
    """
    settings: dict[str, int] = {}
    best = None
    if spec == BEST:
        rows = proven(model, results)
        best = rows[0]
        say(f"best in {results}: {why(rows)}")
        spec = f"{best.path}:{best.precision['requested']}"
    path, precision = paths.one(spec, model)
    if reason := STAYS.get(path.NAME):
        raise ConfigError(f"path {path.NAME}: {reason}; `accelkit serve` serves it here")
    if best is not None and "batch" in inspect.signature(path.config).parameters:
        settings["batch"] = (best.speed or {})["batch"]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there already and not empty: name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".accelkit-export-", dir=folder.parent) as scratch:
        new = Path(scratch, "project")
        placed = paths.place(path, model, new / "model_repository", precision, **settings)
        name = placed.directory.name
        commented = COMMITTED / name / repository.FILE
        if commented.exists() and repository.equal(repository.read(commented), repository.read(placed.directory)):
            shutil.copyfile(commented, placed.directory / repository.FILE)
        served = repository.read(placed.directory)
        largest, model = served.max_batch_size or SAMPLES, paths.as_served(model, served)
        _samples(model, new / "samples.npz", min(SAMPLES, largest))
        words = getattr(model, "client_code", None)
        if words:
            (new / "words.py").write_text(words(), encoding="utf-8")
        limit = parity.tolerance(model, parity.held_to(precision, path.REDUCED))
        values = {
            "name": name, "model": f"{model.name} {model.variant}", "path": paths.label(path.NAME, precision), "backend": path.BACKEND,
            "files": ", ".join(f"`{file.relative_to(placed.directory)}`" for file in placed.files),
            "image": versions.get(_image(path.BACKEND)), "relative": limit.relative, "cosine": limit.cosine,
            "argument": "a picture or an .npz" if words else "an .npz",
            "words": "\n- `words.py`: from pictures to inputs, from outputs to words" if words else "",
            **{key.replace("-", "_"): versions.get(f"packages.{key}") for key in ("numpy", "pillow", "pytest", "tritonclient")},
        }  # fmt: skip
        for template in HERE.glob("*.in"):
            text = Template(template.read_text(encoding="utf-8")).substitute(values)
            (new / template.stem).write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
    return folder


def _image(backend: str) -> str:
    """Key of the server's image: of the current era, or of the last that has the backend."""
    eras = GONE.get(backend, ("current",))
    return "images.server" if "current" in eras else f"images.{eras[-1]}.server"


def _samples(model: Model, file: Path, count: int) -> None:
    """Write inputs, and as expected/NAME the reference's outputs, of the first samples."""
    inputs = named(model.inputs, model.samples("test", count).inputs)
    outputs = named(model.outputs, model.reference("test", count))
    if not model.max_batch:  # one request is one sample
        inputs, outputs = ({name: array[0] for name, array in made.items()} for made in (inputs, outputs))
    arrays: dict[str, Any] = {**inputs, **{f"expected/{name}": array for name, array in outputs.items()}}
    np.savez_compressed(file, **arrays)


def proven(model: Model, results: Path) -> list[result.Result]:
    """Return the model's rows that were proven and measured here, the fastest first; ConfigError when there is none."""
    if not results.exists():
        raise ConfigError(f"no results at {results} to take the best of: run `accelkit compare` first, or name a path")
    mine = [row for row in result.read(results) if (row.model, row.variant) == (model.name, model.variant)]
    able = [row for row in mine if row.speed and not row.recorded]
    if not able:
        raise ConfigError(f"{results}: no measured path of {model.name} {model.variant}: run `accelkit compare` first")
    return sorted(able, key=_rate, reverse=True)


def why(rows: Sequence[result.Result]) -> str:
    """Say in one line which of the rows is the first, how fast it is, and what it is faster than."""
    best, others = rows[0], rows[1:]
    versus, batch = best.versus or {}, (best.speed or {})["batch"]
    line = f"{best.label}, the fastest of {len(rows)} proven here, with {_rate(best):.0f} infer/s at batch {batch}"
    if versus["path"] != best.label:
        line += f": {versus['ratio']:.2f} times {versus['path']} ({versus['verdict']})"
    return line + (f"; next is {others[0].label} with {_rate(others[0]):.0f}" if others else "")


def _rate(row: result.Result) -> float:
    return (row.speed or {})["throughput"]
