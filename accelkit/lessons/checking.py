"""Check a lesson: its form, and its committed outputs against those of one execution, compared by nbval itself."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from accelkit.errors import MissingPackage
from accelkit.lessons import form

CHECKED_CELLS = 3
IGNORED_OUTPUT = ("metadata", "traceback", "prompt_number", "output_type", "name", "execution_count", form.WIDGET, "image/png", "image/jpeg")


def check(name: str, executed: Path, folder: Path = form.NOTEBOOKS) -> list[str]:
    """Return what is wrong with a lesson, given the notebook that one execution of it left; an empty list is a pass."""
    path = form.lesson(name, folder)
    committed = form.read(path)
    problems = [*form.format_problems(path), *shape(path, committed), *exercises(path, committed), *ran(committed, "committed")]
    late = form.outdated(committed)
    if not executed.exists():
        return [*problems, *filter(None, [late]), f"{executed} does not exist: the lesson has not run"]
    run = form.read(executed)
    return [*problems, *filter(None, [late]), *ran(run, "executed"), *lasted(run), *compare(committed, run)]


def shape(path: Path, notebook: dict[str, Any]) -> list[str]:
    """Check a lesson's metadata, the order of its sections, and that it stays outside accelkit.backends."""
    about = form.metadata(notebook)
    problems = [f"{path.name}: metadata lacks {key}" for key in form.REQUIRED if about.get(key) in (None, "", [], {})]
    problems += [f"{path.name}: unknown era {era!r}" for era in about.get("era", []) if era not in form.ERAS]
    headings = [line[3:] for cell in notebook["cells"] if cell["cell_type"] == "markdown" for line in cell["source"].splitlines() if line.startswith("## ")]
    if len(headings) != len(form.SECTIONS) or not all(heading.startswith(section) for heading, section in zip(headings, form.SECTIONS)):
        problems.append(f"{path.name}: sections are {headings}, wanted {[section.strip() for section in form.SECTIONS]}")
    for cell in form.code(notebook):
        if any(module.startswith("accelkit.backends") for module in imports(cell["source"])):
            problems.append(f"{path.name}: cell {cell['id']} imports accelkit.backends, which only a server loads")
    return problems


def imports(source: str) -> list[str]:
    """Name what a cell imports (lines of shell and magics left out)."""
    plain = "\n".join("pass" if line.lstrip().startswith(("!", "%")) else line for line in source.splitlines())
    found = []
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


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
    problems = [f"{path.name}: {tag} has no check (a cell tagged {tag.replace('exercise', 'check')})" for tag in asked if tag.replace("exercise", "check") not in checks]
    problems += [f"{answers.name}: has no answer to {tag}" for tag, source in asked.items() if given.get(tag, source) == source]
    return [*problems, *form.format_problems(answers)]


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
    plugin = nbval()
    return dict([*plugin.find_metadata_tags(cell["metadata"]), *plugin.find_comment_markers(cell["source"])]).get("check", False)


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
        difference = SimpleNamespace(
            parent=SimpleNamespace(skip_compare=IGNORED_OUTPUT), colors=plugin.nocolors, sanitize=lambda value: value, shown=""
        )
        difference.format_output_compare = lambda key, left, right, into=difference: setattr(into, "shown", first_difference(left, right))
        old, new = ([nbformat.from_dict(joined(output)) for output in one["outputs"]] for one in (cell, after[cell["id"]]))
        if not plugin.IPyNbCell.compare_outputs(difference, plugin.coalesce_streams(new), plugin.coalesce_streams(old)):
            problems.append(f"cell {cell['id']}: output differs, {difference.shown or '; '.join(difference.comparison_traceback).strip()}")
    return problems


def joined(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output with its lists of lines joined, as nbformat reads them."""

    def join(value: Any) -> Any:
        return "".join(value) if isinstance(value, list) else value

    output = {key: join(value) for key, value in output.items() if key != "traceback"}
    return {**output, "data": {kind: join(value) for kind, value in output["data"].items()}} if "data" in output else output


def first_difference(left: Any, right: Any) -> str:
    """Show the first line in which two outputs differ."""
    old, new = str(left).splitlines(), str(right).splitlines()
    pairs = zip(old + [""] * (len(new) - len(old)), new + [""] * (len(old) - len(new)))
    return next((f"committed {a!r}, now {b!r}" for a, b in pairs if a != b), "in its line ends")


def nbval() -> Any:
    """Import nbval's plugin."""
    try:
        from nbval import plugin
    except ImportError:
        raise MissingPackage("nbval", "lessons", "checking the lessons") from None
    return plugin
