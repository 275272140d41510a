"""A Triton Inference Server behind one interface: embedded in this machine, in a container, or already running elsewhere."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.errors import ConfigError, ServerError
from accelkit.serving.client import STARVED, Client, reason
from accelkit.serving.launch import Spec, poll_failure

if TYPE_CHECKING:
    import numpy as np

    from accelkit.serving.remote import Remote
    from accelkit.serving.supervised import Supervised

__all__ = ["Server"]
_running: weakref.WeakSet[Server] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.stop()


class Server(AbstractContextManager["Server"]):
    """One Triton serving a model repository; use it in a `with` block, or call `start` and `stop`.

    `mode` is "embedded" (the pinned tritonserver as child of this process), "container" (NVIDIA's image) or "remote" (`url` is
    the gRPC address "host:port" of a server that runs; HTTP is expected one port below and metrics one above, as Triton counts,
    unless `http_port` and `metrics_port` say otherwise). Models are loaded explicitly: those named, else every directory of the
    repository. `options` are further arguments of tritonserver, `env` further variables of its environment, `profile` a
    directory for the backends' profiles, `timeout` the seconds that the start may take, with the engines that it builds, or a
    request, `interpreters` by backend the name that its interpreter is looked up by (accelkit.interpreters). Ports that are not
    given are free ones.

    Attributes once it runs: `http`, `grpc`, `metrics` ("host:port"), `version`, `command` (its command line, empty for a
    remote one), `log` (a file that goes with `stop`; None for a remote one), `pid` (of tritonserver or the engine's client).

    Raises ConfigError for a bad argument, ToolchainError when no server can be had, ServerError (with `log_tail`) with the
    server's own reason when it does not start or does not load a model; nothing is left running then.
    """

    def __init__(
        self,
        repository: Path,
        *,
        mode: str = "embedded",
        url: str | None = None,
        models: list[str] | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        verbose: int = 0,
        profile: Path | None = None,
        timeout: float = 600,
        auto_complete: bool = True,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        era: str = "current",
        interpreters: Mapping[str, str] | None = None,
    ):
        self.repository, self.mode = Path(repository), mode
        ports = (http_port, grpc_port, metrics_port)
        self._spec = Spec(
            self.repository, url, models, options, env or {}, verbose, profile, timeout, auto_complete, ports, era,
            interpreters or {},
        )  # fmt: skip
        self._launched: Supervised | Remote | None = None
        self._client = Client("", "")
        self._tail, self._owner = "", 0
        self.http = self.grpc = self.metrics = self.version = ""
        self.command: list[str] = []
        self.log: Path | None = None
        self.pid: int | None = None

    def start(self) -> Server:
        """Start the server and load its models; returns itself."""
        if self._launched is not None:
            raise ConfigError(f"the server of {self.repository} is already started: stop it first")
        spec = self._spec.checked(self.mode)
        self._owner, self._tail = os.getpid(), ""
        try:
            launched = self._launched = importlib.import_module(f"accelkit.serving.{self.mode}").launch(spec)
        except OSError as error:
            raise ServerError(f"the server of {self.repository} cannot be started: {error}") from None
        self.http, self.grpc, self.metrics = launched.http, launched.grpc, launched.metrics
        self.command, self.log, self.pid = launched.command, launched.log, launched.pid
        self._client = Client(self.http, self.grpc, spec.timeout, launched.tail)
        try:
            self.version = self._client.get("/v2")["version"]
            for model in spec.models or []:
                if not self._client.ready(model):
                    self._refuse(model, self._client.index().get(model, ("", ""))[1])
        except BaseException:
            self.stop(clean=False)
            raise
        _running.add(self)
        return self

    def stop(self, clean: bool = True) -> None:
        """Stop the server and remove what it left; no effect when it does not run or was started by a parent process.

        A `clean` end lets its instances write what ran: with `profile` it may take two minutes, else ten seconds.
        """
        launched, self._launched = self._launched, None
        self._client.close()
        if launched is not None and os.getpid() == self._owner:
            launched.stop(clean)
            self._tail = launched.tail(10_000)
        _running.discard(self)

    def __del__(self) -> None:
        # A notebook cell that runs again drops the server of its first run.
        if getattr(self, "_launched", None) is not None:
            self.stop()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self.stop(clean=kind is None)

    def infer(
        self, model: str, inputs: Mapping[str, np.ndarray], outputs: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs of one gRPC request by name, all or those asked for; RequestError with the server's reason."""
        return self._talk().infer(model, inputs, outputs)

    def config(self, model: str) -> dict[str, Any]:
        """The model's configuration as the server completed and serves it."""
        return self._talk().get(f"/v2/models/{model}/config")

    def statistics(self, model: str) -> dict[str, Any]:
        """Counts and nanoseconds by stage since the model was loaded; an answer may be there milliseconds before it counts."""
        return self._talk().get(f"/v2/models/{model}/stats")["model_stats"][0]

    def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one of its models, takes requests now."""
        return self._launched is not None and self._talk().ready(model)

    def load(self, model: str) -> None:
        """Load the model, or load it again after its files changed; ServerError with the server's reason."""
        client, before = self._talk(), len(self.log_tail(sys.maxsize))
        address, patience = f"/v2/repository/models/{model}/load", self._spec.timeout
        status, body = client.http("POST", address, {}, patience)
        if STARVED in body.get("error", ""):  # a dead process dies again, a busy machine gets another second
            status, body = client.http("POST", address, {}, patience)
        if status != 200:
            self._refuse(model, body.get("error", ""), before)

    def unload(self, model: str) -> None:
        """Unload the model and wait until it is gone."""
        self._talk().unload(model, self._spec.timeout)

    def log_tail(self, lines: int = 20) -> str:
        """Last lines of the server's log, also after its end."""
        text = self._launched.tail(lines) if self._launched is not None else self._tail
        return "\n".join(text.splitlines()[-lines:])

    def _talk(self) -> Client:
        if self._launched is None:
            raise ServerError(
                f"the server of {self.repository} does not run: start it, or use it inside its `with` block"
            )
        return self._client

    def _refuse(self, model: str, text: str, log_from: int = 0) -> None:
        """Raise the server's reason for not loading a model; what its answer lacks is read from its log."""
        if not text or "failed to poll" in text:
            text = poll_failure(self.log_tail(sys.maxsize)[log_from:], model) or text
        where = self.repository / model if self.mode != "remote" else f"remote server {self.grpc}"
        why = reason(text) or "it is not in the server's repository"
        raise ServerError(f"model '{model}' ({where}) did not load: {why}", self.log_tail(), why)
