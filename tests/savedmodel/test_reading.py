"""A SavedModel read without TensorFlow, its segments of TensorRT counted, and the cache that keeps it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import saved_model_bytes as made

from accelkit.backends.tensorflow import report
from accelkit.errors import ModelError
from accelkit.savedmodel import api, keeping, reading


def put(directory, data: bytes):
    directory.mkdir(parents=True)
    (directory / reading.FILE).write_bytes(data)
    return directory


def test_tags_signatures_types_and_shapes(tmp_path):
    ports = {"x.1": ("serving_default_x.1:0", made.FLOAT, [-1, 1, 32, 100]), "n": ("n:0", 9, [])}
    one = made.signature(ports, {"y": ("y:0", made.BFLOAT16, [-1])})
    (graph,) = reading.graphs(put(tmp_path / "m", made.saved_model({"mine": one}, tag="train")))
    assert graph.tags == ("train",) and reading.tagged([graph]) is None and reading.tagged([graph], "train") is graph
    found = graph.signatures["mine"]
    assert list(found.inputs) == ["n", "x.1"]
    assert found.inputs["x.1"] == reading.Port("serving_default_x.1:0", "FP32", (-1, 1, 32, 100))
    assert found.inputs["n"] == reading.Port("n:0", "INT64", ()) and found.outputs["y"].kind == ""


CONVERTED = made.saved_model(
    {"serving_default": b""},
    [made.node("serving_default_x", "Placeholder"), made.node("call", "StatefulPartitionedCall")],
    {
        "pruned": [
            made.node("x", "Placeholder"),
            made.node("TRTEngineOp_000_000", "TRTEngineOp", "TRTEngineOp_000_000_native_segment", "FP16"),
            made.node("TRTEngineOp_000_001", "TRTEngineOp", "other_segment", "FP16"),
            made.node("Reshape", "Reshape"),
            made.node("Shape", "Shape"),
        ],
        "TRTEngineOp_000_000_native_segment": [
            made.node("w", "Const"),
            *(made.node(f"c{n}", "Conv2D") for n in range(3)),
        ],
        "other_segment": [made.node("r", "Relu"), made.node("c", "Conv2D")],
        "elsewhere": [made.node("a", "AddV2")],
    },
)


def test_what_tensorrt_took_and_what_stayed(tmp_path):
    (graph,) = reading.graphs(put(tmp_path / "m", CONVERTED))
    assert reading.segments(graph) == {
        "engines": {
            "TRTEngineOp_000_000": {"precision": "FP16", "nodes": {"Conv2D": 3}},
            "TRTEngineOp_000_001": {"precision": "FP16", "nodes": {"Relu": 1, "Conv2D": 1}},
        },
        "in_tensorrt": 5,
        "stayed": {"Reshape": 1, "Shape": 1},
    }


def test_what_the_session_put_into_its_own_graph_counts_once(tmp_path):
    """On two devices, between which it sends; the file's functions that held the engines were taken up into it."""
    engine = made.node("call/TRTEngineOp_000_000", "TRTEngineOp", "TRTEngineOp_000_000_native_segment", "FP16")
    parts = [
        made.graph(
            [made.node("x", "_Arg"), made.node("c", "Conv2D"), made.node("x/_1", "_Send"), made.node("y/_2", "_Recv")]
        ),
        made.graph([made.node("x/_1", "_Recv"), engine, made.node("r", "Reshape"), made.node("y/_2", "_Send")]),
    ]
    metadata = SimpleNamespace(
        partition_graphs=[SimpleNamespace(SerializeToString=partial(bytes, one)) for one in parts]
    )
    runner = SimpleNamespace(found=SimpleNamespace(directory=put(tmp_path / "m", CONVERTED)))
    assert report._segments(runner, metadata) == {
        "engines": {"call/TRTEngineOp_000_000": {"precision": "FP16", "nodes": {"Conv2D": 3}}},
        "in_tensorrt": 3,
        "stayed": {"Conv2D": 1, "Reshape": 1},
    }
    metadata.partition_graphs.pop()  # engines that stay in functions are the file's
    assert report._segments(runner, metadata) == reading.segments(reading.graphs(tmp_path / "m")[0])


def test_what_is_no_saved_model_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=f"nothing is no SavedModel: there is no {reading.FILE}$"):
        reading.graphs(tmp_path / "nothing")
    for number, data in enumerate((CONVERTED[:-1], CONVERTED[: len(CONVERTED) // 2], b"\xff" * 40, b"no protobuf")):
        with pytest.raises(ModelError, match="is no SavedModel: saved_model.pb is damaged$"):
            reading.graphs(put(tmp_path / str(number), data))


def test_it_needs_neither_tensorflow_nor_protobuf(tmp_path):
    folder = put(tmp_path / "m", CONVERTED)
    code = (
        "import sys; from pathlib import Path; from accelkit.savedmodel import reading; "
        f"reading.graphs(Path({str(folder)!r})); print({{'tensorflow', 'google', 'numpy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_shows_it(tmp_path):
    command = [sys.executable, "-m", "accelkit.savedmodel", "show"]
    done = subprocess.run([*command, put(tmp_path / "m", CONVERTED)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["graphs"][0]["segments"]["in_tensorrt"] == 5
    done = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("accelkit: error: ") and done.stderr.count("\n") == 1


def test_a_directory_is_kept_whole_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    calls = []

    def make(target):
        calls.append(target)
        put(target, CONVERTED)
        (target / "variables").mkdir()
        (target / "variables/data").write_bytes(b"weights")
        return {"said": 1}

    first = keeping.kept("stem", tmp_path / "a/model.savedmodel", make)
    again = keeping.kept("stem", tmp_path / "b/model.savedmodel", make)
    assert len(calls) == 1 and first == again and first["said"] == 1 and first["wall_seconds"] >= 0
    listed = keeping.listed(tmp_path / "b/model.savedmodel")
    assert list(listed) == ["model.savedmodel/saved_model.pb", "model.savedmodel/variables/data"]
    assert listed["model.savedmodel/variables/data"].read_bytes() == b"weights"
    (kept,) = (tmp_path / "cache/models").glob("stem-*.savedmodel")
    kept.write_bytes(kept.read_bytes()[:-1])  # a damaged one is made anew
    keeping.kept("stem", tmp_path / "c/model.savedmodel", make)
    assert len(calls) == 2


def test_the_command_says_which_libraries_load():
    done = subprocess.run(
        [sys.executable, "-m", "accelkit.savedmodel", "libraries"], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    found = said["libraries"]
    assert {"libnvinfer.so.8", "libcudnn.so.8", "libcublas.so.12"} <= set(found) and all(found.values())
    assert said["log"] == []


def test_a_library_that_is_not_found_by_its_name_is_tried_where_packages_keep_theirs(tmp_path, monkeypatch):
    for package, content in (("broken", b"text"), ("whole", Path(np.random.mtrand.__file__).read_bytes())):
        (tmp_path / "nvidia" / package / "lib").mkdir(parents=True)
        (tmp_path / "nvidia" / package / "lib/libmadeup.so.9").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    first, second, third = api._loading("libmadeup.so.9").split("; ")
    assert "cannot open" in first and third == "loads as nvidia/whole/lib/libmadeup.so.9"
    assert second.startswith("nvidia/broken/lib/libmadeup.so.9: ")  # without the folders before it


def test_the_log_of_a_search_ends_with_how_it_ended_and_names_no_folder(tmp_path, monkeypatch):
    module = tmp_path / "tensorflow.py"
    module.write_text("import os; print('level', os.environ['TF_CPP_MIN_LOG_LEVEL'], flush=True); 1 / 0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = api.log()
    assert said[0] == "level 0" and "ZeroDivisionError" in said[-2] and said[-1] == "exit code 1"
    assert 'File "tensorflow.py", line 1' in "\n".join(said) and str(tmp_path) not in "\n".join(said)
    module.write_text(module.read_text().replace("1 / 0", "import time; time.sleep(60)"))
    monkeypatch.setattr(api, "PATIENCE_S", 2)
    assert api.log() == ["level 0", "stopped after 2 s"]


def test_what_is_no_absolute_path_stays_in_a_log():
    for text in ("I tensorflow/core/util/port.cc:153] at 10/9", "https://www.tensorflow.org/install/gpu", "ELF / 64"):
        assert api._without_folders(text) == text
    assert api._without_folders("LD_LIBRARY_PATH: /opt/a/lib:/opt/c/lib64") == "LD_LIBRARY_PATH: lib:lib64"
