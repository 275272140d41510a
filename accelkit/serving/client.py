"""Talk to a running Triton: inference over gRPC, everything else over its HTTP/REST interface, errors in one line."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from accelkit.errors import MissingPackage, RequestError, ServerError

if TYPE_CHECKING:
    import numpy as np

_STATUS = r"(?:Invalid argument|Internal|Not found|Unavailable|Unsupported|Already exists|Unknown): "
_NOISE = (
    re.compile(r"^load failed for model '[^']*': "),
    re.compile(r"^version \d+ is at UNAVAILABLE state: "),
    re.compile(rf"^{_STATUS}"),
    re.compile(r"^(?:\w+\.)*(?:Refused|\w+Error|\w+Exception): "),
    re.compile(r"\[request id: <id_unknown>\] "),
)
_STACK = re.compile(r"\s*\n\s*At:\s.*", re.DOTALL)


STARVED = "is not healthy"
"""What the Python backend says of a process that showed no sign of life for a second, be it dead or the machine busy."""
PATIENCE_S = 60
"""For an answer that needs no work; loads and inferences, for which engines may be built, get what the server was given."""


def reason(text: str) -> str:
    """The one line in a message of Triton that says what was wrong, without its prefixes and Python stacks."""
    text = _STACK.sub("", text.strip())
    for noise in _NOISE:
        text = noise.sub("", text)
    return " ".join(text.split()).rstrip("; ")


class Client:
    """Requests to one server; safe for threads, and for processes forked after it was made."""

    def __init__(self, http_address: str, grpc_address: str, timeout: float = 60, tail: Callable[[], str] = lambda: ""):
        self._http, self._grpc, self._timeout, self._tail = http_address, grpc_address, timeout, tail
        self._stub: tuple[int, Any] | None = None

    def http(self, method: str, path: str, body: Any = None, timeout: float | None = None) -> tuple[int, Any]:
        """Status and decoded body of one HTTP request; ServerError when nobody answers."""
        host, _, port = self._http.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout or min(self._timeout, PATIENCE_S))
        try:
            connection.request(method, urllib.parse.quote(path), json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(
                f"no server answers at http://{self._http}: {error or type(error).__name__}", self._tail()
            ) from None
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else {}
        except ValueError:
            return answer.status, {"error": text}

    def get(self, path: str) -> Any:
        """Decoded body of a successful GET; RequestError with the server's reason otherwise."""
        status, body = self.http("GET", path)
        if status != 200:
            raise RequestError(reason(body.get("error", f"the server answered {status} to {path}")))
        return body

    def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one of its models, takes requests now."""
        try:
            return self.http("GET", f"/v2/models/{model}/ready" if model else "/v2/health/ready", timeout=5)[0] == 200
        except ServerError:
            return False

    def index(self) -> dict[str, tuple[str, str]]:
        """State and reason of every model that the repository holds or that was asked for."""
        found = self.http("POST", "/v2/repository/index", {})[1]
        return (
            {row["name"]: (row.get("state", ""), row.get("reason", "")) for row in found}
            if isinstance(found, list)
            else {}
        )

    def unload(self, model: str, timeout: float) -> None:
        """Unload the model and wait until the server has let go of it."""
        status, body = self.http("POST", f"/v2/repository/models/{model}/unload", {})
        if status != 200:
            raise ServerError(f"model '{model}' did not unload: {reason(body.get('error', ''))}", self._tail())
        deadline = time.monotonic() + timeout
        while self.index().get(model, ("", ""))[0] not in ("", "UNAVAILABLE"):
            if time.monotonic() > deadline:
                raise ServerError(
                    f"model '{model}' is still being unloaded after {timeout:g} s: wait for its requests", self._tail()
                )
            time.sleep(0.02)

    def infer(
        self, model: str, inputs: Mapping[str, np.ndarray], outputs: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs of one request by name, all of the model's or those asked for; RequestError when the server refuses it."""
        stub, module = self._inference()
        tensors = []
        for name, array in inputs.items():
            dtype = module.utils.np_to_triton_dtype(array.dtype)
            if dtype is None:
                raise RequestError(
                    f"model '{model}': input '{name}' has element type {array.dtype}, which Triton does not know"
                )
            tensors.append(module.grpc.InferInput(name, list(array.shape), dtype))
            tensors[-1].set_data_from_numpy(array)
        wanted = [module.grpc.InferRequestedOutput(name) for name in outputs] if outputs is not None else None
        try:
            answer = stub.infer(model, tensors, outputs=wanted, client_timeout=self._timeout)
        except module.utils.InferenceServerException as error:
            why = reason(error.message() or str(error))
            if STARVED in why:
                text = f"model '{model}': its process has died and is not replaced ({why}): start the server again"
                raise ServerError(text, self._tail()) from None
            if str(error.status()) in ("StatusCode.UNAVAILABLE", "StatusCode.CANCELLED") and not self.ready():
                raise ServerError(f"the server at {self._grpc} no longer answers: {why}", self._tail()) from None
            raise RequestError(f"model '{model}' refused the request: {why}") from None
        return {tensor.name: answer.as_numpy(tensor.name) for tensor in answer.get_response().outputs}

    def close(self) -> None:
        """Close the gRPC channel of this process, if one was opened."""
        if self._stub and self._stub[0] == os.getpid():
            self._stub[1].close()
        self._stub = None

    def _inference(self) -> tuple[Any, Any]:
        try:
            import tritonclient.grpc
            import tritonclient.utils
        except ImportError:
            raise MissingPackage("tritonclient[grpc]", "cpu", "sending inference requests") from None
        if self._stub is None or self._stub[0] != os.getpid():
            # A loopback server is never behind a proxy; the C core would otherwise honour http_proxy.
            options = [
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ]
            made = tritonclient.grpc.InferenceServerClient(self._grpc, channel_args=options)
            self._stub = (os.getpid(), made)
        return self._stub[1], tritonclient
