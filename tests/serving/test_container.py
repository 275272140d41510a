"""Container mode with a docker command that is made up: what it is asked to do, and what is made of its failures."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import processes
import pytest
import small

from accelkit import machine, versions
from accelkit.errors import ConfigError, ServerError
from accelkit.serving import Server

# Runs what it is told to run in an image as a small HTTP server that looks like Triton, on the published port.
DOCKER = """#!{python}
import http.server, json, os, re, sys
calls = {calls!r}
with open(calls, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] in {fail!r}:
    sys.stderr.write("docker: " + {message!r} + "\\n")
    sys.exit(125)
if sys.argv[1] != "run":
    sys.exit(0)
line = " ".join(sys.argv)
identity, port = re.search(r"--id=(\\S+)", line)[1], int(re.search(r"127.0.0.1:(\\d+):8000", line)[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"name": identity, "version": "9.9.9", "max_batch_size": 3}}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
print("a line of its log", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A maker of docker commands at the head of PATH; returns the file of calls."""

    def make(fail: tuple[str, ...] = (), message: str = "") -> Path:
        calls, tool = tmp_path / "calls", tmp_path / "bin" / "docker"
        tool.parent.mkdir()
        tool.write_text(DOCKER.format(python=sys.executable, calls=str(calls), fail=fail, message=message))
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
        return calls

    return make


@pytest.fixture
def repository(tmp_path):
    """A repository with one model."""
    small.add(tmp_path / "repository", "tiny", small.config(dims=[10]), small.tiny())
    return tmp_path / "repository"


def test_runs_the_image_on_loopback_and_removes_the_container(docker, repository):
    calls = docker()
    with Server(repository, mode="container", verbose=1, env={"NAME": "value"}, options=["--rate-limit=off"]) as server:
        assert server.version == "9.9.9" and server.mode == "container" and server.ready("tiny")
        assert server.config("tiny")["max_batch_size"] == 3
        assert server.log_tail() == "a line of its log"
        command, image = " ".join(server.command), versions.get("images.server")
        pid, port = server.pid, server.http.rpartition(":")[2]
    assert f"--publish=127.0.0.1:{port}:8000" in command and ":8001" in command and ":8002" in command
    assert f"--volume={repository}:/models:ro" in command and "--env=NAME=value" in command
    assert f" {image} tritonserver --id=" in command and "--model-repository=/models" in command
    assert "--load-model=tiny" in command and "--http-address=0.0.0.0" in command and "--rate-limit=off" in command
    assert ("--gpus=all" in command) == bool(machine.probe().gpus)
    asked = [json.loads(line) for line in calls.read_text().splitlines()]
    asked = [call for call in asked if call[0] in ("image", "pull", "run", "rm")]
    assert [call[0] for call in asked] == ["image", "run", "rm"]
    name = next(word for word in asked[1] if word.startswith("--name=")).removeprefix("--name=")
    assert asked[2] == ["rm", "--force", name]
    assert not processes.alive(pid)


def test_the_image_of_an_era_is_pulled_when_it_is_not_here(docker, repository):
    calls = docker(fail=("image",))
    with Server(repository, mode="container", era="legacy") as server:
        assert versions.get("images.legacy.server") in server.command
    assert json.dumps(["pull", versions.get("images.legacy.server")]) in calls.read_text().splitlines()


def test_a_machine_with_gpus_hands_them_over(docker, repository, monkeypatch, made_up):
    docker()
    gpu = machine.Gpu("H200", 141.0, "9.0", "580")
    monkeypatch.setattr("accelkit.machine.probe", lambda: made_up(gpus=(gpu,)))
    with Server(repository, mode="container") as server:
        assert "--gpus=all" in server.command


@pytest.mark.parametrize("step", ["pull", "run"])
def test_a_failure_of_the_engine_is_its_own_words_in_one_line(docker, repository, step):
    docker(fail=("image", step), message="Cannot connect to the Docker daemon. Is it running?")
    with pytest.raises(ServerError, match=r"Cannot connect to the Docker daemon\. Is it running\?$") as failed:
        Server(repository, mode="container").start()
    assert "\n" not in str(failed.value)


def test_without_an_engine_there_is_one_line(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="container mode needs Docker, and there is no docker command"):
        Server(repository, mode="container").start()
    with pytest.raises(ConfigError, match="profiles are written by the embedded server"):
        Server(repository, mode="container", profile=tmp_path).start()
