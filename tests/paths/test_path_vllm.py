"""The path vllm: what it takes, what it writes, and that the committed config is what the code generates."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from accelkit import comparison, lint, machine, models, paths, repository
from accelkit.errors import ConfigError
from accelkit.measure.bench import Load

VLLM = paths.get("vllm")
COMMITTED = Path(__file__).parents[2] / "model_repository" / "gpt_vllm"


def test_it_takes_what_generates_and_needs_a_gpu_and_vllm(monkeypatch):
    monkeypatch.delenv("ACCELKIT_PYTHON_VLLM", raising=False)
    here = machine.probe()
    bare = dataclasses.replace(here, runtimes={}, gpus=())
    gpu = machine.Gpu("H200", 141.0, "9.0", "580")
    full = dataclasses.replace(here, runtimes={"vllm": "0.24.0"}, gpus=(gpu,))
    assert VLLM.unavailable(full) is None and VLLM.unavailable(full, models.get("gpt")) is None
    assert VLLM.unavailable(full, models.get()).endswith("text_recognition generates nothing")
    assert "missing here: an NVIDIA GPU, the package vllm" in VLLM.unavailable(bare, models.get("gpt"))
    with pytest.raises(ConfigError, match="trees generates nothing"):
        VLLM.config(models.get("trees"))


def test_the_committed_config_is_what_the_code_generates():
    gpt = models.get("gpt")
    assert repository.equal(repository.read(COMMITTED), VLLM.config(gpt))
    assert lint.check(VLLM.config(gpt)) == []


def test_model_json_says_what_was_asked_for(tmp_path):
    built = VLLM.build(
        models.get("gpt"), tmp_path, tensor_para=2, pipeline_para=2, data_type="fp16", arguments={"max_num_seqs": 64}
    )
    said = json.loads(built.files["model.json"].read_text())
    assert (said["tensor_parallel_size"], said["pipeline_parallel_size"]) == (2, 2)
    assert (said["dtype"], said["max_num_seqs"]) == ("float16", 64)
    there = sorted(path.name for path in Path(said["model"]).iterdir())
    assert there == ["config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json"]


def test_a_comparison_leaves_it_to_the_lesson(tmp_path, monkeypatch):
    monkeypatch.setattr(VLLM, "unavailable", lambda *_: None)
    rows = comparison.compare(
        models.get("gpt"), ["vllm"], baseline="vllm", load=Load(1, 1), out=tmp_path, progress=False
    )
    assert [row.status for row in rows] == ["unavailable"] and "answers text in parts" in rows[0].reason
