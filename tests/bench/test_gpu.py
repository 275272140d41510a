"""What TensorRT brings over the CUDA provider, and what serving costs on a GPU: ratios within one run of `full`."""

import pytest

from accelkit import models
from tests.gpu import record

NATIVE, DEFAULT = "tensorrt fp16", "onnxruntime-cuda tf32"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The step batch16 of the records, measured now."""
    model, folder = models.get("text_recognition", "full"), tmp_path_factory.mktemp("gpu")
    step = record.STEPS["batch16"]
    specs = step.of(record.on_gpu(model))
    if not {"tensorrt:fp16", step.baseline} <= {*specs}:
        pytest.skip("needs an NVIDIA GPU with TensorRT and ONNX Runtime's CUDA provider")
    return {row.label: row for row in record.measured(step, model, specs, folder)}


def test_every_row_is_proven(rows):
    assert {label: row.status for label, row in rows.items()} == dict.fromkeys(rows, "measured")


def test_native_fp16_brings_2_82_times_the_cuda_providers_default(rows):
    """2.82 is what a well-known tutorial reports for the TensorRT provider over the CUDA provider."""
    low, high = rows[NATIVE].versus["interval"]
    print(f"{NATIVE} over {DEFAULT}: {rows[NATIVE].versus['ratio']:.2f}, {low:.2f} to {high:.2f}")
    assert rows[NATIVE].versus["path"] == DEFAULT and rows[NATIVE].versus["ratio"] >= 2.82


def test_the_default_is_served_at_85_percent_of_its_in_process_rate(rows):
    own = rows[DEFAULT].speed["in_process"]
    print(f"{DEFAULT}: served at {own['share']:.2f} of {own['throughput']:.0f} infer/s")
    assert own["share"] >= 0.85


@pytest.mark.parametrize(("precision", "points"), [("fp16", 0.002), ("int8", 0.005)])
def test_word_accuracy_stays(rows, precision, points):
    held = {label: row.parity for label, row in rows.items() if row.precision["requested"] == precision}
    assert held
    for label, found in held.items():
        print(f"{label}: {found['reference_value']:.4f} to {found['value']:.4f} of {found['samples']} words")
        assert found["value"] >= found["reference_value"] - points
