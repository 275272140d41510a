"""tests/gpu/record.py, on a path that is here: a step is measured once, and again when its code is another."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accelkit import comparison, models, recorded, report
from accelkit.errors import MeasureError
from accelkit.measure import result
from accelkit.measure.bench import Load
from tests.gpu import record as module


@pytest.fixture
def record(monkeypatch):
    by = ("onnxruntime-cpu",), "onnxruntime-cpu:int8"
    steps = {
        "batch2": module.Step(*by, Load(2, 1), 2, by[0], {"threads": 1}),
        "batch1": module.Step(*by, Load(1, 1), 2),
    }
    monkeypatch.setattr(module, "STEPS", steps | {"other": module.Step(("tensorrt",), "tensorrt:fp32", Load(1, 1), 2)})
    monkeypatch.setattr(module, "SAMPLES", 64)
    return module


def test_steps_are_recorded_once_and_go_on_where_they_stopped(record, tmp_path, monkeypatch):
    specs = ["onnxruntime-cpu:fp32", "openvino:fp32", "onnxruntime-cpu:int8"]
    given = (models.get("text_recognition", "small"), specs, tmp_path)
    assert record.record("here", ["batch2"], *given) == [tmp_path / "here_batch2.json"]
    rows = result.read(tmp_path / "here_batch2.json")
    assert [row.label for row in rows] == ["onnxruntime-cpu int8", "onnxruntime-cpu"] and rows[0].speed["batch"] == 2
    for row in rows:
        assert row.versus["path"] == "onnxruntime-cpu int8"
        assert result.recompute(row, tmp_path / row.provenance["raw"]) == (row.speed, row.versus)
        own = row.speed["in_process"]
        assert own["throughput"] > 0 and own["interval"][0] <= own["share"] <= own["interval"][1]
    assert "of its in-process rate" in report.table(rows)
    asked = []
    monkeypatch.setattr(comparison, "compare", lambda model, names, load, **rest: asked.append(load.batch) or rows)
    monkeypatch.setattr(recorded, "keep", lambda *given: None)
    record.record("here", ["batch2", "batch1"], *given)
    assert asked == [1]
    for name in ("code", "built_by"):
        with monkeypatch.context() as patch:
            patch.setattr(comparison, name, lambda *about: "other")
            record.record("here", ["batch2"], *given)
    assert asked == [1, 2, 2]
    older = [dataclasses.replace(row, provenance={**row.provenance}) for row in rows]
    for row in older:
        del row.provenance["builders"]
    result.write(tmp_path / "here_batch2.json", older)
    monkeypatch.setattr(comparison, "built_by", lambda *about: "other")
    record.record("here", ["batch2"], *given)
    assert asked == [1, 2, 2], "it does not say what built its files"
    assert record.record("here", ["other"], *given) == [], "none of its paths is here"


def test_without_a_gpu_it_says_so_in_one_line(record, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["record.py", "h200"])
    with pytest.raises(SystemExit, match="no path that runs on a GPU is here"):
        record.main()
    monkeypatch.setattr(sys, "argv", ["record.py", "h200", "batch3"])
    with pytest.raises(SystemExit) as end:
        record.main()
    assert end.value.code == 2


def test_the_files_of_a_path_are_built_beforehand_and_nothing_is_recorded(record, monkeypatch, capsys):
    small = models.get()
    monkeypatch.setattr(module.models, "get", lambda *given: small)
    monkeypatch.setattr(module, "record", lambda *given: pytest.fail("it records"))
    monkeypatch.setattr(sys, "argv", ["record.py", "here", "batch2", "batch1", "--build", "onnxruntime-cpu:int8"])
    record.main()
    lines = (
        r"batch2: onnxruntime-cpu:int8 is there, made in \d+ s\nbatch1: onnxruntime-cpu:int8 is there, made in \d+ s\n"
    )
    assert re.search(lines, capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["record.py", "here", "batch1", "--build", "torch-tensorrt:fp16"])
    with pytest.raises(SystemExit, match="^batch1: path torch-tensorrt is unavailable: needs an NVIDIA GPU"):
        record.main()


def test_pytorch_is_called_without_a_server_as_its_instance_calls_it(record, tmp_path):
    pytest.importorskip("torch")
    step = module.Step(("pytorch",), "pytorch:fp32", Load(2, 1), 2, ("pytorch",))
    with module.in_process("pytorch:fp32", models.get(), step, 8, tmp_path) as measure:
        run = measure()
    assert run.throughput > 0 and run.requests > 1


def test_a_process_that_ends_costs_its_own_number_and_no_other(record, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    script = tmp_path / "ends.py"
    script.write_text("print('ready')")
    monkeypatch.setattr(module, "INPROCESS", script)
    step = module.Step(("pytorch",), "pytorch:fp32", Load(2, 1), 2, ("pytorch",))
    with module.in_process("pytorch:fp32", models.get(), step, 2, tmp_path) as measure:
        for _ in range(2):
            with pytest.raises(MeasureError, match="cannot be measured without a server"):
                measure()


def test_steps_keep_log_and_result_of_each_and_go_on_behind_one_that_fails(tmp_path):
    script = Path(module.__file__).with_name("steps.sh")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([script, "h200", tmp_path, "batch3", "refusals"], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "batch3: exit code 2",
        "refusals: exit code 0",
    ]
    assert "no step batch3" in (tmp_path / "batch3.log").read_text()
    assert "skipped" in (tmp_path / "refusals.log").read_text() and (tmp_path / "refusals.tar.gz").exists()
    assert subprocess.run([script], capture_output=True).returncode == 2


def test_queues_run_beside_each_other_each_in_a_checkout_of_its_own(tmp_path):
    script = Path(module.__file__).with_name("queues.sh")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [script, "h200", tmp_path, "7 refusals", "8,9 batch3"], capture_output=True, text=True, env=env
    )
    assert done.returncode == 1, done.stderr
    assert sorted(line.split(",")[0] for line in done.stdout.splitlines() if "exit code" in line) == [
        "7: refusals: exit code 0",
        "8",
    ]
    assert "skipped" in (tmp_path / "7/refusals.log").read_text()
    assert "no step batch3" in (tmp_path / "8-9/batch3.log").read_text()
    assert (tmp_path / "7/checkout/accelkit").is_dir() and not (tmp_path / "7/checkout/.git").exists()
    assert subprocess.run([script], capture_output=True).returncode == 2
