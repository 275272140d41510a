"""What every mode of the server shares: what is asked for, what is running, ports, and the options of tritonserver."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelkit.errors import ConfigError, ServerError
from accelkit.serving.client import Client

LOOPBACK = "127.0.0.1"
MODES = ("embedded", "container", "remote")
SERVICES = ("http", "grpc", "metrics")
Ports = tuple["int | None", "int | None", "int | None"]


@dataclass(frozen=True)
class Spec:
    """What a Server was asked for; ports are HTTP, gRPC and metrics, None for a free one."""

    repository: Path
    url: str | None
    models: Sequence[str] | None
    options: Sequence[str]
    env: Mapping[str, str]
    verbose: int
    profile: Path | None
    timeout: float
    auto_complete: bool
    ports: Ports
    era: str
    interpreters: Mapping[str, str]

    def checked(self, mode: str) -> Spec:
        """The same with its paths made absolute and its model list filled in; ConfigError for what cannot be meant."""
        if mode not in MODES:
            raise ConfigError(f"unknown server mode '{mode}': use {', '.join(MODES)}")
        if mode == "remote":
            return self
        if self.url is not None:
            raise ConfigError(f"url belongs to the mode 'remote', not to '{mode}': leave it out or change the mode")
        found = [re.fullmatch(r"--(http|grpc|metrics)-port=(\d+)", option) for option in self.options]
        fixed = {match[1]: int(match[2]) for match in found if match}
        http, grpc, metrics = (fixed.get(name, port) for name, port in zip(SERVICES, self.ports, strict=True))
        given = [port for port in (http, grpc, metrics) if port]
        if twice := next((port for port in given if given.count(port) > 1), None):
            raise ConfigError(f"port {twice} is given twice: HTTP, gRPC and metrics need a port each")
        repository = Path(os.path.abspath(self.repository.expanduser()))
        if not repository.is_dir():
            raise ConfigError(f"model repository {repository} is not a directory: give the one that holds the models")
        names = self.models
        if names is None:
            # A directory without a version is a configuration whose model is not built yet.
            names = sorted({path.parent.name for path in repository.glob("[!.]*/[1-9]*") if path.is_dir()})
            if not names:
                raise ConfigError(f"no model with a version in the repository {repository}: build one into it")
        for name in names:
            if not (repository / name).is_dir():
                raise ConfigError(f"model '{name}' is not in the repository {repository}: its directory is missing")
        return replace(
            self, repository=repository, models=names, ports=(http, grpc, metrics),
            options=[option for option, match in zip(self.options, found, strict=True) if match is None],
            profile=Path(os.path.abspath(self.profile)) if self.profile is not None else None,
        )  # fmt: skip


def free_ports(fixed: Ports) -> tuple[int, int, int]:
    """A port for each service: the fixed ones, else free neighbours; ServerError when a fixed one is taken."""
    for service, port in zip(SERVICES, fixed, strict=True):
        if port is not None and not _bindable(port):
            raise ServerError(f"{service} port {port} is taken on {LOOPBACK}: choose another, or none for a free one")
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            first = probe.getsockname()[1]
        ports = [port if port is not None else first + index for index, port in enumerate(fixed)]
        if len(set(ports)) == 3 and all(port < 65536 and _bindable(port) for port in ports):
            return ports[0], ports[1], ports[2]
    raise ServerError(f"no three free ports found on {LOOPBACK}: end what holds them")


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True


def arguments(spec: Spec, repository: Path | str, address: str, ports: tuple[int, int, int]) -> list[str]:
    """Arguments of tritonserver for what is asked: explicit model control, all three services at the address."""
    result = [f"--model-repository={repository}", "--model-control-mode=explicit"]
    result += [f"--load-model={name}" for name in spec.models or []]
    for service, port in zip(SERVICES, ports, strict=True):
        result += [f"--{service}-address={address}", f"--{service}-port={port}"]
    # One model that does not load must not hide the reasons of the others.
    result += ["--exit-on-error=false"]
    if not spec.auto_complete:
        result.append("--disable-auto-complete-config")
    if spec.verbose:
        result.append(f"--log-verbose={spec.verbose}")
    return result + list(spec.options)


def wait(http_address: str, identity: str, timeout: float, ended: Callable[[], bool]) -> bool:
    """Whether the server that bears this identity answers before it ends; another one on its port does not count."""
    client, deadline = Client(http_address, "", timeout=2), time.monotonic() + timeout
    while time.monotonic() < deadline:
        if ended():
            return False
        try:
            if client.get("/v2").get("name") == identity:
                return True
        except Exception:  # noqa: BLE001 - nobody there yet, or somebody else
            pass
        time.sleep(0.03)
    return False


_LOG = re.compile(r"^[EWF]\d{4} \S+ +\d+ \S+\] (.*)", re.MULTILINE)
_FATAL = re.compile(r"((?:unrecognized |cannot run |creating server: |Cannot connect|error while loading shared).*)")
_POLL = re.compile(r"""Poll failed for model directory '([^']*)': (.*?)"?$""", re.MULTILINE)


def poll_failure(log: str, model: str) -> str:
    """Why the server could not read a model's directory; only its log says so."""
    found = [text for name, text in _POLL.findall(log) if Path(name).name == model]
    parse = re.findall(r"\[libprotobuf ERROR [^\]]*\] Error parsing text-format \S+: (.*)", log)
    return (found[-1] + (f" ({parse[-1]})" if parse and "text proto" in found[-1] else "")) if found else ""


def start_failure(log: str) -> str:
    """Why the server ended while it started."""
    lines = [line for line in log.splitlines() if line.strip()]
    for line in lines:
        if match := _FATAL.search(line):
            return match[1]
    errors = [text for text in _LOG.findall(log) if "NVML" not in text and "CUDA" not in text]
    return errors[-1].strip('"') if errors else (lines[-1] if lines else "it ended without a word")
