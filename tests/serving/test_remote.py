"""A server that runs elsewhere, here one that this test started."""

from __future__ import annotations

import numpy as np
import pytest
import small

from accelkit.errors import ConfigError, RequestError, ServerError
from accelkit.serving import Server


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with two models, of which one is served."""
    root = tmp_path_factory.mktemp("repository")
    small.add(root, "tiny", small.config(dims=[10]), small.tiny())
    small.add(root, "other", small.config(), small.identity())
    return root


@pytest.fixture(scope="module")
def running(repository):
    """The server that runs."""
    with Server(repository, models=["tiny"]) as server:
        yield server


def test_reaches_a_running_server_and_leaves_it_running(running, repository):
    image = small.image(2)
    with Server(repository, mode="remote", url=running.grpc, models=["tiny"]) as server:
        assert (server.http, server.grpc, server.metrics) == (running.http, running.grpc, running.metrics)
        assert server.version == running.version and server.pid is None and server.command == []
        np.testing.assert_array_equal(
            server.infer("tiny", {"input.1": image})["out"], running.infer("tiny", {"input.1": image})["out"]
        )
        assert server.log_tail() == "" and server.log is None
        with pytest.raises(RequestError, match="unknown model"):
            server.infer("other", {"input.1": image})
    assert running.ready("tiny")


def test_a_model_that_is_not_there_is_named(running, repository):
    with pytest.raises(
        ServerError, match=r"model 'nosuch' \(remote server .*\) did not load: it is not in the server's"
    ):
        Server(repository, mode="remote", url=running.grpc, models=["nosuch"]).start()


@pytest.mark.parametrize("url", [None, "", "nonsense", "host:port"])
def test_an_address_that_is_none_is_refused(repository, url):
    with pytest.raises(ConfigError, match="is not the gRPC address of a server: give it as host:port"):
        Server(repository, mode="remote", url=url).start()


def test_nobody_there_and_what_only_a_started_server_takes(repository, running):
    with pytest.raises(
        ServerError,
        match=r"no ready server at http://127.0.0.1:8, the HTTP side of 127.0.0.1:9: .*--http-port, in Python http_port",
    ):
        Server(repository, mode="remote", url="127.0.0.1:9").start()
    with pytest.raises(ConfigError, match="leave them out in remote mode"):
        Server(repository, mode="remote", url=running.grpc, options=["--log-verbose=1"]).start()


def test_a_server_that_went_away_is_a_server_error(repository):
    server = Server(repository, models=["tiny"]).start()
    with Server(repository, mode="remote", url=server.grpc, models=["tiny"]) as remote:
        server.stop()
        with pytest.raises(ServerError, match="no longer answers"):
            remote.infer("tiny", {"input.1": small.image()})
        with pytest.raises(ServerError, match="no server answers at http://"):
            remote.config("tiny")
