"""Every GPU path in every precision on real hardware: built, served, proven by its answers and by what ran."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu_calls
import pytest

from accelkit import interpreters, machine, paths
from accelkit.measure import evidence, parity
from accelkit.serving import Server
from tests.gpu.conftest import here

GPU = [(name, one) for name in paths.names() if paths.get(name).GPU for one in paths.get(name).PRECISIONS]
GPU = [(name, one) for name, one in GPU if not isinstance(paths.get(name), paths.Unbuilt)]


@pytest.mark.parametrize(("name", "precision"), GPU)
def test_it_is_right_and_runs_where_and_as_it_says(name, precision, model, tmp_path):
    path = paths.get(name)
    here(path, model)
    fitted = paths.fitted(path, machine.probe(), 16, model.max_batch)
    placed = paths.place(path, model, tmp_path / "models", precision, **fitted)
    served, profile = placed.directory.name, tmp_path / "profile"
    with Server(tmp_path / "models", profile=profile, interpreters=interpreters.own(path)) as server:
        infer = parity.served(server, served, model)
        rule = parity.held_to(precision, path.REDUCED)
        found = parity.check(model, infer, rule, 1024, 16)
        odd = parity.check(model, infer, rule, 39, 13)
    assert found.passed and odd.passed, found.reason or odd.reason
    seen = evidence.READERS[path.EVIDENCE](profile)
    assert seen.observed in (precision, rule), seen


@pytest.mark.parametrize("scenario", gpu_calls.SCENARIOS)
def test_a_configuration_makes_the_calls_that_were_recorded_without_a_gpu(scenario, tmp_path):
    """In the interpreter of the backend; it needs the kit's own packages there."""
    if scenario.startswith("tensorrt"):
        here(paths.get("onnxruntime-tensorrt"), None)
    here(paths.get("onnxruntime-cuda"), None)
    if interpreters.named("onnxruntime"):
        pytest.skip("onnxruntime runs in an interpreter without the kit's packages")
    code = "import json, sys, pathlib, gpu_calls; print(json.dumps(gpu_calls.play(pathlib.Path(sys.argv[1]), sys.argv[2], True)[0]))"
    root = Path(gpu_calls.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{root}:{Path(gpu_calls.__file__).parent}"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), scenario], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == gpu_calls.recorded()[scenario]
