"""Every GPU path in every precision on real hardware: built, served, proven by its answers and by what ran."""

import json

import gpu_calls
import gpu_scenarios
import pytest

from accelkit import interpreters, machine, paths, repository
from accelkit.measure import evidence, parity
from accelkit.paths import pytorch
from accelkit.serving import Server
from tests.gpu.conftest import here

GPU = [(name, one) for name in paths.names() if paths.get(name).GPU for one in paths.get(name).PRECISIONS]
GPU = [(name, one) for name, one in GPU if paths.get(name).EVIDENCE != "none"]


@pytest.mark.parametrize("scenario", gpu_scenarios.SCENARIOS)
def test_a_configuration_makes_the_calls_that_were_recorded_without_a_gpu(scenario, tmp_path):
    path = paths.get(f"onnxruntime-{'tensorrt' if scenario.startswith('tensorrt') else 'cuda'}")
    here(path, None)
    order = [str(gpu_scenarios.prepare(tmp_path, scenario))]
    said = interpreters.run(interpreters.name(path.NAME, path.BACKEND), "tests.fixtures.gpu_calls", order)
    assert json.loads(said.splitlines()[-1]) == gpu_calls.recorded()[scenario]


@pytest.mark.parametrize(("name", "precision"), GPU)
def test_it_is_right_and_runs_where_and_as_it_says(name, precision, full, tmp_path):
    """With the full model, as in the records: plans that a record made on this machine come from the cache."""
    path, model = paths.get(name), full
    here(path, model)
    fitted = paths.fitted(path, machine.probe(), 16, model.max_batch)
    placed = paths.place(path, model, tmp_path / "models", precision, **fitted)
    served, profile = placed.directory.name, tmp_path / "profile"
    with Server(tmp_path / "models", profile=profile, interpreters=interpreters.own(path)) as server:
        named = paths.as_served(model, repository.read(placed.directory))
        infer = parity.served(server, served, named)
        rule = parity.held_to(precision, path.REDUCED)
        found = parity.check(named, infer, rule, 1024, 16)
        odd = parity.check(named, infer, rule, 39, 13)
    seen = evidence.READERS[path.EVIDENCE](profile)
    print(found, odd, seen, sep="\n")  # a log that is cut off has them too
    assert found.passed and odd.passed, (found, odd)
    assert seen.observed.split("+")[0] in (precision, rule), seen  # the first is what most of the time went into


def test_an_operator_that_tensorrt_lacks_stays_with_pytorch_and_the_answers_stay(model, tmp_path):
    path = paths.get("torch-tensorrt")
    here(path, model)
    built = path.build(model, tmp_path, "fp16", options=["--detour"])
    parts = pytorch.facts(built)["partition"]
    assert parts["engines"] > 1 and parts["outside"].get("aten::copysign") == 3, parts
    assert 0 < parts["inside"] < parts["operators"]
    config = path.config(model, precision="fp16", name="detour")
    repository.add(tmp_path / "models", config, built.files)
    named = paths.as_served(model, config)
    with Server(tmp_path / "models", profile=tmp_path / "profile", interpreters=interpreters.own(path)) as server:
        found = parity.check(named, parity.served(server, "detour", named), "fp16", 256)
    assert found.passed, found.reason
    assert "3 copysign" in evidence.READERS[path.EVIDENCE](tmp_path / "profile").how
