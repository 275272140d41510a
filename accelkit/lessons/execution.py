"""Execute lessons through papermill, one kernel each, and say what became of them."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from accelkit.errors import LessonError, MissingPackage
from accelkit.lessons import form, replaying
from accelkit.lessons.form import OUT

CELL_TIMEOUT_S = 1200  # the longest load large models onto several GPUs
NEVER_STARTED = ("Kernel died before replying to kernel_info", "Kernel didn't respond")  # jupyter_client's words


def run(
    names: Sequence[str] | None = None, out: Path = OUT, progress: bool = True, folder: Path = form.NOTEBOOKS
) -> dict[str, Any]:
    """Execute the lessons (default: all), each into `out`/NAME.ipynb, and write and return the summary.

    A lesson that fails does not stop the others. Raises LessonError for an unknown name and MissingPackage.
    """
    from accelkit import machine

    notebooks = [form.lesson(name, folder) for name in (names or form.names(folder))]
    rows = []
    with bar(sum(len(form.read(path)["cells"]) for path in notebooks), progress) as tick:
        for number, path in enumerate(notebooks, 1):
            rows.append(one(path, Path(out), partial(tick, f"{number}/{len(notebooks)} {path.stem}")))
    summary = {"date": datetime.date.today().isoformat(), "machine": machine.probe().as_dict(), "lessons": rows}
    form.write(Path(out) / "summary.json", json.dumps(summary, indent=1))
    return summary


def one(path: Path, out: Path, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Execute one lesson and return its row of the summary; never raises for what the lesson does."""
    results = out / "results" / f"{path.stem}.json"
    for old in (results, replaying.measured(path.stem, out)):
        old.unlink(missing_ok=True)
    started, kind, error = time.monotonic(), None, None
    try:
        execute(path, out / path.name, out, tick)
        kind = mode(results, *form.metadata(form.read(path)).get("paths", [])[:1])
    except LessonError as failure:
        error = str(failure)
    seconds, outcome = round(time.monotonic() - started, 1), "failed" if error else "ok"
    return {"name": path.stem, "mode": kind, "outcome": outcome, "seconds": seconds, "error": error}


def execute(path: Path, output: Path, out: Path, tick: Callable[[], None] = lambda: None) -> None:
    """Run every cell of a notebook in a fresh kernel of this interpreter, from the notebook's folder, into `output`.

    Raises LessonError, in one line, for a cell that fails or runs too long, a dead kernel, cells never reached.
    """
    try:
        import nbclient.exceptions
        import papermill
    except ImportError:
        raise MissingPackage("papermill", "lessons", "running the lessons") from None
    output.parent.mkdir(parents=True, exist_ok=True)
    start = partial(
        papermill.execute_notebook,
        path,
        output,
        cwd=path.parent,
        kernel_name=form.KERNELSPEC["name"],
        progress_bar=False,
        execution_timeout=CELL_TIMEOUT_S,
        coalesce_streams=True,
        on_cell_start=lambda **_: tick(),
    )
    try:
        with mock.patch.dict(os.environ, JUPYTER_PATH=str(kernels(out))):
            try:
                start()
            except RuntimeError as error:
                if not str(error).startswith(NEVER_STARTED):
                    raise
                start()  # such as when another process had taken one of its ports
    except papermill.exceptions.PapermillExecutionError as error:
        value = (error.evalue or "").strip().splitlines() or [""]
        raise LessonError(f"{path.name}, cell {error.cell_index}: {error.ename}: {value[0]}") from None
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError, RuntimeError) as error:
        raise LessonError(f"{path.name}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from None
    unrun = [cell["id"] for cell in form.code(form.read(output)) if cell["execution_count"] is None]
    if unrun:
        raise LessonError(f"{path.name}: stopped early, cell {unrun[0]} and {len(unrun) - 1} more never ran")


def mode(results: Path, main: str | None = None) -> str:
    """Derive live, recorded or mixed from the results that a lesson wrote; LessonError when none of them is one.

    It is "baseline only" when nothing but the baseline was measured although the lesson is about another path, and "partly
    live" when paths beside the lesson's `main` one were, which is not here.
    """
    from accelkit import paths

    rows = json.loads(results.read_text()) if results.exists() else []
    kinds = {bool(row["recorded"]) for row in rows if row["status"] in ("measured", "rejected")}
    if not kinds:
        raise LessonError(f"{results.stem}: kept no result that was measured, so it is neither live nor recorded")
    about = [row for row in rows if row.get("path", paths.BASELINE) != paths.BASELINE]
    if about and not [row for row in about if row["status"] in ("measured", "rejected")]:
        return "baseline only"
    own = {row["status"] for row in about if row["path"] == (main or "").partition(":")[0]}
    if own == {"unavailable"} and kinds == {False}:
        return "partly live"
    return "mixed" if len(kinds) == 2 else "recorded" if kinds.pop() else "live"


def keep(name: str, results: Sequence[Any]) -> Path:
    """Write the Results of a lesson where the tour, the report and the check look for them, and return the file."""
    from accelkit.measure import result

    path = Path(os.environ.get("ACCELKIT_TOUR", OUT)) / "results" / f"{form.lesson(name).stem}.json"
    return result.write(path, list(results))


def record(name: str, out: Path = OUT, folder: Path = form.NOTEBOOKS) -> dict[str, Any]:
    """Execute a lesson and its solution and write them back with outputs, hash and last-verified stamp.

    What its cells measured on hardware that few have becomes their record. Raises LessonError when either fails; both then
    stay as they were.
    """
    from accelkit import machine

    path = form.lesson(name, folder)
    before = path.read_bytes()
    notebook = form.read(path)
    about = notebook["metadata"]["accelkit"]
    about["record"] = form.record_hash(notebook)
    answers = form.solution(path)
    try:
        form.write(path, form.canonical(notebook))
        row = one(path, Path(out))
        if row["outcome"] != "ok":
            raise LessonError(f"{path.name} is not recorded: {row['error']}")
        cells = replaying.measured(path.stem, Path(out))
        seen = json.loads(cells.read_text(encoding="utf-8")) if cells.exists() else None
        execute(answers, Path(out) / answers.name, Path(out))
    except BaseException:
        path.write_bytes(before)
        raise
    server = json.loads((Path(out) / "results" / f"{path.stem}.json").read_text())[0]["where"]["server"]
    about["last_verified"] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.probe().line(),
        "server": f"{server['version']} {server['mode']}",
        "mode": row["mode"],
    }
    executed = form.read(Path(out) / path.name)
    executed["metadata"]["accelkit"] = about
    form.write(path, form.canonical(executed))
    form.write(answers, form.canonical(form.read(Path(out) / answers.name)))
    if seen is not None:
        made = {"lesson": replaying.cells_hash(notebook), **seen}
        file = folder / replaying.FOLDER / f"{path.stem}.json"
        form.write(file, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    return row


def kernels(out: Path) -> Path:
    """Make a private Jupyter folder with this interpreter as the kernel, which keeps results under `out`; return it."""
    folder = out.resolve() / ".jupyter"
    argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
    spec = {**form.KERNELSPEC, "argv": argv, "env": {"ACCELKIT_TOUR": str(out.resolve())}}
    form.write(folder / "kernels" / form.KERNELSPEC["name"] / "kernel.json", json.dumps(spec))
    return folder


@contextlib.contextmanager
def bar(total: int, show: bool) -> Iterator[Callable[[str], None]]:
    """Show one progress bar over the cells of all lessons; yields what to call, with a label, as each cell starts."""
    from tqdm import tqdm

    with tqdm(total=total, unit="cell", disable=not show, ncols=100, mininterval=1) as progress:

        def tick(label: str) -> None:
            progress.set_description(label, refresh=False)
            progress.update()

        yield tick
