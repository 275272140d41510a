"""The path fil: what it takes, what it places, and parity of every form of the kit's forest on a real server."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from accelkit import lint, machine, models, paths, repository
from accelkit.backends.fil.keys import FILES, KEYS
from accelkit.errors import ConfigError
from accelkit.measure import evidence, parity
from accelkit.models import trees
from accelkit.models.trees import table
from accelkit.serving import Server

COMMITTED = Path(__file__).parents[2] / "model_repository"
FIL, ONNX = paths.get("fil"), paths.get("onnxruntime-cpu")


def test_it_takes_forests_and_says_what_is_missing():
    here = machine.probe()
    assert FIL.unavailable(here) is None and FIL.unavailable(here, models.get("trees")) is None
    assert FIL.unavailable(here, models.get()).endswith("text_recognition is a neural network")
    bare = dataclasses.replace(here, runtimes={})
    assert FIL.unavailable(bare, models.get("trees")).endswith("missing here: pip install 'accelkit[trees]'")
    for call in (lambda: FIL.config(models.get()), lambda: FIL.build(models.get(), Path())):
        with pytest.raises(ConfigError, match="needs a forest .* is a neural network"):
            call()


@pytest.mark.parametrize("variant", trees.VARIANTS)
def test_the_forests_file_is_placed_under_the_backends_default_name(tmp_path, variant):
    model = models.get("trees", variant)
    placed = paths.place(FIL, model, tmp_path)
    assert placed.directory == tmp_path / "trees_fil"
    assert [file.name for file in placed.files] == [FILES[model.model_type]]
    assert placed.files[0].read_bytes() == model.forest().read_bytes()
    assert repository.read(placed.directory).parameters["model_type"].string_value == model.model_type


def test_overrides_reach_the_config():
    made = FIL.config(
        models.get("trees"), name="mine", threads=2, instances=3, dynamic_batching=False, max_batch_size=8, shap=True,
        parameters={"threshold": "0.2"},
    )  # fmt: skip
    assert (made.name, made.max_batch_size, made.instance_group[0].count) == ("mine", 8, 3)
    assert not made.HasField("dynamic_batching")
    assert [(io.name, list(io.dims)) for io in made.output] == [("output__0", [2]), ("treeshap_output", [17])]
    values = {key: value.string_value for key, value in made.parameters.items()}
    assert values["cpu_nthread"] == "2" and values["threshold"] == "0.2"
    assert "cpu_nthread" not in FIL.config(models.get("trees")).parameters
    assert list(FIL.config(models.get("trees", "sklearn"), shap=True).output[1].dims) == [34]
    assert set(values) <= {key.name for key in KEYS}


def test_the_config_loads_in_servers_of_every_era():
    made = FIL.config(models.get("trees"))
    assert {"is_classifier", "output_class", "threshold"} <= set(made.parameters)
    assert [finding for finding in lint.check(made) if finding.severity == "error"] == []


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with every form of the forest, its ONNX form and the committed configs, and what they ran."""
    folder, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for path in (FIL, ONNX):
        name = paths.served_name(models.get("trees"), path.NAME)
        shutil.copytree(COMMITTED / name, folder / name, ignore=shutil.ignore_patterns("[0-9]*"))
        placed = paths.place(path, models.get("trees"), folder)
        assert (placed.directory / "config.pbtxt").read_bytes() == (COMMITTED / name / "config.pbtxt").read_bytes()
    for variant in trees.VARIANTS[1:]:
        paths.place(FIL, models.get("trees", variant), folder, name=variant)
    with Server(folder, profile=profiles) as server:
        yield server, profiles


@pytest.mark.parametrize("name", ["trees_fil", "trees_onnxruntime_cpu", *trees.VARIANTS[1:]])
def test_every_form_keeps_parity_and_the_area_under_the_curve(served, name):
    server, _ = served
    model = models.get("trees", name if name in trees.VARIANTS else None)
    found = parity.check(model, parity.served(server, name, model), "fp32", 20_000, batch=4096)
    assert found.passed and found.distance.max_abs < 1e-5 and found.samples == 20_000, found
    assert found.value == pytest.approx(found.reference_value, abs=1e-6) and found.metric == "roc_auc"


def test_single_payments_are_answered_as_in_a_batch(served):
    server, _ = served
    inputs = table.split("test")[0][:20]
    for name in ("trees_fil", "trees_onnxruntime_cpu"):
        rows = [server.infer(name, {"input__0": row[None]})["output__0"] for row in inputs]
        assert np.allclose(np.concatenate(rows), models.get("trees").reference("test", 20), atol=1e-5)


def test_the_committed_configs_are_served_as_they_are(served):
    server, profiles = served
    for name in ("trees_fil", "trees_onnxruntime_cpu"):
        told = server.config(name)
        assert (told["backend"], told["max_batch_size"]) == (repository.read(COMMITTED / name).backend, 4096)
        assert [(group["kind"], group["count"]) for group in told["instance_group"]] == [("KIND_CPU", 1)]
    server.infer("trees_fil", {"input__0": table.split("test")[0][:5]})
    server.unload("trees_fil")
    found = evidence.READERS[FIL.EVIDENCE](profiles / "trees_fil")
    assert found.nodes == {"Treelite GTIL tree float32": 100} and found.observed == "fp32"
