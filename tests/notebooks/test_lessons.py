"""Every lesson and every solution through papermill, its outputs and form; then a broken copy of each."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelkit import lessons
from accelkit.lessons import execution, form
from accelkit.measure import result

NAMES = lessons.names()


def test_every_lesson_has_a_number_of_its_own_and_the_first_are_there():
    numbers = [name[:2] for name in NAMES]
    assert numbers[:3] == ["00", "01", "02"] and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_runs(ran, name):
    (row,) = ran(name).summary["lessons"]
    assert row["error"] is None
    assert row["outcome"] == "ok"


@pytest.mark.parametrize("name", ["00_start_here", "01_triton_baseline", "02_onnxruntime_tuning"])
def test_the_first_lessons_run_live_on_any_machine(ran, name):
    assert ran(name).summary["lessons"][0]["mode"] == "live"


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_holds(ran, name):
    assert lessons.check(name, ran(name).out / f"{name}.ipynb") == []


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_solves_its_exercises(ran, name):
    assert ran(name).failure is None
    outputs = json.dumps(form.read(ran(name).out / f"{name}_solution.ipynb"))
    for tag in [tag for cell in form.code(form.read(form.lesson(name))) for tag in form.tags(cell)]:
        if tag.startswith("exercise-"):
            assert f"Exercise {tag[9:]}: solved" in outputs


@pytest.mark.parametrize("name", NAMES)
def test_exercises_are_unsolved_in_the_lesson_itself(ran, name):
    assert ": solved" not in json.dumps(form.read(ran(name).out / f"{name}.ipynb")).replace("'solved'", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_is_what_the_design_says(ran, name):
    stored = json.loads((ran(name).out / "summary.json").read_text())
    assert set(stored) == {"date", "machine", "lessons"} and stored == ran(name).summary
    (row,) = stored["lessons"]
    assert set(row) == {"name", "mode", "outcome", "seconds", "error"}
    assert row["name"] == name and row["seconds"] > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_speeds_of_a_lesson_can_be_computed_again_from_its_raw_exports(ran, name):
    folder = ran(name).out / "results"
    measured = [row for row in result.read(folder / f"{name}.json") if row.status == "measured" and not row.recorded]
    assert measured
    for found in measured:
        assert result.recompute(found, folder / found.provenance["raw"]) == (found.speed, found.versus)


Book = dict[str, Any]


def marked(book: Book) -> dict[str, Any]:
    """Return the last cell whose output is compared."""
    return [cell for cell in form.code(book) if "NBVAL_CHECK_OUTPUT" in cell["source"]][-1]


def other_output(book: Book) -> None:
    marked(book)["outputs"][0]["text"] = "something else\n"


def no_outputs(book: Book) -> None:
    for cell in form.code(book):
        cell["outputs"], cell["execution_count"] = [], None


def an_error(book: Book) -> None:
    form.code(book)[-1]["outputs"] = [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]


def an_unrun_cell(book: Book) -> None:
    form.code(book)[-1]["execution_count"] = None


def another_cell(book: Book) -> None:
    marked(book)["source"] += "\npass"


def no_time(book: Book) -> None:
    for cell in form.code(book):
        cell["metadata"].pop("papermill", None)


def no_server_state(book: Book) -> None:
    for cell in form.code(book):
        cell["metadata"]["tags"] = [tag for tag in form.tags(cell) if tag != "server-state"]


IN_THE_EXECUTION = {
    other_output: "output differs",
    no_outputs: "was not run",
    an_error: "ends in an error",
    an_unrun_cell: "was not run",
    another_cell: "what ran is not what is committed",
    no_time: "took zero seconds",
    no_server_state: "server-state",
}


@pytest.mark.parametrize("breakage", IN_THE_EXECUTION, ids=lambda breakage: breakage.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_execution_of_a_lesson_is_noticed(ran, tmp_path, name, breakage: Callable[[Book], None]):
    book = form.read(ran(name).out / f"{name}.ipynb")
    breakage(book)
    (tmp_path / "broken.ipynb").write_text(json.dumps(book))
    problems = lessons.check(name, tmp_path / "broken.ipynb")
    assert any(IN_THE_EXECUTION[breakage] in problem for problem in problems), problems


def no_metadata(book: Book) -> None:
    del book["metadata"]["accelkit"]["objectives"]


def sections_in_another_order(book: Book) -> None:
    for cell in book["cells"]:
        cell["source"] = cell["source"].replace("## Measure it", "## Numbers")


def an_import_of_a_backend(book: Book) -> None:
    form.code(book)[-1]["source"] += "\nfrom accelkit.backends import onnxruntime"


def a_changed_cell(book: Book) -> None:
    form.code(book)[0]["source"] += "\n1 + 1"


def no_exercise(book: Book) -> None:
    book["cells"] = [cell for cell in book["cells"] if not any("exercise" in tag for tag in form.tags(cell))]


def no_check(book: Book) -> None:
    book["cells"] = [cell for cell in book["cells"] if "check-1" not in form.tags(cell)]


def an_era_that_is_none(book: Book) -> None:
    book["metadata"]["accelkit"]["era"] = ["golden"]


def too_few_compared(book: Book) -> None:
    for cell in form.code(book):
        cell["source"] = cell["source"].replace("# NBVAL_CHECK_OUTPUT", "#")


IN_THE_LESSON = {
    no_outputs: "committed: cell",
    no_metadata: "metadata lacks objectives",
    sections_in_another_order: "its sections are",
    an_import_of_a_backend: "accelkit.backends",
    a_changed_cell: "record outdated (its cells",
    no_exercise: "has no exercise",
    no_check: "exercise-1 has no check",
    an_era_that_is_none: "unknown era",
    too_few_compared: "wanted 3",
}


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a copy of the notebooks to break."""
    return Path(shutil.copytree(form.NOTEBOOKS, tmp_path / "notebooks"))


@pytest.mark.parametrize("breakage", IN_THE_LESSON, ids=lambda breakage: breakage.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_copy_of_a_lesson_is_noticed(ran, copy, name, breakage: Callable[[Book], None]):
    path = copy / f"{name}.ipynb"
    book = form.read(path)
    breakage(book)
    path.write_text(form.canonical(book))
    problems = lessons.check(name, ran(name).out / f"{name}.ipynb", copy)
    assert any(IN_THE_LESSON[breakage] in problem for problem in problems), problems


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_unsolved_solution_is_noticed(ran, copy, name):
    answers = copy / "solutions" / f"{name}_solution.ipynb"
    shutil.copy(copy / f"{name}.ipynb", answers)
    executed = ran(name).out / f"{name}.ipynb"
    assert any("has no answer to exercise-1" in problem for problem in lessons.check(name, executed, copy))
    answers.unlink()
    assert any("is missing" in problem for problem in lessons.check(name, executed, copy))


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_whose_first_cell_fails_is_failed_quickly_and_in_one_line(copy, tmp_path, name):
    path = copy / f"{name}.ipynb"
    book = form.read(path)
    form.code(book)[0]["source"] += "\nassert False, 'broken on purpose'"
    path.write_text(form.canonical(book))
    started = time.monotonic()
    row = execution.one(path, tmp_path / "out")
    assert time.monotonic() - started < 60
    assert row["outcome"] == "failed" and row["mode"] is None
    assert "AssertionError: broken on purpose" in row["error"] and "\n" not in row["error"]
