"""repository.py: configs parsed and written through the protobuf, errors in one line, models put into a repository."""

import errno
import shutil
from pathlib import Path

import pytest

from accelkit import models, paths
from accelkit.errors import ConfigError
from accelkit.repository import add, equal, parse, read, text

COMMITTED = Path(__file__).parent.parent / "model_repository"


@pytest.fixture
def config():
    return paths.get("onnxruntime-cpu").config(models.get())


def test_text_and_parse_are_inverse(config):
    assert equal(parse(text(config)), config)


@pytest.mark.parametrize("name", paths.names())
def test_committed_config_equals_what_the_code_generates(name):
    found = [model for model in map(models.get, models.MODELS) if (COMMITTED / paths.served_name(model, name)).exists()]
    assert found and (name != paths.BASELINE or len(found) == len(models.MODELS) - 1)  # all but what generates
    for generated in [paths.get(name).config(model) for model in found]:
        assert equal(read(COMMITTED / generated.name), generated)


def test_committed_config_explains_itself():
    comments = [
        line
        for line in (COMMITTED / "text_recognition_onnxruntime_cpu" / "config.pbtxt").read_text().splitlines()
        if line.startswith("#")
    ]
    for word in ("instance", "max_queue_delay", "Graph level", "Threads"):
        assert any(word in line for line in comments), word


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ('name: "x"\nmax_batch_size: many', ":2:17: ", "Couldn't parse integer: many"),
        ("name: 'x'\nfoo: 3", ":2:1: ", 'no field named "foo".'),
        ("max_batch_sze: 3", ":1:1: ", 'Did you mean "max_batch_size"?'),
        ("dynamic_batching { prefered_batch_size: 3 }", ":1:20: ", 'Did you mean "preferred_batch_size"?'),
        ("input [ { data_type: TYPE_FLOAT } ]", ":1:22: ", "TYPE_FLOAT"),
        ("optimization { graph { level: '1' } }", ":1:31: ", "integer"),
        ("name: 'x", ":1:", "'x"),
    ],
)
def test_a_config_that_does_not_parse_is_one_line_with_its_place(tmp_path, content, place, reason):
    file = tmp_path / "config.pbtxt"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{file}{place}") and reason in message and "\n" not in message


def test_a_missing_and_a_binary_config_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path)
    (tmp_path / "config.pbtxt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "config.pbtxt")


def test_add_lays_out_config_and_version(tmp_path, config):
    source = tmp_path / "weights"
    source.write_bytes(b"onnx")
    directory = add(tmp_path / "repository", config, {"model.onnx": source, "extra/data.bin": source})
    files = sorted(str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file())
    assert files == ["1/extra/data.bin", "1/model.onnx", "config.pbtxt"]
    assert equal(read(directory), config)


def test_add_replaces_the_version_and_keeps_a_commented_config(tmp_path, config):
    shutil.copytree(COMMITTED, tmp_path, dirs_exist_ok=True)
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1"), two.write_text("2")
    add(tmp_path, config, {"model.onnx": one, "old": one})
    directory = add(tmp_path, config, {"model.onnx": two})
    assert [file.name for file in (directory / "1").iterdir()] == ["model.onnx"]
    assert (directory / "1" / "model.onnx").read_text() == "2"
    assert (directory / "config.pbtxt").read_text().startswith("#")
    config.max_batch_size = 8
    add(tmp_path, config, {"model.onnx": two})
    assert read(directory).max_batch_size == 8


def test_a_full_disk_leaves_nothing_behind(tmp_path, config, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ConfigError, match="No space left on device") as caught:
        add(tmp_path / "repository", config, {"model.onnx": tmp_path / "x"})
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "repository").iterdir()) == []


def test_a_failed_replacement_keeps_the_old_model(tmp_path, config):
    good = tmp_path / "good"
    good.write_text("good")
    directory = add(tmp_path, config, {"model.onnx": good})
    with pytest.raises(ConfigError, match="No such file"):
        add(tmp_path, config, {"model.onnx": tmp_path / "absent"})
    assert (directory / "1" / "model.onnx").read_text() == "good"
    assert sorted(file.name for file in directory.iterdir()) == ["1", "config.pbtxt"]


def test_the_committed_config_is_served_as_it_is(tmp_path, config):
    from accelkit.serving import Server

    model = models.get()
    shutil.copytree(COMMITTED / config.name, tmp_path / config.name, ignore=shutil.ignore_patterns("[0-9]*"))
    directory = add(tmp_path, config, {"model.onnx": model.onnx()})
    assert (directory / "config.pbtxt").read_bytes() == (COMMITTED / config.name / "config.pbtxt").read_bytes()
    with Server(tmp_path) as server:
        served = server.config(config.name)
        inputs = model.samples("test", 3).inputs
        words = model.decode(server.infer(config.name, {"input.1": inputs})["logits"])
    assert [(group["kind"], group["count"]) for group in served["instance_group"]] == [("KIND_CPU", 1)]
    assert served["max_batch_size"] == 64 and served["dynamic_batching"]["preferred_batch_size"] == [64]
    assert words == model.decode(model.reference("test", 3))
