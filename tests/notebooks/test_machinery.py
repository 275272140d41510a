"""Running, recording and formatting, on a lesson of a few cheap cells."""

from __future__ import annotations

import json
import subprocess
import sys

import papermill
import pytest
import tiny

from accelkit import lessons
from accelkit.errors import LessonError
from accelkit.lessons import execution, form


def with_cell(index: int, source: str) -> list[str]:
    """Return the tiny lesson's cells with one of them replaced."""
    return [source if place == index else cell for place, cell in enumerate(tiny.CELLS)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record a tiny lesson: (its folder, the folder of its execution, its row)."""
    folder = tmp_path_factory.mktemp("lessons")
    tiny.lesson(folder)
    return folder, folder / "out", execution.record("70", folder / "out", folder)


def test_recording_writes_the_outputs_back_and_the_check_passes(recorded):
    folder, out, row = recorded
    assert (row["name"], row["mode"], row["outcome"], row["error"]) == ("70_tiny", "live", "ok", None)
    assert lessons.check("70_tiny", out / "70_tiny.ipynb", folder) == []
    about = form.metadata(form.read(folder / "70_tiny.ipynb"))
    assert about["last_verified"]["mode"] == "live" and about["last_verified"]["server"] == "0.0 embedded"
    assert "solved" in json.dumps(form.read(folder / "solutions" / "70_tiny_solution.ipynb")["cells"][-2]["outputs"])


def test_recording_runs_in_this_interpreter_and_strips_timings_and_widgets(recorded):
    folder, out, _ = recorded
    spec = json.loads((out / ".jupyter" / "kernels" / "python3" / "kernel.json").read_text())
    assert spec["argv"][0] == sys.executable
    text = (folder / "70_tiny.ipynb").read_text()
    assert "papermill" not in text and "papermill" in (out / "70_tiny.ipynb").read_text()


def test_a_lesson_that_fails_is_not_recorded(tmp_path):
    path = tiny.lesson(tmp_path, with_cell(1, "raise ValueError('first line\\nsecond line')"))
    before = path.read_bytes()
    with pytest.raises(LessonError, match="70_tiny.ipynb is not recorded: .*ValueError: first line$"):
        execution.record("70", tmp_path / "out", tmp_path)
    assert path.read_bytes() == before


def test_a_lesson_whose_solution_fails_is_not_recorded(tmp_path):
    path = tiny.lesson(tmp_path)
    answers = form.solution(path)
    answers.write_text(answers.read_text().replace("answer = 3", "answer = 4"))
    before = path.read_bytes(), answers.read_bytes()
    with pytest.raises(LessonError, match="70_tiny_solution.ipynb, cell .*AssertionError"):
        execution.record("70", tmp_path / "out", tmp_path)
    assert (path.read_bytes(), answers.read_bytes()) == before


def test_a_failing_lesson_does_not_stop_the_next_one(tmp_path, capsys):
    tiny.lesson(tmp_path, with_cell(0, "1 / 0"), "60_broken")
    tiny.lesson(tmp_path)
    summary = lessons.run(out=tmp_path / "out", folder=tmp_path)
    assert [(row["name"], row["outcome"]) for row in summary["lessons"]] == [("60_broken", "failed"), ("70_tiny", "ok")]
    assert "2/2 70_tiny" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert not list(tmp_path.glob("out/.summary*"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nsys.exit(0)", "stopped early, cell code-2 and 4 more never ran"),
        ("import os\nos._exit(1)", "DeadKernelError"),
        ("import time\ntime.sleep(60)", "CellTimeoutError"),
    ],
)
def test_a_lesson_that_ends_in_another_way_is_failed(tmp_path, monkeypatch, source, said):
    monkeypatch.setattr(execution, "CELL_TIMEOUT_S", 5)
    row = execution.one(tiny.lesson(tmp_path, with_cell(1, source)), tmp_path / "out")
    assert row["outcome"] == "failed" and said in row["error"] and "\n" not in row["error"]


@pytest.mark.parametrize(("deaths", "outcome", "said"), [(1, "ok", ""), (2, "failed", "Kernel died before replying")])
def test_a_kernel_that_never_started_is_started_once_more(tmp_path, monkeypatch, deaths, outcome, said):
    """As one does whose port another process has taken meanwhile."""
    starter = tmp_path / "python"
    each = "".join(f"mkdir {tmp_path}/death-{number} 2>/dev/null && exit 1\n" for number in range(deaths))
    starter.write_text(f'#!/bin/sh\n{each}exec {sys.executable} "$@"\n')
    starter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(starter))
    row = execution.one(tiny.lesson(tmp_path), tmp_path / "out")
    assert (row["outcome"], said in (row["error"] or "")) == (outcome, True)
    assert len(list(tmp_path.glob("death-*"))) == deaths


def test_a_kernel_that_lives_and_does_not_answer_is_started_once_more(tmp_path, monkeypatch):
    whole, silent = papermill.execute_notebook, [RuntimeError("Kernel didn't respond in 60 seconds")]

    def start(*given, **how):
        if silent:
            raise silent.pop()
        return whole(*given, **how)

    monkeypatch.setattr(papermill, "execute_notebook", start)
    row = execution.one(tiny.lesson(tmp_path), tmp_path / "out")
    assert row["outcome"] == "ok" and not silent, row["error"]


@pytest.mark.parametrize(
    ("rows", "mode"),
    [
        ([(False, "measured")], "live"),
        ([(True, "measured"), (False, "unavailable")], "recorded"),
        ([(True, "measured"), (False, "rejected")], "mixed"),
        ([(False, "measured", "onnxruntime-cpu"), (False, "unavailable", "tensorrt")], "baseline only"),
        ([(False, "measured", "onnxruntime-cpu"), (True, "measured", "tensorrt")], "mixed"),
        ([(False, "measured", "pytorch"), (False, "unavailable", "tensorrt")], "partly live"),
        ([(False, "measured", "pytorch"), (False, "unavailable", "openvino")], "live"),
        ([(False, "measured", "tensorrt"), (False, "unavailable", "pytorch")], "live"),
    ],
)
def test_the_mode_is_derived_from_the_results(tmp_path, rows, mode):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([dict(zip(("recorded", "status", "path"), row, strict=False)) for row in rows]))
    assert execution.mode(file, "tensorrt:fp16") == mode


@pytest.mark.parametrize("content", [None, "[]", '[{"recorded": false, "status": "unavailable"}]'])
def test_a_lesson_without_a_measured_result_is_failed(tmp_path, content):
    if content:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(LessonError, match="neither live nor recorded"):
        execution.mode(tmp_path / "x.json")


def test_a_result_of_an_earlier_run_does_not_count(tmp_path):
    path = tiny.lesson(tmp_path)
    assert execution.one(path, tmp_path / "out")["mode"] == "live"
    tiny.lesson(tmp_path, with_cell(6, "pass"))
    assert execution.one(path, tmp_path / "out")["outcome"] == "failed"


def test_a_lesson_that_has_not_run_is_a_problem(recorded, tmp_path):
    assert "has not run" in lessons.check("70", tmp_path / "none.ipynb", recorded[0])[-1]


def test_an_unknown_lesson_names_those_there_are(tmp_path):
    tiny.lesson(tmp_path)
    with pytest.raises(LessonError, match="no lesson '99'.*70_tiny"):
        form.lesson("99", tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"nbformat": 3, "cells": []}'])
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, text):
    (tmp_path / "70_x.ipynb").write_text(text)
    with pytest.raises(LessonError, match="is no notebook"):
        form.read(tmp_path / "70_x.ipynb")


def test_the_canonical_form_is_stable_and_removes_what_editors_add(tmp_path):
    path = tiny.lesson(tmp_path)
    book = form.read(path)
    book["metadata"] |= {"widgets": {"state": {}}, "kernelspec": {"name": "mine"}}
    first = book["cells"][1]
    first["metadata"] = {"execution": {"iopub.status.busy": "now"}, "collapsed": True, "tags": ["b", "a"]}
    first["outputs"] = [
        {"output_type": "display_data", "metadata": {}, "data": {form.WIDGET: {}, "text/plain": "a\nb"}}
    ]
    del book["cells"][2]["id"]
    book["cells"][3]["id"] = book["cells"][1]["id"]
    path.write_text(json.dumps(book))
    assert "not in canonical form" in form.format_problems(path)[0]
    assert form.format_problems(path, fix=True) == [] == form.format_problems(path)
    text = path.read_text()
    assert (
        text == form.canonical(form.read(path))
        and "widget" not in text
        and "execution" not in text.replace("execution_", "")
    )
    book = json.loads(text)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert book["cells"][1]["metadata"] == {"tags": ["a", "b"]}
    assert book["cells"][1]["outputs"][0]["data"] == {"text/plain": ["a\n", "b"]}
    assert book["metadata"]["kernelspec"] == form.KERNELSPEC


def test_a_record_is_outdated_when_cells_config_or_code_change(tmp_path):
    book = form.read(tiny.lesson(tmp_path))
    about = form.metadata(book) | {"model": "m", "paths": ["a-b"]}
    book["metadata"]["accelkit"] = about
    files = {
        "a config.pbtxt": tmp_path / "model_repository" / "m_a_b" / "config.pbtxt",
        "the code of its paths": tmp_path / "accelkit" / "paths" / "a_b.py",
        "the code of its paths, too": tmp_path / "accelkit" / "backends" / "engine" / "model.py",
        "what builds its files": tmp_path / "accelkit" / "torchfiles" / "plain.py",
    }
    for file in files.values():
        file.parent.mkdir(parents=True)
        file.write_text('BACKEND = "engine"\nRUN = "accelkit.torchfiles"\n')
    about["record"] = form.record_hash(book, tmp_path)
    assert form.outdated(book, tmp_path) is None
    for what, file in files.items():
        before = file.read_text()
        file.write_text(before + "# changed")
        assert form.outdated(book, tmp_path) == f"record outdated ({what.split(',')[0]} changed since 2026-01-01)"
        file.write_text(before)
    older = {key: value for key, value in about["record"].items() if key != "builders"}
    files["what builds its files"].write_text("# changed")
    assert form.outdated({**book, "metadata": {"accelkit": {**about, "record": older}}}, tmp_path) is None
    files["what builds its files"].write_text(before)
    book["cells"][1]["source"] += "# changed"
    assert "its cells" in form.outdated(book, tmp_path)
    book["cells"][0]["source"] += "prose"
    assert "its cells" in form.outdated(book, tmp_path)


def test_an_exercise_says_what_to_look_at_first(capsys):
    assert not lessons.exercise(1, (True, "a"), (False, "look here"), (False, "c"))
    assert lessons.exercise(2, (True, "a"))
    assert capsys.readouterr().out == "Exercise 1: not yet. look here\nExercise 2: solved\n"


def test_every_notebook_is_in_canonical_form():
    done = subprocess.run(
        [sys.executable, "-m", "accelkit.lessons", "format", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_an_error_of_the_command_is_one_line():
    done = subprocess.run([sys.executable, "-m", "accelkit.lessons", "run", "99"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("accelkit: error: no lesson '99'")
    assert done.stderr.count("\n") == 1


def test_the_list_names_every_lesson(capsys):
    lessons.command([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == lessons.names()
    lessons.command([], as_json=True)
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == set(lessons.names())
