"""The container files: parsed, linted, validated, and held against what they name; nothing is built."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from accelkit import toolchain, versions
from accelkit.serving import Server

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILES = [DOCKER / "Dockerfile.server", DOCKER / "Dockerfile.client"]


def ran(*command: object, env: dict[str, str] | None = None, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command with the checkout importable and return what came of it; copies are not measured for coverage."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    environment.pop("COVERAGE_PROCESS_START", None)
    words = [str(word) for word in command]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=where, env=environment)


def parsed(path: Path) -> DockerfileParser:
    """Parse a Dockerfile."""
    return DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))


def instructions(path: Path, name: str) -> list[str]:
    """Return the values of every instruction of that name."""
    return [entry["value"] for entry in parsed(path).structure if entry["instruction"] == name]


def merged(base: dict, over: dict) -> dict:
    """Merge two mappings as Compose merges files that have only mappings in common."""
    return {
        key: merged(base[key], over[key])
        if key in base and key in over and isinstance(base[key], dict)
        else over.get(key, base.get(key))
        for key in [*base, *(key for key in over if key not in base)]
    }


def compose(*names: str) -> dict:
    """Read compose files, later ones laid over earlier ones."""
    result: dict = {}
    for name in names:
        result = merged(result, yaml.safe_load((DOCKER / name).read_text()))
    return result


def test_rendered_files_are_what_the_templates_give():
    done = ran(sys.executable, DOCKER / "render.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_render_check_sees_an_edited_file(tmp_path):
    copy = tmp_path / "docker"
    shutil.copytree(DOCKER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "compose.yaml").write_text((copy / "compose.yaml").read_text() + "# edited\n")
    done = ran(sys.executable, copy / "render.py", "--check")
    assert done.returncode == 1 and "docker/compose.yaml is out of date" in done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_parse_and_have_one_base(path):
    parser = parsed(path)
    assert parser.parent_images == [versions.get(f"images.{'server' if path.name.endswith('server') else 'sdk'}")]
    assert {"FROM", "COPY", "USER", "HEALTHCHECK", "CMD", "EXPOSE"} <= {
        entry["instruction"] for entry in parser.structure
    }
    assert instructions(path, "USER")[-1] not in ("root", "0")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    done = ran(HADOLINT, "--no-color", path)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_hadolint_finds_what_is_wrong(tmp_path):
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM debian\nRUN cd /tmp && wget x | sh\n")
    done = ran(HADOLINT, "--no-color", broken)
    assert done.returncode != 0 and "DL3006" in done.stdout


def copied(path: Path) -> list[str]:
    """Return every path of the checkout that a Dockerfile copies."""
    words = [[word for word in value.split() if not word.startswith("--")] for value in instructions(path, "COPY")]
    return [source.rstrip("/") for line in words for source in line[:-1]]


def test_what_the_client_copies_is_enough_to_install_and_to_list_the_lessons(tmp_path):
    for source in copied(DOCKER / "Dockerfile.client"):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    metadata = "import setuptools.build_meta as build; print(build.prepare_metadata_for_build_editable('.'))"
    done = ran(sys.executable, "-c", metadata, where=tmp_path)
    assert done.returncode == 0 and "accelkit-" in done.stdout, done.stderr
    command = "import accelkit.cli; accelkit.cli.main()"
    done = ran(sys.executable, "-c", command, "lessons", where=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0 and "00_start_here" in done.stdout, done.stderr
    installed = re.search(r"tools/setup (\S+)", (DOCKER / "Dockerfile.client").read_text())
    assert installed and installed[1] in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_copied_path_exists_and_is_let_through(path):
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    assert ignore[0] == "*"
    sources = copied(path)
    assert sources
    tracked = ran("git", "ls-files").stdout.splitlines()
    for source in sources:
        assert (ROOT / source).exists(), f"{path.name} copies {source}, which does not exist"
        assert any(file == source or file.startswith(source + "/") for file in tracked), f"{source} is not in git"
        assert any(fnmatch(source, pattern) for pattern in let_through), f".dockerignore keeps {source} out"


@pytest.mark.parametrize(
    "names", [("compose.yaml",), ("compose.gpu.yaml",), ("compose.yaml", "compose.gpu.yaml")], ids="+".join
)
def test_compose_files_follow_the_official_schema(names):
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(compose(*names))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(
            merged(compose(*names), {"services": {"server": {"shm": "1gb"}}})
        )


def test_compose_builds_the_dockerfiles_on_the_current_images():
    services = compose("compose.yaml")["services"]
    for name, image in (("server", "images.server"), ("client", "images.sdk")):
        build = services[name]["build"]
        assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / f"Dockerfile.{name}"
        assert build["args"]["BASE"] == versions.get(image)
        declared = {value.split("=")[0] for value in instructions(DOCKER / f"Dockerfile.{name}", "ARG")}
        assert set(build["args"]) <= declared
        for volume in services[name]["volumes"]:
            assert (DOCKER / volume["source"]).is_dir()


def test_compose_publishes_exposed_ports_on_loopback_only():
    for name, service in compose("compose.yaml")["services"].items():
        exposed = {port for value in instructions(DOCKER / f"Dockerfile.{name}", "EXPOSE") for port in value.split()}
        published = [
            re.fullmatch(r"127\.0\.0\.1:\$\{ACCELKIT_\w+_PORT:-(\d+)\}:(\d+)", port) for port in service["ports"]
        ]
        assert all(published), service["ports"]
        assert {match[2] for match in published if match} == exposed == {match[1] for match in published if match}


def test_only_the_override_asks_for_gpus():
    assert "deploy" not in compose("compose.yaml")["services"]["server"]
    server = compose("compose.yaml", "compose.gpu.yaml")["services"]["server"]
    assert server["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "/v2/health/ready" in server["healthcheck"]["test"][-1]


def test_server_options_are_options_of_tritonserver():
    found = toolchain.ensure(progress=False)
    done = ran(found.tritonserver, "--help", env={"LD_LIBRARY_PATH": f"{found.server_libs}:{found.libpython.parent}"})
    command = json.loads(instructions(DOCKER / "Dockerfile.server", "CMD")[0])
    lines = re.findall(r"tritonserver (--model-repository.*)", (DOCKER / "README.md").read_text())
    options = {word.split("=")[0] for word in [*command[1:], *" ".join(lines).split()]}
    assert command[0] == "tritonserver" and lines and len(options) >= 2
    for option in options:
        assert re.search(rf"{option}\b", done.stdout + done.stderr), f"{option} is not an option of tritonserver"


def test_documented_docker_commands_are_understood_by_the_docker_client():
    docker = shutil.which("docker")
    if not docker:
        pytest.skip("no docker client here")
    text = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith(("docker run", "docker build", "docker network"))]
    assert len(commands) >= 6
    for command in commands:
        done = ran(
            "bash",
            "-c",
            command.replace(" -it ", " -i "),
            env={"DOCKER_HOST": "unix:///nowhere/docker.sock", "DOCKER_BUILDKIT": "0"},
        )
        assert "annot connect to the Docker daemon" in done.stderr, f"{command}\n{done.stderr}"


def test_the_documented_client_works_against_a_server_that_runs(tmp_path):
    repository = shutil.copytree(
        ROOT / "model_repository", tmp_path / "model_repository", ignore=shutil.ignore_patterns("[0-9]*")
    )
    example = re.search(r"```python\n(.*?)```", (DOCKER / "README.md").read_text(), flags=re.DOTALL)
    assert example and "server:8001" in example[1]
    with Server(repository, models=[]) as server:
        done = ran(sys.executable, "-c", example[1].replace("server:8001", server.grpc), where=tmp_path)
        assert done.returncode == 0 and done.stdout.split() == [server.version, "onnxruntime"], done.stderr


def test_jupyter_settings_are_settings_that_jupyterlab_has():
    schemas = Path(sys.prefix) / "share/jupyter/lab/schemas"
    for plugin, values in json.loads((DOCKER / "jupyter/overrides.json").read_text()).items():
        package, name = plugin.split(":")
        schema = json.loads((schemas / package / f"{name}.json").read_text())
        for key, value in values.items():
            jsonschema.validate(value, {**schema["properties"][key], "definitions": schema.get("definitions", {})})


def test_client_command_starts_jupyterlab_on_the_first_lesson(tmp_path):
    command = json.loads(instructions(DOCKER / "Dockerfile.client", "CMD")[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    changed = {"--ServerApp.ip": "127.0.0.1", "--ServerApp.port": str(port), "--ServerApp.root_dir": str(ROOT)}
    given = dict(word.split("=", 1) for word in command[2:])
    assert command[:2] == ["jupyter", "lab"] and set(changed) < set(given)
    home = instructions(DOCKER / "Dockerfile.client", "WORKDIR")[-1]
    assert (
        given["--ServerApp.root_dir"] == home
        and (ROOT / given["--LabApp.default_url"].removeprefix("/lab/tree/")).exists()
    )
    settings = tmp_path / "settings"
    settings.mkdir()
    shutil.copy(DOCKER / "jupyter/overrides.json", settings)
    words = [f"{key}={value}" for key, value in {**given, **changed, "--ServerApp.allow_root": "True"}.items()]
    environment = {**os.environ, "HOME": str(tmp_path), "JUPYTER_TOKEN": "secret"}
    server = subprocess.Popen(
        [Path(sys.executable).with_name("jupyter"), "lab", *words, f"--LabApp.app_settings_dir={settings}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=tmp_path,
    )  # fmt: skip
    try:
        page = opened(server, f"http://127.0.0.1:{port}/?token=secret")
        assert page.geturl().split("?")[0].endswith(given["--LabApp.default_url"])
        plugin = opened(
            server, f"http://127.0.0.1:{port}/lab/api/settings/@jupyterlab/notebook-extension:tracker?token=secret"
        )
        assert json.load(plugin)["schema"]["properties"]["recordTiming"]["default"] is True
        assert opened(server, f"http://127.0.0.1:{port}/api").status == 200
    finally:
        server.terminate()
        server.wait(20)


def opened(server: subprocess.Popen, url: str, seconds: float = 40):
    """Open a URL of a server that may still be starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(url, timeout=10)
        except ConnectionError:
            pass
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                raise
        assert server.poll() is None and time.monotonic() < end, f"{url} did not answer"
        time.sleep(0.3)
