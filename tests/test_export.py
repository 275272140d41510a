"""export: the project that it writes stands alone, boots, and its own test tells right answers from wrong ones."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from accelkit import export, models, repository
from accelkit.errors import ConfigError
from accelkit.measure import result
from accelkit.models import onnx_file
from accelkit.serving import Server
from tests.fixtures import small
from tests.test_report import BASE, FAST


def run(project, *command, url="", fails=False):
    """Run a command in the project as a reader would: no kit in sight."""
    env = {**os.environ, "TRITON_URL": url, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, *command], cwd=project, env=env, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return export.export(models.get(), "onnxruntime-cpu", tmp_path_factory.mktemp("export") / "mine")


@pytest.fixture(scope="module")
def server(project):
    with Server(project / "model_repository") as running:
        yield running


def test_the_projects_own_test_passes_on_its_server(project, server):
    assert "1 passed" in run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", url=server.grpc)


def test_the_readme_waits_for_a_ready_server_and_says_what_the_address_is(project):
    text = (project / "README.md").read_text()
    assert "docker compose up -d --wait " in text and "`TRITON_URL` is the gRPC address" in text
    checks = yaml.safe_load((project / "compose.yaml").read_text())["services"]["triton"]["healthcheck"]["test"]
    assert checks[-1].endswith("/v2/health/ready")


def test_the_client_reads_samples_and_pictures(project, server, tmp_path):
    from accelkit.models.text_recognition import data

    model = models.get()
    record = data.records("test")[0]
    next(iter(data.images([record]))).save(tmp_path / "word.png")
    said = run(project, "client.py", "samples.npz", str(tmp_path / "word.png"), "--url", server.grpc).splitlines()
    assert said[0].split(": ")[1].split(", ") == model.decode(model.reference("test", export.SAMPLES))
    assert said[1] == f"{tmp_path / 'word.png'}: {model.decode(model.reference('test', 1))[0]}"


def refused(project, *arguments):
    """The one line that the client says when it ends with exit code 2."""
    done = subprocess.run(
        [sys.executable, "client.py", *map(str, arguments)], cwd=project, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_the_client_says_in_one_line_that_no_server_is_there(project):
    assert refused(project, "--url", "127.0.0.1:9").startswith("client.py: no server at 127.0.0.1:9, start it: ")


def test_the_client_says_in_one_line_what_the_server_refuses(project, server, tmp_path):
    import numpy as np

    np.savez(tmp_path / "wrong.npz", **{"input.1": np.zeros((1, 3, 3), "float32")})
    line = refused(project, tmp_path / "wrong.npz", "--url", server.grpc)
    assert line.startswith(f"client.py: the server at {server.grpc} refuses {tmp_path}/wrong.npz: ")
    assert "unexpected shape for input 'input.1'" in line


@pytest.mark.parametrize("content", [None, b"", b"none", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["samples.npz", "word.png"])
def test_the_client_says_in_one_line_which_file_it_cannot_read(project, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert refused(project, tmp_path / name).startswith(f"client.py: {tmp_path / name} cannot be read: ")


def test_the_projects_test_fails_on_wrong_answers(project, server, tmp_path):
    import numpy as np

    broken = shutil.copytree(project, tmp_path / "broken")
    with np.load(broken / "samples.npz") as arrays:
        content = dict(arrays)
    content["expected/logits"] = content["expected/logits"] + 0.05
    np.savez(broken / "samples.npz", **content)
    assert "AssertionError" in run(broken, "-m", "pytest", "-q", "-p", "no:cacheprovider", url=server.grpc, fails=True)


def test_nothing_in_the_project_needs_the_kit(project):
    for file in project.glob("*.py"):
        assert "accelkit" not in file.read_text()
    assert "import accelkit" not in run(project, "-X", "importtime", "-c", "import client, words")


def test_the_config_keeps_its_comments_and_compose_is_valid(project):
    config = project / "model_repository" / "text_recognition_onnxruntime_cpu" / "config.pbtxt"
    assert "# " in config.read_text() and repository.read(config).name == "text_recognition_onnxruntime_cpu"
    service = yaml.safe_load((project / "compose.yaml").read_text())["services"]["triton"]
    assert service["image"].startswith("nvcr.io/") and all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_an_onnx_file_of_ones_own_is_exported_too(tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(small.tiny().SerializeToString())
    made = export.export(onnx_file.load(tmp_path / "tiny.onnx"), "onnxruntime-cpu", tmp_path / "out")
    assert not (made / "words.py").exists()
    with Server(made / "model_repository") as running:
        run(made, "-m", "pytest", "-q", "-p", "no:cacheprovider", url=running.grpc)
        assert "out [16, 10]" in run(made, "client.py", "--url", running.grpc)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty: name another"):
        export.export(models.get(), "onnxruntime-cpu", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]


def test_a_path_that_is_not_here_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="unavailable"):
        export.export(models.get(), "tensorrt-llm", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_best_is_the_fastest_proven_row_that_was_measured_here(tmp_path):
    import dataclasses

    recorded = dataclasses.replace(FAST, path="tensorrt", recorded=True, speed={**FAST.speed, "throughput": 9e9})
    file = result.write(tmp_path / "results.json", [BASE, FAST, recorded])
    assert [row.label for row in export.proven(models.get(), file)] == ["openvino int8", "onnxruntime-cpu"]
    with pytest.raises(ConfigError, match="no measured path of text_recognition full"):
        export.proven(models.get("text_recognition", "full"), file)
    with pytest.raises(ConfigError, match="run `accelkit compare` first"):
        export.proven(models.get(), tmp_path / "none.json")


def test_best_says_which_path_it_is_and_why(tmp_path):
    fast, base = (f"{row.speed['throughput']:.0f}" for row in (FAST, BASE))
    assert export.why([FAST, BASE]) == (
        f"openvino int8, the fastest of 2 proven here, with {fast} infer/s at batch 16: 3.41 times onnxruntime-cpu (faster)"
        f"; next is onnxruntime-cpu with {base}"
    )
    result.write(tmp_path / "results.json", [BASE])
    command = [sys.executable, "-m", "accelkit", "export", "best", str(tmp_path / "out")]
    command += ["--results", str(tmp_path / "results.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == (
        f"best in {tmp_path}/results.json: onnxruntime-cpu, the fastest of 1 proven here, with {base} infer/s at batch 16"
    )
    assert second.startswith(f"{tmp_path}/out: README.md")


def test_best_keeps_the_batch_that_it_was_measured_with(tmp_path):
    import dataclasses

    fast = dataclasses.replace(
        FAST, precision={"requested": "fp32", "observed": "fp32"}, speed={**FAST.speed, "batch": 4}
    )
    file = result.write(tmp_path / "results.json", [BASE, fast])
    made = export.export(models.get(), "best", tmp_path / "out", file)
    assert repository.read(made / "model_repository" / "text_recognition_openvino").max_batch_size == 4
    with Server(made / "model_repository") as running:
        run(made, "-m", "pytest", "-q", "-p", "no:cacheprovider", url=running.grpc)


def test_a_project_names_the_tensors_as_its_config_does(tmp_path):
    pytest.importorskip("torch")
    made = export.export(models.get(), "pytorch", tmp_path / "mine")
    assert '"INPUT__0": normalize' in (made / "words.py").read_text()
    with Server(made / "model_repository") as running:
        assert "1 passed" in run(made, "-m", "pytest", "-q", "-p", "no:cacheprovider", url=running.grpc)
