"""The records of this machine, made when ACCELKIT_RECORD names them: `ACCELKIT_RECORD=h200 python -m pytest tests/gpu`."""

import os

import pytest

from accelkit import models, recorded
from accelkit.measure import result
from tests.gpu import record

NAME = os.environ.get("ACCELKIT_RECORD")


@pytest.mark.skipif(not NAME, reason="ACCELKIT_RECORD does not say what the records are to be called")
@pytest.mark.parametrize("step", record.STEPS)
def test_a_step_is_recorded_and_every_row_of_it_is_proven(step):
    model = models.get("text_recognition", "full")
    specs = record.on_gpu(model)
    assert specs, "no path that runs on a GPU is here"
    if not record.STEPS[step].of(specs):
        pytest.skip("none of its paths is here")
    (file,) = record.record(NAME, [step], model, specs, recorded.FOLDER)
    rows = result.read(file)
    assert {f"{row.path}:{row.precision['requested']}" for row in rows} == set(record.STEPS[step].of(specs))
    for row in rows:
        assert result.recompute(row, recorded.FOLDER / row.provenance["raw"]) == (row.speed, row.versus)
