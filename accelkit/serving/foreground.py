"""Serve a repository in the foreground, as `accelkit serve` does."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from accelkit import lint
from accelkit import repository as repositories
from accelkit.errors import ServerError
from accelkit.serving import Server


def serve(
    repository: Path,
    *,
    mode: str = "embedded",
    http_port: int | None = None,
    grpc_port: int | None = None,
    metrics_port: int | None = None,
    echo: Callable[[str], object] = print,
) -> None:
    """Start a server, print its URLs, and stop it cleanly on Ctrl-C or SIGTERM; ServerError if it dies meanwhile.

    What the linter warns of in every era is printed first.
    """
    asked, tell = os.pipe()  # no Event: a signal that comes while its lock is held waits for that lock without end
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.write(tell, b"!"))
    with Server(repository, mode=mode, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port) as server:
        for file in sorted(repository.glob(f"*/{repositories.FILE}")):
            if server.ready(file.parent.name):
                for finding in lint.file(file):
                    if finding.severity == "warning" and finding.eras == lint.ERAS:
                        echo(f"warning: {finding.line()}")
        echo(f"Triton {server.version} ({server.mode}) serves {repository}")
        echo(f"  HTTP     http://{server.http}")
        echo(f"  gRPC     {server.grpc}")
        echo(f"  metrics  http://{server.metrics}/metrics")
        echo(f"  log      {server.log}")
        echo("Ctrl-C stops it.")
        while not select.select([asked], [], [], 1.0)[0]:
            if not server.ready():
                tail = server.log_tail()
                raise ServerError(f"the server of {repository} died; its log ends: {tail.rpartition(chr(10))[2]}", tail)
    echo("stopped")
