"""A server that somebody else runs, behind the same interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from accelkit.errors import ConfigError, ServerError
from accelkit.serving.client import Client
from accelkit.serving.launch import Spec


@dataclass(frozen=True)
class Remote:
    """Addresses of a running server; nothing of it is ours to stop."""

    http: str
    grpc: str
    metrics: str
    command: list[str] = field(default_factory=list)
    log: Path | None = None
    pid: int | None = None

    def tail(self, lines: int = 20) -> str:
        """Nothing: its log is where it runs."""
        return ""

    def stop(self, clean: bool = True) -> None:
        """Leave it running."""


def launch(spec: Spec) -> Remote:
    """Reach the server at the url and see that it is ready; ServerError when it is not."""
    if spec.profile is not None or spec.options or spec.env:
        raise ConfigError(
            "profile, options and env are for a server that the kit starts: leave them out in remote mode"
        )
    address = (spec.url or "").removeprefix("grpc://")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"url '{spec.url}' is not the gRPC address of a server: give it as host:port, such as 10.0.0.5:8001"
        )
    http, grpc, metrics = (fixed or int(port) + step for fixed, step in zip(spec.ports, (-1, 0, 1), strict=True))
    remote = Remote(f"{host}:{http}", f"{host}:{grpc}", f"{host}:{metrics}")
    if not Client(remote.http, remote.grpc, 5).ready():
        raise ServerError(
            f"no ready server at http://{remote.http}, the HTTP side of {remote.grpc}: start it, or give its HTTP port "
            "(--http-port, in Python http_port) if it is not the one below"
        )
    return remote
