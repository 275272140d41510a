"""The path fastertransformer: what it takes, what it builds, and that it serves what the committed config says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from accelkit import budget, comparison, lint, machine, models, paths, repository
from accelkit.errors import ConfigError, MeasureError, ModelError
from accelkit.export import export
from accelkit.measure import evidence, parity
from accelkit.measure.bench import Load
from accelkit.models.gpt import checkpoint
from accelkit.serving import Server

FT = paths.get("fastertransformer")


def test_it_takes_what_generates_and_needs_torch():
    here = machine.probe()
    bare = dataclasses.replace(here, runtimes={})
    full = dataclasses.replace(here, runtimes={"torch": "2"})
    assert FT.unavailable(full) is None and FT.unavailable(full, models.get("gpt")) is None
    assert FT.unavailable(full, models.get()).endswith("text_recognition generates nothing")
    assert FT.unavailable(bare, models.get("gpt")).endswith("missing here: pip install 'accelkit[torch]'")
    with pytest.raises(ConfigError, match="trees generates nothing"):
        FT.config(models.get("trees"))


@pytest.mark.parametrize("name", [name for name in paths.names() if name != "fastertransformer"])
def test_no_other_path_takes_it(name, made_up):
    if (reason := paths.unavailable(paths.get(name), made_up(), models.get("gpt"))) is None:
        pytest.fail(f"{name} takes a model that generates")
    assert "\n" not in reason


def test_settings_reach_the_files_and_the_config(tmp_path):
    pytest.importorskip("torch")
    gpt = models.get("gpt")
    placed = paths.place(
        FT, gpt, tmp_path, name="mine", tensor_para=2, pipeline_para=2, instances=3, max_batch_size=8, streaming=True
    )
    assert placed.directory == tmp_path / "mine" and placed.size_mb == pytest.approx(3.58, abs=0.05)
    found, state = checkpoint.read(tmp_path / "mine/1/2-gpu")
    assert found.ranks == 2 and all(np.array_equal(state[name], value) for name, value in gpt.state().items())
    made = FT.config(
        gpt, tensor_para=2, pipeline_para=2, instances=3, max_batch_size=8, streaming=True, data_type="fp16"
    )
    values = {key: value.string_value for key, value in made.parameters.items()}
    assert values == {"tensor_para_size": "2", "pipeline_para_size": "2", "data_type": "fp16", "model_type": "GPT"}
    assert (made.instance_group[0].count, made.max_batch_size, made.model_transaction_policy.decoupled) == (3, 8, True)
    findings = lint.file(tmp_path / "mine" / "config.pbtxt")
    assert [found.rule for found in findings] == ["ft-compiled"]


def test_a_cut_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(ModelError, match="heads 4 cannot be cut into 3 parts"):
        paths.place(FT, models.get("gpt"), tmp_path, tensor_para=3)
    assert list(tmp_path.iterdir()) == []


def test_the_committed_config_serves_with_parity_and_evidence(tmp_path):
    pytest.importorskip("torch")
    gpt = models.get("gpt")
    assert paths.served_name(gpt, FT.NAME) == "gpt_fastertransformer"
    paths.place(FT, gpt, tmp_path)
    committed = repository.read(Path(__file__).parents[2] / "model_repository" / "gpt_fastertransformer")
    (tmp_path / "gpt_fastertransformer/config.pbtxt").write_text(repository.text(committed))
    with Server(tmp_path, profile=tmp_path / "profiles") as server:
        verdict = parity.check(gpt, parity.served(server, "gpt_fastertransformer", gpt), "fp32", 32)
        assert verdict.passed and verdict.value == verdict.reference_value == 1 and verdict.samples == 32
    found = evidence.READERS[FT.EVIDENCE](tmp_path / "profiles" / "gpt_fastertransformer")
    assert found.observed == "fp32" and found.nodes == {"cpu layer float32": 4}
    changed = gpt.reference("test", 8)
    changed["output_ids"][3, 0, 60] += 1
    rejected = parity.judge(gpt, gpt.reference("test", 8), changed, gpt.samples("test", 8).labels, "fp32")
    assert not rejected.passed


def test_no_project_is_written_that_no_image_could_serve(tmp_path):
    with pytest.raises(ConfigError, match="no image of NVIDIA has its backend"):
        export(models.get("gpt"), "fastertransformer", tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_proves_nothing_is_none(tmp_path):
    with pytest.raises(MeasureError, match="0 reports of ranks and no generated id in them"):
        evidence.READERS[FT.EVIDENCE](tmp_path)
    rank = {
        "rank": 0,
        "ids": 4,
        "device": "cpu",
        "dtype": "float32",
        "layers": 2,
        "split": 8,
        "transport": "gloo",
        "steps": 4,
    }
    for ranks, said in (
        (
            [rank | {"calls": {"all_reduce": 16}}, rank | {"split": 9, "calls": {"all_reduce": 16}}],
            "each should hold an equal part",
        ),
        ([rank | {"calls": {"all_reduce": 16}}], "each should hold an equal part"),
        (
            [rank | {"calls": {"all_reduce": 15}}] * 2,
            "rank 0 made 15 all-reduces, two for each of its layers and steps are 16",
        ),
    ):
        facts = {"tensor_para": 2, "pipeline_para": 1, "ranks": ranks}
        (tmp_path / "1-x.transformer").write_text(json.dumps(facts))
        with pytest.raises(MeasureError, match=said):
            evidence.READERS[FT.EVIDENCE](tmp_path)
    (tmp_path / "1-x.transformer").write_text("{")
    with pytest.raises(MeasureError, match="holds no report of ranks"):
        evidence.READERS[FT.EVIDENCE](tmp_path)


def test_a_comparison_has_it_as_its_baseline(tmp_path):
    pytest.importorskip("torch")
    rows = comparison.compare(
        models.get("gpt"),
        ["fastertransformer", "openvino", "fil"],
        load=Load(1, 1),
        out=tmp_path,
        progress=False,
        limits=budget.budget(),
    )
    found = {row.path: row for row in rows}
    assert found["fastertransformer"].status == "measured" and found["fastertransformer"].parity["passed"], rows[
        0
    ].reason
    assert {found[name].status for name in ("openvino", "fil")} == {"unavailable"}
    assert "generates id by id" in found["openvino"].reason
