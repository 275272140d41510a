"""NVIDIA's Triton image, run by a container engine on this machine, behind the same interface."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from accelkit import machine, versions
from accelkit.errors import ConfigError, ServerError
from accelkit.serving.launch import Spec, arguments
from accelkit.serving.supervised import Job, Ports, Supervised
from accelkit.serving.supervised import launch as supervise

_MOUNT = "/models"
_INSIDE = (8000, 8001, 8002)


def launch(spec: Spec) -> Supervised:
    """Start the image of the era, pulled first if it is not here; ServerError when there is no engine or it fails."""
    if spec.profile is not None:
        raise ConfigError("profiles are written by the embedded server's backends: leave profile out in container mode")
    engine = shutil.which("docker")
    if engine is None:
        raise ServerError(
            "container mode needs Docker, and there is no docker command: install it, or use mode embedded"
        )
    image = versions.get("images.server" if spec.era == "current" else f"images.{spec.era}.server")
    if _run(engine, "image", "inspect", image).returncode:
        pulled = subprocess.run([engine, "pull", image], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if pulled.returncode:
            why = (pulled.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServerError(f"the image {image} cannot be had: {why}", pulled.stderr)
    gpu = bool(machine.probe().gpus)

    def prepare(_: Path, ports: Ports, identity: str) -> Job:
        return Job(command(engine, image, spec, ports, identity, gpu), cleanup=[engine, "rm", "--force", identity])

    return supervise(spec, prepare, binds=False)


def command(engine: str, image: str, spec: Spec, ports: Ports, identity: str, gpu: bool) -> list[str]:
    """The command that runs the image in the foreground, its ports on loopback only, the repository read-only."""
    run = [engine, "run", "--rm", f"--name={identity}", "--shm-size=1g", "--ulimit=memlock=-1"]
    run += ["--gpus=all"] if gpu else []
    run += [f"--publish=127.0.0.1:{outside}:{inside}" for outside, inside in zip(ports, _INSIDE, strict=True)]
    run += [f"--volume={spec.repository}:{_MOUNT}:ro"]
    run += [f"--env={name}={value}" for name, value in spec.env.items()]
    return [*run, image, "tritonserver", f"--id={identity}", *arguments(spec, _MOUNT, "0.0.0.0", _INSIDE)]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)
