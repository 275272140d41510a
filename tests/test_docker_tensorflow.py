"""The legacy lab in containers: its compose file, and its script on a program in the place of TensorFlow."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib.resources import files

import jsonschema
import pytest

from accelkit import paths, versions
from tests.test_docker import DOCKER, ROOT, compose, instructions, ran

FILE = "compose.tensorflow.yaml"
TRT = paths.get("tf-tensorrt")


def test_the_file_follows_the_official_schema():
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(compose(FILE))


def test_the_server_is_the_last_with_the_backend_and_its_engines_are_of_its_month():
    found = compose(FILE)
    engines, server = found["services"]["engines-legacy"], found["services"]["server-legacy"]
    assert server["image"] == versions.get("images.legacy.server")
    assert engines["image"] == versions.get("images.legacy.tensorflow")
    month = versions.get("eras.legacy.container")
    assert f":{month}-" in engines["image"] and f":{month}-" in server["image"] == versions.get("images.legacy.server")
    usual = compose("compose.yaml")["services"]["server"]
    for service in (engines, server):
        assert service["profiles"] == ["legacy"] and service["security_opt"] == usual["security_opt"]
        assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert {key: server[key] for key in ("ports", "healthcheck")} == {
        key: usual[key] for key in ("ports", "healthcheck")
    }
    assert server["command"] == json.loads(instructions(DOCKER / "Dockerfile.server", "CMD")[0])
    assert server["depends_on"] == {"engines-legacy": {"condition": "service_completed_successfully"}}
    assert found["volumes"]["legacy"]["name"] == f"accelkit-engines-{month}"
    mounts = {volume["target"]: volume for volume in engines["volumes"]}
    for target, place in {"/models": ROOT / "model_repository", "/kit/accelkit": ROOT / "accelkit",
                          "/engines.sh": DOCKER / "engines.sh"}.items():  # fmt: skip
        assert (DOCKER / mounts[target]["source"]).resolve() == place and mounts[target]["read_only"]
    assert engines["command"] == ["bash", "/engines.sh", "/models", "/copy"] and engines["environment"] == {
        "PYTHONPATH": "/kit"
    }


def test_the_plain_commands_are_the_services():
    text = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    engines, server = (
        [
            line
            for line in text.splitlines()
            if line.startswith("docker run") and versions.get(f"images.legacy.{name}") in line
        ]
        for name in ("tensorflow", "server")
    )
    assert len(engines) == 1 and engines[0].endswith("bash /engines.sh /models /copy")
    volume = f"accelkit-engines-{versions.get('eras.legacy.container')}"
    assert f"-v {volume}:/copy" in engines[0] and any(f"-v {volume}:/models:ro" in line for line in server)


PYTHON3 = """#!{python}
import pathlib, sys
from accelkit.savedmodel.__main__ import parser
assert sys.argv[1:3] == ["-m", "accelkit.savedmodel"], sys.argv
given = parser().parse_args(sys.argv[3:])
assert (given.source / "saved_model.pb").is_file()
given.target.mkdir()
(given.target / "saved_model.pb").write_text(f"{{given.precision}} {{given.batches}}")
sys.exit("refused" if (given.source / "broken").exists() and given.precision == "fp16" else 0)
"""


@pytest.fixture
def lab(tmp_path):
    """A copy of the committed configs, a SavedModel, and what runs the script."""
    repository, copy = tmp_path / "models", tmp_path / "copy"
    copy.mkdir()
    for config in sorted((ROOT / "model_repository").glob("text_recognition_t*/config.pbtxt")):
        (repository / config.parent.name).mkdir(parents=True)
        shutil.copy(config, repository / config.parent.name)
    source = repository / "text_recognition_tensorflow/1/model.savedmodel"
    (source / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (source / name).write_text("x")
    program = tmp_path / "bin/python3"
    program.parent.mkdir()
    program.write_text(PYTHON3.format(python=sys.executable))
    program.chmod(0o755)

    def run():
        path = f"{program.parent}:/usr/bin:/bin"
        return ran("bash", DOCKER / "engines.sh", repository, copy, env={"PATH": path})

    return repository, copy, source, run


def test_every_config_gets_engines_in_its_precision_for_its_batches(lab):
    repository, copy, source, run = lab
    done = run()
    assert done.returncode == 0, done.stderr
    for precision in TRT.PRECISIONS:
        name = paths.served_name(type("M", (), {"name": "text_recognition"}), TRT.NAME, precision)
        made = (copy / name / "1/model.savedmodel/saved_model.pb").read_text()
        assert made == f"{precision} {[1, 16, 64]}", name
        assert re.search(
            rf"--precision {precision} --batch 1 --batch 16 --batch 64", (copy / name / "config.pbtxt").read_text()
        )
    assert (copy / "text_recognition_tensorflow/1/model.savedmodel/variables/variables.index").is_file()
    assert not list(copy.glob("text_recognition_tensorrt*")) and not list(copy.rglob("*.half"))
    assert run().stdout.count("is there") == 3


def test_what_goes_wrong_is_one_line_and_leaves_nothing_half(lab):
    repository, copy, source, run = lab
    (source / "broken").write_text("")
    done = run()
    assert done.returncode == 2 and "engines.sh: TensorFlow cannot convert for" in done.stderr
    assert (
        not list(copy.rglob("*.half")) and not (copy / "text_recognition_tf_tensorrt_fp16/1/model.savedmodel").exists()
    )
    shutil.rmtree(source)
    done = run()
    assert done.returncode == 2 and "write it first with accelkit build tensorflow" in done.stderr
