"""builders: what builds a path's files is found from what its module imports or runs, for each precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelkit import builders, comparison, models, paths


def built_by(name: str, precision: str) -> set[str]:
    """What builds a path's files of text recognition, named inside the package."""
    found = builders.sources(Path(paths.get(name).__file__), precision, "text_recognition")
    return {str(file.relative_to(builders.PACKAGE)) for file in found}


@pytest.mark.parametrize(
    ("name", "precision", "there", "not_there"),
    [
        ("tensorrt", "fp32", {"engine/building.py", "engine/api.py"}, {"models/half.py", "models/signed.py"}),
        ("tensorrt", "fp16", {"engine/building.py", "models/half.py"}, {"models/signed.py"}),
        ("tensorrt", "int8", {"models/signed.py", "models/quantize.py"}, {"models/half.py"}),
        ("torch-tensorrt", "fp32", {"torchfiles/accelerated.py", "paths/pytorch.py"}, {"engine/building.py"}),
        ("pytorch", "fp32", {"models/text_recognition/training/network.py"}, {"paths/pytorch.py"}),
        ("tf-tensorrt", "fp16", {"savedmodel/converting.py", "savedmodel/keeping.py"}, {"models/half.py"}),
        ("onnxruntime-cpu", "int8", {"models/quantize.py"}, set()),
        ("vllm", "fp32", {"models/gpt/huggingface.py"}, {"models/gpt/checkpoint.py", "models/gpt/model.py"}),
    ],
)
def test_the_builders_of_a_path(name, precision, there, not_there):
    found = built_by(name, precision)
    assert there <= found and not not_there & found and "models/files.py" not in found


def test_what_is_written_as_it_is_has_no_builder():
    assert built_by("onnxruntime-cpu", "fp32") == built_by("fil", "fp32") == set()


def test_every_room_builds_for_some_path():
    rooms = {file.split("/")[0] for name in paths.names() for file in built_by(name, paths.get(name).PRECISIONS[0])}
    assert rooms >= set(builders.ROOMS)
    for room in builders.ROOMS:
        assert (builders.PACKAGE / room / "__main__.py").exists()


def test_a_change_of_a_builder_changes_the_hash_of_what_it_built(monkeypatch, tmp_path):
    import shutil

    copy = shutil.copytree(builders.PACKAGE, tmp_path / "accelkit", ignore=shutil.ignore_patterns("assets", "*.pyc"))
    find = builders.sources
    monkeypatch.setattr(builders, "sources", lambda module, *rest: find(copy / "paths" / module.name, *rest, copy))
    model, pytorch, plain = models.get(), paths.get("pytorch"), paths.get("onnxruntime-cpu")
    before = [comparison.built_by(path, model, "fp32") for path in (pytorch, plain)]
    with (copy / "torchfiles" / "plain.py").open("a") as file:
        file.write("# changed\n")
    after = [comparison.built_by(path, model, "fp32") for path in (pytorch, plain)]
    assert after[0] != before[0] and after[1] == before[1]
