"""Check a lesson: its form, and its committed outputs against those of one execution, compared by nbval itself."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from accelkit.errors import MissingPackage
from accelkit.lessons import form

CHECKED_CELLS = 3
IGNORED_OUTPUT = ("metadata", "output_type", "name", "execution_count", "image/png", "image/jpeg", form.WIDGET)


def check(name: str, executed: Path, folder: Path = form.NOTEBOOKS) -> list[str]:
    """Return what is wrong with a lesson, given the notebook that one execution of it left; an empty list is a pass."""
    path = form.lesson(name, folder)
    committed = form.read(path)
    problems = [*form.format_problems(path), *shape(path, committed), *exercises(path, committed)]
    problems += [*ran(committed, "committed"), *filter(None, [form.outdated(committed)])]
    if not executed.exists():
        return [*problems, f"{executed} does not exist: the lesson has not run"]
    run = form.read(executed)
    return [*problems, *ran(run, "executed"), *lasted(run), *compare(committed, run)]


def shape(path: Path, notebook: dict[str, Any]) -> list[str]:
    """Check a lesson's metadata, the order of its sections, and that it stays outside accelkit.backends."""
    about = form.metadata(notebook)
    problems = [f"{path.name}: metadata lacks {key}" for key in form.REQUIRED if not about.get(key)]
    problems += [f"{path.name}: unknown era {era!r}" for era in about.get("era", []) if era not in form.ERAS]
    prose = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    found = [line[3:] for line in prose.splitlines() if line.startswith("## ")]
    if len(found) != len(form.SECTIONS) or not all(map(str.startswith, found, form.SECTIONS)):
        problems.append(f"{path.name}: its sections are {found}, wanted {list(form.SECTIONS)}")
    for cell in form.code(notebook):
        if re.search(r"accelkit\.backends|from accelkit import .*\bbackends\b", cell["source"]):
            problems.append(f"{path.name}: cell {cell['id']} imports accelkit.backends, which only a server loads")
    return problems


def exercises(path: Path, notebook: dict[str, Any]) -> list[str]:
    """Check that each exercise has its check in the lesson and its answer in the solution."""

    def tagged(book: dict[str, Any], prefix: str) -> dict[str, str]:
        return {tag: cell["source"] for cell in form.code(book) for tag in form.tags(cell) if tag.startswith(prefix)}

    asked, checks = tagged(notebook, "exercise-"), tagged(notebook, "check-")
    if not asked:
        return [f"{path.name}: has no exercise (a cell tagged exercise-1)"]
    answers = form.solution(path)
    if not answers.exists():
        return [f"{path.name}: its solution {answers.name} is missing"]
    book = form.read(answers)
    given = tagged(book, "exercise-")
    problems = form.format_problems(answers)
    for tag, source in asked.items():
        if tag.replace("exercise", "check") not in checks:
            problems.append(f"{path.name}: {tag} has no check (a cell tagged {tag.replace('exercise', 'check')})")
        if given.get(tag, source) == source:
            problems.append(f"{answers.name}: has no answer to {tag}")
    return problems


def ran(notebook: dict[str, Any], which: str) -> list[str]:
    """Check that every cell ran without an error, and that enough cells are held against their outputs."""
    problems = []
    marked = [cell for cell in form.code(notebook) if checked(cell)]
    for cell in form.code(notebook):
        if cell["execution_count"] is None:
            problems.append(f"{which}: cell {cell['id']} was not run")
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            problems.append(f"{which}: cell {cell['id']} ends in an error")
        if checked(cell) and not cell["outputs"]:
            problems.append(f"{which}: cell {cell['id']} has no output to compare")
    if len(marked) < CHECKED_CELLS:
        problems.append(f"{which}: {len(marked)} cells marked NBVAL_CHECK_OUTPUT, wanted {CHECKED_CELLS}")
    if not any("server-state" in form.tags(cell) for cell in marked):
        problems.append(f"{which}: no compared cell is tagged server-state")
    return problems


def lasted(executed: dict[str, Any]) -> list[str]:
    """Refuse an execution that took no time: it has not run."""
    seconds = [cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in form.code(executed)]
    return [] if sum(seconds) > 0.1 else ["executed: took zero seconds, so it has not run"]


def checked(cell: dict[str, Any]) -> bool:
    """Say whether nbval would compare this cell's output."""
    found = dict(nbval().find_metadata_tags(cell["metadata"])) | dict(nbval().find_comment_markers(cell["source"]))
    return bool(found.get("check"))


def compare(committed: dict[str, Any], executed: dict[str, Any]) -> list[str]:
    """Hold the marked cells of an execution against the committed ones with nbval's own comparison."""
    import nbformat

    plugin = nbval()
    after = {cell["id"]: cell for cell in form.code(executed)}
    problems = []
    for cell in filter(checked, form.code(committed)):
        if cell["id"] not in after or after[cell["id"]]["source"] != cell["source"]:
            problems.append(f"cell {cell['id']}: what ran is not what is committed")
            continue
        shown: list[str] = []
        old, new = ([nbformat.from_dict(output) for output in book["outputs"]] for book in (cell, after[cell["id"]]))
        like_a_cell = SimpleNamespace(
            parent=SimpleNamespace(skip_compare=IGNORED_OUTPUT),
            colors=plugin.nocolors,
            sanitize=lambda value: value,
            format_output_compare=lambda key, left, right, into=shown: into.append(first_difference(left, right)),
        )
        compare_outputs = plugin.IPyNbCell.compare_outputs
        if not compare_outputs(like_a_cell, plugin.coalesce_streams(new), plugin.coalesce_streams(old)):
            said = shown or [line.strip() for line in like_a_cell.comparison_traceback]
            problems.append(f"cell {cell['id']}: output differs, {'; '.join(said)}")
    return problems


def first_difference(left: Any, right: Any) -> str:
    """Show the first line in which two outputs differ."""
    pairs = zip_longest(str(left).splitlines(), str(right).splitlines(), fillvalue="")
    return next((f"committed {a!r}, now {b!r}" for a, b in pairs if a != b), "in its line ends")


def nbval() -> Any:
    """Import nbval's plugin."""
    try:
        from nbval import plugin
    except ImportError:
        raise MissingPackage("nbval", "lessons", "checking the lessons") from None
    return plugin
