"""The path openvino: built, served, proven in FP32 and INT8; its configs; its evidence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from accelkit import machine, models, paths, repository
from accelkit.errors import MeasureError, ModelError
from accelkit.measure import evidence, parity
from accelkit.serving import Server

COMMITTED = Path(__file__).parents[2] / "model_repository"
PATH = paths.get("openvino")


@pytest.fixture(scope="module")
def model():
    return models.get()


def ran_in(precision: str) -> str:
    """What this CPU computes a precision in: OpenVINO takes BF16 for fp32 where the CPU multiplies it."""
    return parity.held_to(precision, PATH.REDUCED if machine.bf16(machine.probe().isa) else None)


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    """Parity by precision, and the evidence that the ended server left."""
    store, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    placed = {precision: paths.place(PATH, model, store, precision) for precision in PATH.PRECISIONS}
    with Server(store, profile=profiles) as server:
        found = {
            precision: parity.check(model, parity.served(server, one.directory.name, model), ran_in(precision), 100)
            for precision, one in placed.items()
        }
    read = {
        precision: evidence.READERS[PATH.EVIDENCE](profiles / one.directory.name) for precision, one in placed.items()
    }
    return placed, found, read


@pytest.mark.parametrize("precision", PATH.PRECISIONS)
def test_served_it_keeps_its_answers_and_runs_in_its_precision(served, precision):
    """100 samples are no multiple of the batch: the last request is padded."""
    placed, found, read = served
    assert found[precision].passed, found[precision].reason
    # Where INT8 is fastest, what stays in FP32 can be a part of the time that shows, never the larger one.
    assert read[precision].observed in (ran_in(precision), f"{ran_in(precision)}+fp32")
    assert read[precision].shares[ran_in(precision)] > 0.5
    assert read[precision].nodes[f"CPU {ran_in(precision)} Convolution"] == 32
    assert "NUM_STREAMS 1" in read[precision].how
    assert sorted(file.name for file in placed[precision].files) == ["model.bin", "model.xml"]
    assert found[precision].distance.max_abs > 0, "another engine is never equal to the last bit"


def test_the_int8_file_is_a_quarter_of_the_float_one(served):
    placed = served[0]
    assert 0.2 < placed["int8"].size_mb / placed["fp32"].size_mb < 0.35


@pytest.mark.parametrize("name", ["openvino", "onnxruntime-cpu"])
def test_the_committed_int8_config_equals_what_the_code_generates(model, name):
    made = paths.get(name).config(model, precision="int8")
    assert made.name.endswith("_int8") and repository.equal(repository.read(COMMITTED / made.name), made)


def test_the_config_is_for_the_batch_that_requests_have(model):
    made = PATH.config(model)
    assert (made.max_batch_size, list(made.input[0].dims), made.HasField("dynamic_batching")) == (
        16,
        [1, 32, 100],
        True,
    )
    assert made.parameters["ENABLE_BATCH_PADDING"].string_value == "YES"
    single = PATH.config(model, batch=1)
    assert (single.max_batch_size, single.HasField("dynamic_batching"), dict(single.parameters)) == (1, False, {})
    free = PATH.config(model, max_batch_size=0)
    assert (free.max_batch_size, list(free.input[0].dims), list(free.output[0].dims)) == (
        0,
        [-1, 1, 32, 100],
        [-1, 26, 37],
    )
    assert PATH.config(model, batch=1000).max_batch_size == 1000  # compiled in as asked, beyond other configs' batch
    tuned = PATH.config(model, threads=4, streams=2, hint="THROUGHPUT", padding=False, parameters={"HINT_BF16": "YES"})
    assert {key: value.string_value for key, value in tuned.parameters.items()} == {
        "INFERENCE_NUM_THREADS": "4", "NUM_STREAMS": "2", "PERFORMANCE_HINT": "THROUGHPUT", "HINT_BF16": "YES"
    }  # fmt: skip


def test_what_openvino_cannot_read_is_one_line(model, tmp_path):
    class Cut:
        name, precisions = model.name, model.precisions

        @staticmethod
        def onnx() -> Path:
            (tmp_path / "cut.onnx").write_bytes(model.onnx().read_bytes()[:1000])
            return tmp_path / "cut.onnx"

    with pytest.raises(ModelError, match="OpenVINO cannot read .*cut.onnx: ") as refused:
        PATH.build(Cut(), tmp_path)
    assert "\n" not in str(refused.value) and "Exception from" not in str(refused.value)


def test_it_is_unavailable_without_its_package_and_for_forests(model):
    here = machine.probe()
    bare = dataclasses.replace(here, runtimes={})
    assert (
        "missing here: pip install 'accelkit[cpu]'" in PATH.unavailable(bare) and PATH.unavailable(here, model) is None
    )
    assert "no operators for forests" in PATH.unavailable(here, models.get("trees"))


def report(folder: Path, *layers: tuple[str, str, float]) -> Path:
    facts = [{"type": kind, "implementation": kernel, "microseconds": time} for kind, kernel, time in layers]
    folder.mkdir(exist_ok=True)
    name = f"1-{len(list(folder.iterdir()))}.openvino"
    (folder / name).write_text(json.dumps({"settings": {"NUM_STREAMS": "1"}, "layers": facts}))
    return folder


def test_evidence_weighs_layers_by_time_and_leaves_conversions_out(tmp_path):
    layers = [
        ("Convolution", "brgconv_avx512_I8", 90.0),
        ("Reorder", "jit_uni_f32", 500.0),
        ("Softmax", "ref_f32", 4.0),
    ]
    folder = report(tmp_path / "a", *layers)
    assert evidence.from_layers(report(folder, *layers)).observed == "int8"
    assert evidence.from_layers(folder).nodes == {
        "CPU int8 Convolution": 1,
        "CPU fp32 Reorder": 1,
        "CPU fp32 Softmax": 1,
    }
    half = report(tmp_path / "b", *layers, ("Convolution", "jit_avx2_f32", 80.0))
    assert evidence.from_layers(half).observed == "int8+fp32"


def test_no_evidence_is_an_error(tmp_path):
    with pytest.raises(MeasureError, match="0 reports and no executed layer in them"):
        evidence.from_layers(tmp_path)
    (tmp_path / "1-x.openvino").write_text("{}")
    with pytest.raises(MeasureError, match="holds no report of OpenVINO's layers: 'layers'"):
        evidence.from_layers(tmp_path)
