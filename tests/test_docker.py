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

from accelkit import paths, repository, toolchain, versions
from accelkit.engine import building, flags
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
    "names",
    [("compose.yaml",), ("compose.gpu.yaml",), ("compose.yaml", "compose.gpu.yaml"), ("compose.tensorrt.yaml",)],
    ids="+".join,
)
def test_compose_files_follow_the_official_schema(names):
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(compose(*names))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(
            merged(compose(*names), {"services": {next(iter(compose(*names)["services"])): {"shm": "1gb"}}})
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


@pytest.mark.parametrize("era", ["current", "bridge"])
def test_the_image_that_loads_the_plans_builds_them(era):
    found = compose("compose.tensorrt.yaml")
    usual = compose("compose.yaml")["services"]["server"]
    image = versions.get("images.server" if era == "current" else f"images.{era}.server")
    plans, server = found["services"][f"plans-{era}"], found["services"][f"server-{era}"]
    for service in (plans, server):
        assert service["image"] == image and service["profiles"] == [era]
        device = service["deploy"]["resources"]["reservations"]["devices"][0]
        assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
        assert service["security_opt"] == usual["security_opt"] and service["shm_size"] == usual["shm_size"]
    assert {key: server[key] for key in ("ports", "healthcheck")} == {
        key: usual[key] for key in ("ports", "healthcheck")
    }
    assert server["command"] == json.loads(instructions(DOCKER / "Dockerfile.server", "CMD")[0])
    assert server["user"] == instructions(DOCKER / "Dockerfile.server", "USER")[-1]
    assert server["depends_on"] == {f"plans-{era}": {"condition": "service_completed_successfully"}}
    assert server["volumes"] == [{"type": "volume", "source": era, "target": "/models", "read_only": True}]
    assert found["volumes"][era]["name"] == f"accelkit-plans-{versions.get(f'eras.{era}.container')}"
    mounts = {volume["target"]: volume for volume in plans["volumes"]}
    assert (DOCKER / mounts["/models"]["source"]).resolve() == ROOT / "model_repository" and mounts["/models"][
        "read_only"
    ]
    assert (DOCKER / mounts["/plans.sh"]["source"]).resolve() == DOCKER / "plans.sh"
    assert mounts["/copy"]["source"] == era and not mounts["/copy"].get("read_only")
    assert plans["command"] == ["bash", "/plans.sh", "/models", "/copy"]


def test_documented_plans_go_into_the_volume_of_their_era():
    text = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.startswith("docker run") and "/plans.sh:ro" in line]
    assert len(lines) == len(versions.get("eras"))
    for words, era in zip(lines, ("current", "bridge", "legacy"), strict=True):
        image = versions.get("images.server" if era == "current" else f"images.{era}.server")
        assert words[words.index(image) + 1 :] == ["bash", "/plans.sh", "/models", "/copy"] and "--gpus=all" in words
        assert f"accelkit-plans-{versions.get(f'eras.{era}.container')}:/copy" in words


TRTEXEC = """#!{python}
import json, sys
flags, words = json.load(open({flags!r})), sys.argv[1:]
if words == ["--help"]:
    sys.exit(print("\\n".join(f"  {{flag}}   what it does" for flag in flags)))
unknown = [word for word in words if word.split("=")[0] not in flags]
given = dict(word.partition("=")[::2] for word in words)
source = open(given["--onnx"]).read()
open(given["--saveEngine"], "w").write(json.dumps(words))
sys.exit(f"refused: {{unknown}} {{source}}" if unknown or source == "broken" else 0)
"""


@pytest.fixture(params=["10", "11"])
def plans(request, tmp_path):
    """A program that takes the flags of a trtexec, and a repository with the committed configs of the path tensorrt."""
    known, program = tmp_path / "flags.json", tmp_path / "bin" / "trtexec"
    known.write_text(json.dumps(sorted(flags.FLAGS[request.param])))
    program.parent.mkdir()
    program.write_text(TRTEXEC.format(python=sys.executable, flags=str(known)))
    program.chmod(0o755)
    for config in sorted((ROOT / "model_repository").glob("text_recognition_tensorrt*/config.pbtxt")):
        (tmp_path / "models" / config.parent.name / "1").mkdir(parents=True)
        shutil.copy(config, tmp_path / "models" / config.parent.name)
        (tmp_path / "models" / config.parent.name / "1" / "model.onnx").write_text("whole")
    (tmp_path / "copy").mkdir()

    def build() -> subprocess.CompletedProcess[str]:
        searched = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        return ran("bash", DOCKER / "plans.sh", tmp_path / "models", tmp_path / "copy", env=searched)

    return request.param, tmp_path, build


def test_every_config_of_tensorrt_gets_a_plan_in_its_precision_and_shapes(plans):
    version, directory, build = plans
    done = build()
    assert done.returncode == 0, done.stderr
    path = paths.get("tensorrt")
    built = sorted((directory / "copy").glob("*/1/model.plan"))
    assert len(built) == len(path.PRECISIONS) == len(list((directory / "models").iterdir()))
    readme = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    documented = re.search(rf"# TensorRT {version}\n(trtexec .*)", readme)
    for plan in built:
        name, words = plan.parts[-3], json.loads(plan.read_text())
        precision = name.removeprefix("text_recognition_tensorrt").lstrip("_") or path.PRECISIONS[0]
        config = repository.read(plan.parents[1])
        weak = {f"--{flag.lower()}" for flag in building.PRECISIONS[precision]} & flags.FLAGS[version]
        assert {word for word in words if word in ("--fp16", "--int8", "--bf16", "--best", "--stronglyTyped")} == weak
        assert ("--noTF32" in words) == (precision == "fp32") and "--skipInference" in words
        assert "--profilingVerbosity=detailed" in words, "evidence reads the layers"
        shapes = {
            edge: [word.split("=")[1] for word in words if word.startswith(f"--{edge}Shapes=")]
            for edge in ("min", "opt", "max")
        }
        assert [word for word in words if word.startswith("--profile=")] == [
            f"--profile={profile}" for profile in config.instance_group[0].profile
        ]
        rest = "x".join(str(size) for size in config.input[0].dims)
        for edge, batches in {
            "min": (1, 1),
            "opt": (16, config.max_batch_size),
            "max": (config.max_batch_size,) * 2,
        }.items():
            assert shapes[edge] == [f"{config.input[0].name}:{batch}x{rest}" for batch in batches]
        if precision == "fp16":
            files = {"--onnx=model.onnx", "--saveEngine=model.plan"}
            assert documented and documented[1].split()[1:3] == sorted(files) and documented[1].split()[3:] == words[2:]
        assert words[0] == f"--onnx={plan.with_name('model.onnx')}" and plan.stat().st_mode & 0o444 == 0o444


def test_plans_are_built_again_for_another_onnx_file_only(plans):
    _, directory, build = plans
    (directory / "models/text_recognition_tensorrt_fp16/1/model.onnx").chmod(0o600)
    assert build().returncode == 0
    built = {plan: plan.stat().st_mtime_ns for plan in (directory / "copy").glob("*/1/model.plan")}
    foreign, later = directory / "models/text_recognition_tensorrt/1/model.plan", time.time() + 5
    foreign.write_text("of another TensorRT")
    os.utime(foreign, (later, later))
    again = build()
    assert again.returncode == 0 and again.stderr + again.stdout
    assert built == {plan: plan.stat().st_mtime_ns for plan in built} and "another" not in "".join(
        map(Path.read_text, built)
    )
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in (directory / "copy").rglob("*") if path.is_file())
    source = directory / "models/text_recognition_tensorrt_fp16/1/model.onnx"
    source.write_text("changed")
    os.utime(source, (later, later))
    assert build().returncode == 0
    changed = [plan.parts[-3] for plan, before in built.items() if plan.stat().st_mtime_ns != before]
    assert changed == ["text_recognition_tensorrt_fp16"]


def test_a_plan_that_cannot_be_built_stops_the_server_and_leaves_nothing(plans):
    _, directory, build = plans
    (directory / "models/text_recognition_tensorrt/1/model.onnx").write_text("broken")
    done = build()
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("plans.sh: trtexec cannot build")
    assert not [path for path in (directory / "copy").rglob("*plan*") if path.is_file()]
    for onnx in (directory / "models").glob("*/1/model.onnx"):
        onnx.unlink()
    shutil.rmtree(directory / "copy")
    (directory / "copy").mkdir()
    done = build()
    assert done.returncode == 2 and done.stderr.startswith("plans.sh: no ONNX file") and done.stderr.count("\n") == 1


def test_an_image_without_trtexec_is_named(tmp_path):
    done = ran("bash", DOCKER / "plans.sh", tmp_path, tmp_path)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("plans.sh: no trtexec in this image")


def test_documented_docker_commands_are_understood_by_the_docker_client():
    docker = shutil.which("docker")
    if not docker:
        pytest.skip("no docker client here")
    text = (DOCKER / "README.md").read_text().replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith(("docker run", "docker build", "docker network"))]
    assert len(commands) >= 10
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
