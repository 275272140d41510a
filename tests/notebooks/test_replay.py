"""Cells that few machines can run: measured and kept where nothing is missing, else shown as recorded, else said to be absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from accelkit import recorded
from accelkit.lessons import execution, form, replay, replaying
from accelkit.measure import compared, result

LESSON = "00_start_here"
CELLS = replaying.cells_hash(form.read(form.lesson(LESSON)))
WHERE = {
    "date": "2026-01-02",
    "machine": {"line": "a GPU of somebody"},
    "versions": {"numpy": "0.1", "tensorrt": "0.2"},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder of lessons, and one of a tour; returns the file of measured cells and that of the record."""
    monkeypatch.setattr(form, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("ACCELKIT_TOUR", str(tmp_path / "tour"))
    return (
        tmp_path / "tour/results" / f"{LESSON}.cells.json",
        tmp_path / "notebooks/recorded/lessons" / f"{LESSON}.json",
    )


def put(file: Path, lesson: str = "", **cells: object) -> None:
    """Write a record, of the lesson as it is unless told otherwise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"lesson": lesson or CELLS, "where": WHERE, "cells": cells}))


def never() -> None:
    raise AssertionError("it was measured, though something is missing")


def test_with_nothing_missing_a_cell_is_measured_and_kept(place, capsys):
    made, _ = place
    shown = replay(LESSON, None)
    assert not made.exists()
    assert shown("speed", lambda: {"rates": (1.5, 2)}) == {"rates": [1.5, 2]}, "as JSON brings it back"
    assert shown("seconds", lambda: 3) == 3
    kept = json.loads(made.read_text())
    assert kept["cells"] == {"speed": {"rates": [1.5, 2]}, "seconds": 3}
    assert {"date", "machine", "versions"} <= set(kept["where"]) and capsys.readouterr().out == ""


def test_what_an_earlier_run_measured_does_not_stay(place):
    made, _ = place
    replay(LESSON, None)("speed", lambda: 1)
    replay(LESSON, "needs a GPU")
    assert not made.exists()


def test_a_recorded_cell_is_shown_with_its_origin_and_not_kept(place, capsys):
    made, record = place
    put(record, speed=7, seconds=3)
    shown = replay(LESSON, "needs a GPU")
    assert shown("speed", never) == 7
    said = "RECORDED 2026-01-02, on another machine: a GPU of somebody; numpy 0.1, tensorrt 0.2\n"
    assert capsys.readouterr().out == said and not made.exists()
    assert shown("seconds", never) == 3
    assert capsys.readouterr().out == "RECORDED 2026-01-02, on another machine: the one named above\n"


def test_a_record_of_other_cells_says_so(place, capsys):
    put(place[1], lesson="before", speed=7)
    assert replay(LESSON, "needs a GPU")("speed", never) == 7
    assert ", record outdated: the lesson's cells changed since\n" in capsys.readouterr().out


def test_a_record_is_of_the_cells_up_to_the_last_that_measures(tmp_path):
    def of(*sources):
        return replaying.cells_hash(form.read(tiny.lesson(tmp_path, list(sources))))

    before = of("a = 1", "shown('speed', max)", "print(a)")
    assert before == of("a = 1", "shown('speed', max)", "print(2 * a)", "more") == of("a = 1", "shown('speed', max)")
    assert before not in {of("a = 2", "shown('speed', max)"), of("a = 1", "shown('speed', min)")}
    assert before != of("a = 1", "shown('speed', max)", "shown('size', max)")


@pytest.mark.parametrize("recorded", [False, True])
def test_a_cell_that_is_not_on_record_says_what_is_missing(place, capsys, recorded):
    made, record = place
    if recorded:
        put(record, other=1)
    shown = replay(LESSON, "needs a GPU")
    opening = capsys.readouterr().out
    assert ("No cell of this lesson is on record yet" in opening and ": needs a GPU\n" in opening) != recorded
    assert shown("speed", never) is None
    assert capsys.readouterr().out == "Not run here, and not on record yet\n" and not made.exists()


def test_a_cell_may_lack_something_of_its_own(place, capsys):
    made, record = place
    put(record, tool=5)
    shown = replay(LESSON, None)
    assert shown("tool", never, missing="needs trtexec") == 5
    assert shown("other", never, missing="needs trtexec") is None
    assert shown("speed", lambda: 1, missing=None) == 1
    assert capsys.readouterr().out.endswith("Not run here, and not on record yet: needs trtexec\n")
    assert json.loads(made.read_text())["cells"] == {"speed": 1}, "only what was measured"


def test_what_the_lesson_lacks_comes_before_what_the_cell_lacks(place, capsys):
    replay(LESSON, "needs a GPU")("tool", never, missing="needs trtexec")
    assert capsys.readouterr().out.endswith(": needs a GPU\nNot run here, and not on record yet\n")


LIVE = """
from pathlib import Path
from accelkit import lessons
from accelkit.lessons import form
folder = Path({!r})
form.lesson.__defaults__, form.NOTEBOOKS = (folder,), folder
shown = lessons.replay('70_tiny', None if Path(folder, 'gpu').exists() else 'needs a GPU')
found = shown('speed', lambda: [1, 2])
"""


def test_recording_makes_the_record_of_the_cells_and_no_other_run_changes_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ACCELKIT_TOUR", raising=False)
    tiny.lesson(tmp_path, [LIVE.format(str(tmp_path)) + tiny.CELLS[0], *tiny.CELLS[1:]])
    record, gpu = tmp_path / "recorded/lessons/70_tiny.json", tmp_path / "gpu"
    execution.record("70", tmp_path / "out", tmp_path)
    assert not record.exists(), "nothing was measured"
    gpu.touch()
    execution.record("70", tmp_path / "out", tmp_path)
    kept = json.loads(record.read_text())
    assert kept["cells"] == {"speed": [1, 2]}
    assert kept["lesson"] == replaying.cells_hash(form.read(tmp_path / "70_tiny.ipynb"))
    gpu.unlink()
    put(record, speed="of another machine")
    before = record.read_bytes()
    execution.record("70", tmp_path / "out", tmp_path)
    assert record.read_bytes() == before
    assert "RECORDED 2026-01-02" in (tmp_path / "70_tiny.ipynb").read_text()


def record(number):
    """The cells on record of a lesson, and all its markdown."""
    path = form.lesson(number)
    cells = json.loads((form.NOTEBOOKS / f"recorded/lessons/{path.stem}.json").read_text())["cells"]
    return cells, "\n".join(c["source"] for c in form.read(path)["cells"] if c["cell_type"] == "markdown")


def verdicts(rows):
    """What a table calls slower or faster: {(size, name): verdict}."""
    called = {(size, name): row["versus"] for size, found in rows.items() for name, row in found.items()}
    return {key: versus["verdict"] for key, versus in called.items() if versus["verdict"] != "no difference"}


def test_what_lesson_11_says_of_its_record_is_what_the_record_says():
    cells, words = record("11")
    noise = [row["versus"]["noise"] for rows in cells["scaling"]["rows"].values() for row in rows.values()]
    assert "the noise in the heads of the two tables below is large" in words and min(noise) > 0.3
    assert "it is slower: at 32 rows the four ranks" in words
    assert verdicts(cells["scaling"]["rows"]) == {("32", "four_way"): "slower"}
    assert "two ranks write the ids of one client faster than one, and four those of 32 clients" in words
    assert verdicts(cells["vllm"]["rows"]) == {("1", "2 ranks"): "faster", ("32", "4 ranks"): "faster"}
    for found in cells["vllm"]["rows"].values():
        assert min(found, key=lambda name: found[name]["first_ms"]).startswith("1 ranks"), (
            "the first id comes no sooner"
        )


def test_what_lesson_08_says_of_the_record_of_a_batch_of_256_is_what_it_says():
    cells, words = record("08")
    for part in (cells["engines"]["partition"], *(one["partition"] for one in cells["detour"].values())):
        assert 0 < part["inside"] == part["operators"] - sum(part["outside"].values()), part
    (in_process, _), small = cells["in process"], "no difference"
    rates = [in_process["256"][way]["rates"] for way in ("eager", "eager again", "torchscript")]
    assert "at a batch of 256 as fast as eager above" in words and compared.versus("eager", *rates).verdict == small
    rows = {row.label: row.versus for row in result.read(recorded.FOLDER / "h200_torch256.json")}
    tf32, half, compiled, engine = (
        rows[label] for label in ("torch-tensorrt tf32", "pytorch fp16", "pytorch-aoti fp16", "torch-tensorrt fp16")
    )
    assert f"TensorRT makes TF32 {tf32['ratio']:.2f} times as fast as it is without" in words
    assert f"FP16 without TensorRT is {half['ratio']:.2f} times as\nfast" in words
    assert f"AOTInductor compiled ({compiled['ratio']:.2f}) and TensorRT's engine ({engine['ratio']:.2f})" in words
    assert max(engine["interval"][0], compiled["interval"][0]) < min(engine["interval"][1], compiled["interval"][1])
    assert {rows[label]["verdict"] for label in rows if label != "pytorch"} == {"faster"} and engine["ratio"] >= 2.5


def test_what_lesson_09_says_of_its_record_is_what_the_record_says():
    cells, words = record("09")
    assert "**On record it finds none**" in words and "no engine of TensorRT ran" in cells["online"]["error"]
    (count,) = {cells["conversions"][precision]["segments"]["in_tensorrt"] for precision in ("fp32", "tf32", "fp16")}
    assert f"each engine is the one segment of {count} nodes" in words
    served = [proof["how"] for name, proof in cells["GPU"]["proofs"].items() if name != "tensorflow"]
    assert all(f"TensorRT took {count} of {count} nodes in 1 segments" in how for how in served)
    small, large = (cells["GPU"]["rows"][size] for size in ("16", "256"))
    assert "in every row" in words and {row["verdict"] for row in small.values()} == {"no difference"}
    assert f"differs from itself by up to {small['again']['noise'] * 100:.0f} %" in words
    assert [large[name]["verdict"] for name in ("trt_fp32", "trt_tf32", "trt_fp16")] == ["slower", "faster", "faster"]
    assert "for part of TensorFlow's\nown time went into FP32" in words
    assert cells["GPU"]["proofs"]["tensorflow"]["observed"] == "tf32+fp32"
