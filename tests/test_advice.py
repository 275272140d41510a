"""The decision tree: every leaf can be reached, every path has one, and bad answers are refused."""

from __future__ import annotations

import itertools

import pytest

from accelkit import advice, paths
from accelkit.errors import ConfigError

VNNI = ("avx2", "avx512f", "avx512_vnni")


@pytest.mark.parametrize(
    ("answers", "path"),
    [
        ({"isa": ("avx2",)}, "onnxruntime-cpu"),
        ({"isa": VNNI}, "openvino"),
        ({"isa": ("avx2", "avx_vnni")}, "openvino"),
        ({"isa": ("amx_int8",)}, "openvino"),
        ({"gpus": 1}, "onnxruntime-tensorrt"),
        ({"gpus": 1, "operators": "all"}, "tensorrt"),
        ({"gpus": 1, "operators": "some"}, "onnxruntime-tensorrt"),
        ({"gpus": 1, "engine": "no"}, "onnxruntime-cuda"),
        ({"gpus": 1, "framework": "pytorch"}, "torch-tensorrt"),
        ({"gpus": 1, "framework": "tensorflow"}, "tf-tensorrt"),
        ({"kind": "trees"}, "fil"),
        ({"kind": "trees", "gpus": 4}, "fil"),
        ({"kind": "transformer"}, "fastertransformer"),
        ({"kind": "transformer", "gpus": 2}, "vllm"),
        ({"kind": "transformer", "gpus": 2, "goal": "latency"}, "tensorrt-llm"),
    ],
)
def test_advice(answers, path):
    found = advice.advise(**answers)
    assert found.path == path and path in paths.names()
    assert all([found.why, found.evidence, found.beware, found.lesson, found.shape, found.trail])


def test_every_combination_of_answers_ends_in_a_leaf_and_every_leaf_is_reached():
    keys = list(advice.QUESTIONS)
    combinations = itertools.product(*(advice.QUESTIONS[key]["answers"] for key in keys))
    reached = {advice.walk(dict(zip(keys, answers, strict=True))).path for answers in combinations}
    assert reached == set(advice.TABLE["leaves"]) <= set(paths.names())


def test_the_goal_shapes_the_load():
    fast, many = (advice.advise(goal=goal).shape for goal in ("latency", "throughput"))
    assert "95th percentile" in fast and "dynamic_batching" in many


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"kind": "spreadsheet"}, "kind='spreadsheet'.*network, trees, transformer"),
        ({"goal": "fame"}, "goal='fame'.*throughput, latency"),
        ({"colour": "red"}, "no question 'colour'.*framework"),
    ],
)
def test_an_unknown_question_or_answer_is_refused(answers, said):
    with pytest.raises(ConfigError, match=said):
        advice.advise(**answers)


def test_eras_are_told_honestly():
    leaves = advice.TABLE["leaves"]
    assert "Legacy" in leaves["tf-tensorrt"]["why"]
    assert "history" in leaves["vllm"]["beware"] and "history" in leaves["tensorrt-llm"]["beware"]
    for path in ("tensorrt", "onnxruntime-tensorrt"):
        assert (
            "TensorRT 11" in leaves[path]["beware"] and "put the precision into the ONNX file" in leaves[path]["beware"]
        )


def test_the_next_step_names_a_lesson_only_if_there_is_one():
    assert "01_triton_baseline" in advice.advise().next
    assert "lesson" not in advice.Advice("x", "", "", "", "", "99_none", ()).next


def test_tree_and_text_show_everything():
    drawn = advice.tree()
    assert all(f"→ {leaf}" in drawn for leaf in advice.TABLE["leaves"])
    assert all(about["ask"] in drawn for about in advice.QUESTIONS.values())
    shown = advice.text(advice.advise(gpus=1))
    assert all(f"{title}:" in shown for title in ("Try first", "Why", "Believe it when", "Beware", "Shape", "Next"))
    assert max(map(len, shown.splitlines())) <= 100
