"""The embedded server as its users meet it: start, models, errors, ports, end."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import processes
import pytest
import small

from accelkit.errors import ConfigError, RequestError, ServerError
from accelkit.serving import Server
from accelkit.serving.launch import free_ports


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with two models and one that is no model."""
    root = tmp_path_factory.mktemp("repository")
    small.add(root, "identity", small.config(), small.identity())
    small.add(root, "tiny", small.config(dims=[10]), small.tiny())
    return root


@pytest.fixture(scope="module")
def server(repository):
    """A server of them."""
    with Server(repository) as server:
        yield server


def test_answers_on_loopback_with_what_it_says_of_itself(server):
    assert server.version == "2.51.0" and server.mode == "embedded"
    assert all(address.startswith("127.0.0.1:") for address in (server.http, server.grpc, server.metrics))
    assert server.ready() and server.ready("identity") and not server.ready("nosuch")
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as answer:
        assert b"nv_inference_count" in answer.read()
    assert "--model-control-mode=explicit" in server.command and f"--load-model={'tiny'}" in server.command
    assert processes.alive(server.pid) and server.log.exists()


def test_infers_and_counts(server):
    before = server.statistics("identity")["inference_count"]
    image = small.image(5)
    np.testing.assert_array_equal(server.infer("identity", {"input.1": image})["out"], image)
    assert server.infer("tiny", {"input.1": image}, ["out"])["out"].shape == (5, 10)
    assert small.counted(server, "identity", before + 5)
    assert server.config("identity")["max_batch_size"] == 16


def test_a_python_model_without_its_file_is_refused_at_once(tmp_path):
    """Its stub ends then, and the server itself would wait for it for ever."""
    small.add(tmp_path, "tiny", small.config(dims=[10]), small.tiny())
    (tmp_path / "empty/1").mkdir(parents=True)
    (tmp_path / "empty/config.pbtxt").write_text(small.config().replace('"onnxruntime"', '"python"'))
    said = f"Python model file not found in '{tmp_path}/empty/1/model.py'"
    with Server(tmp_path, models=["tiny"]) as server:
        with pytest.raises(ServerError) as caught:
            server.load("empty")
        assert str(caught.value) == f"model 'empty' ({tmp_path}/empty) did not load: {said}" and server.ready("tiny")


def test_unloads_and_loads(server):
    server.unload("tiny")
    assert not server.ready("tiny") and server.ready("identity")
    with pytest.raises(RequestError, match="model 'tiny' refused the request: Request for unknown model"):
        server.infer("tiny", {"input.1": small.image()})
    server.load("tiny")
    assert server.ready("tiny")
    with pytest.raises(ServerError, match="model 'nosuch' .* did not load"):
        server.load("nosuch")
    with pytest.raises(RequestError, match="unknown model"):
        server.config("nosuch")


def test_takes_requests_from_threads_and_forked_processes(server):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda size: server.infer("tiny", {"input.1": small.image(size)})["out"], range(1, 9)))
    assert [len(answer) for answer in answers] == list(range(1, 9))
    child = multiprocessing.get_context("fork").Process(target=server.stop)
    child.start()
    child.join()
    assert server.ready(), "a forked child must not stop its parent's server"


def test_refuses_an_element_type_that_triton_has_not(server):
    with pytest.raises(RequestError, match="element type complex64, which Triton does not know"):
        server.infer("identity", {"input.1": small.image().astype("complex64")})


def test_an_interrupt_of_the_starters_group_does_not_reach_it(server):
    assert os.getsid(server.pid) != os.getsid(0)
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        os.killpg(os.getpgrp(), signal.SIGINT) if os.getpgrp() == os.getpid() else os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert server.ready("identity")


def test_a_model_whose_process_died_says_so_and_the_server_still_stops(repository):
    with Server(repository) as server:
        directory = server.log.parent
        stubs = [pid for pid in processes.tree(directory) if "identity_0_0" in processes.command(pid)]
        assert len(stubs) == 1
        os.kill(stubs[0], signal.SIGKILL)
        with pytest.raises(ServerError, match="model 'identity': its process has died .* start the server again"):
            server.infer("identity", {"input.1": small.image()})
        assert server.infer("tiny", {"input.1": small.image()})["out"].shape == (1, 10)
    assert not processes.tree(directory) and not directory.exists()


@pytest.mark.parametrize(("times", "loads"), [(1, True), (2, False)])
def test_a_process_that_a_busy_machine_starved_is_asked_for_once_more(server, monkeypatch, times, loads):
    ask, starved = server._client.http, iter(range(times))

    def http(method, path, *rest, **named):
        if path.endswith("/load") and next(starved, None) is not None:
            return 400, {"error": "load failed for model 'tiny': Stub process 'tiny_0_0' is not healthy."}
        return ask(method, path, *rest, **named)

    monkeypatch.setattr(server._client, "http", http)
    if loads:
        server.load("tiny")
        assert server.ready("tiny")
    else:
        with pytest.raises(ServerError, match="Stub process 'tiny_0_0' is not healthy"):
            server.load("tiny")


def test_stop_leaves_nothing_and_its_log_stays_readable(repository):
    server = Server(repository, models=["tiny"], verbose=1, env={"ACCELKIT_TEST": "1"})
    with server:
        directory, addresses = server.log.parent, [server.http, server.grpc, server.metrics]
        regions = processes.regions(directory)
        assert all(processes.listening(address) for address in addresses)
        assert any(region.exists() for region in regions)
        with pytest.raises(ConfigError, match="already started"):
            server.start()
    assert not directory.exists() and not processes.tree(directory)
    assert not any(region.exists() for region in regions)
    assert not any(processes.listening(address) for address in addresses)
    assert "successfully unloaded 'tiny'" in server.log_tail(50) and len(server.log_tail(3).splitlines()) == 3
    assert not server.ready()
    with pytest.raises(ServerError, match="does not run: start it"):
        server.infer("tiny", {"input.1": small.image()})
    server.stop()


def test_a_server_that_died_still_says_its_last_words(repository):
    with Server(repository, models=["tiny"]) as server:
        directory = server.log.parent
        os.kill(server.pid, signal.SIGKILL)
        assert processes.within(10, lambda: not directory.exists())
        for ask in (lambda: server.load("tiny"), lambda: server.config("tiny")):
            with pytest.raises(ServerError, match="no server answers at http://") as failed:
                ask()
            assert "Started HTTPService" in failed.value.log_tail
    assert "Started HTTPService" in server.log_tail()


def test_a_server_that_is_dropped_ends(repository):
    server = Server(repository, models=[]).start()
    dropped = server.log.parent
    server = Server(repository, models=[]).start()
    assert not dropped.exists() and not processes.tree(dropped) and server.ready()
    server.stop()


def test_a_server_without_metrics_starts(repository):
    with Server(repository, models=[], options=["--allow-metrics=false"]) as server:
        assert server.ready() and not processes.listening(server.metrics)


def test_a_repository_with_a_space_in_its_path(tmp_path):
    repository = tmp_path / "my models"
    small.add(repository, "tiny", small.config(dims=[10]), small.tiny())
    with Server(repository) as server:
        assert server.infer("tiny", {"input.1": small.image()})["out"].shape == (1, 10)


def test_a_model_that_does_not_load_ends_the_start_and_leaves_nothing(tmp_path, monkeypatch, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    small.add(tmp_path, "good", small.config(), small.identity())
    small.add(tmp_path, "bad", small.config(), b"cut")
    server = Server(tmp_path)
    with pytest.raises(ServerError, match=r"model 'bad' \(.*/bad\) did not load: onnx runtime error 7") as failed:
        server.start()
    assert "\n" not in str(failed.value) and "bad" in failed.value.log_tail
    assert not list(place.iterdir()) and not processes.tree(place)


def test_a_config_that_does_not_parse_is_named(tmp_path):
    small.add(tmp_path, "broken", small.config() + "nonsense", small.identity())
    with pytest.raises(
        ServerError, match=r"model 'broken' .*failed to read text proto from .*broken/config.pbtxt"
    ) as failed:
        Server(tmp_path).start()
    assert "nonsense" in str(failed.value) or "line" in str(failed.value) or "Expected" in str(failed.value)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"mode": "nosuch"}, ConfigError, "unknown server mode 'nosuch'"),
        ({"url": "127.0.0.1:1"}, ConfigError, "url belongs to the mode 'remote'"),
        ({"models": ["nosuch"]}, ConfigError, "model 'nosuch' is not in the repository"),
        ({"models": [], "options": ["--nosuch"]}, ServerError, "unrecognized option '--nosuch'"),
        ({"models": [], "timeout": 0.01}, ServerError, "gave no answer within 0.01 s"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(repository, arguments, error, text):
    with pytest.raises(error, match=text) as refused:
        Server(repository, **arguments).start()
    assert "\n" not in str(refused.value)


def test_a_missing_repository_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is not a directory: give the one that holds the models"):
        Server(tmp_path / "nosuch").start()
    (tmp_path / "unbuilt").mkdir()
    with pytest.raises(ConfigError, match="no model with a version in the repository .*: build one into it"):
        Server(tmp_path).start()


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_port_that_is_taken_is_named(repository, service, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"{service} port {port} is taken on 127.0.0.1"):
            Server(repository, models=[], **{f"{service}_port": port}).start()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "ports", [{"http_port": 8765, "grpc_port": 8765}, {"metrics_port": 8765, "options": ["--http-port=8765"]}]
)
def test_a_port_that_is_given_twice_is_named(repository, ports):
    with pytest.raises(ConfigError, match="^port 8765 is given twice: HTTP, gRPC and metrics need a port each$"):
        Server(repository, models=[], **ports).start()


@pytest.mark.parametrize("limit", ["abc", "-1", "0", "1.5"])
def test_a_limit_of_memory_that_is_no_number_is_named(repository, limit):
    with pytest.raises(ConfigError, match=f"^ACCELKIT_MEMORY_MB={limit}: is no number of megabytes: write it as 4096"):
        Server(repository, models=[], env={"ACCELKIT_MEMORY_MB": limit}).start()


def test_a_directory_that_cannot_be_made_is_one_line(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nosuch"))
    with pytest.raises(ServerError, match="cannot be started: .*No such file or directory") as failed:
        Server(repository, models=[]).start()
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("service", [0, 1, 2])
def test_a_port_that_is_taken_meanwhile_is_left_for_another(repository, monkeypatch, service, tmp_path):
    """And the first server, which may have loaded the model and begun its profile, leaves nothing in the evidence."""
    taken = socket.create_server(("127.0.0.1", 0))
    port, calls = taken.getsockname()[1], []

    def choose(fixed):
        calls.append(fixed)
        chosen = list(free_ports(fixed))
        if len(calls) == 1:
            chosen[service] = port
        return tuple(chosen)

    monkeypatch.setattr("accelkit.serving.supervised.free_ports", choose)
    (tmp_path / "of_another.txt").touch()
    with taken, Server(repository, models=["tiny"], profile=tmp_path) as server:
        assert len(calls) == 2 and f"127.0.0.1:{port}" not in (server.http, server.grpc, server.metrics)
        server.infer("tiny", {"input.1": small.image(2)})
    (written,) = tmp_path.rglob("*.json")
    assert json.loads(written.read_text()) and (tmp_path / "of_another.txt").exists()


def test_fixed_ports_are_used(repository):
    http, grpc, metrics = free_ports((None, None, None))
    with Server(repository, models=[], http_port=http, options=[f"--grpc-port={grpc}"], metrics_port=metrics) as server:
        assert [server.http, server.grpc, server.metrics] == [f"127.0.0.1:{port}" for port in (http, grpc, metrics)]


def test_ten_servers_at_once_do_not_disturb_one_another(repository):
    servers = [Server(repository, models=["tiny"], timeout=300) for _ in range(10)]
    try:
        with ThreadPoolExecutor(10) as pool:
            directories = list(pool.map(lambda server: server.start().log.parent, servers))
            assert len({address for server in servers for address in (server.http, server.grpc, server.metrics)}) == 30
            image = small.image(2)
            answers = list(pool.map(lambda server: server.infer("tiny", {"input.1": image})["out"], servers))
            assert all(np.array_equal(answer, answers[0]) for answer in answers)
            servers[3].stop()
            assert all(server.ready("tiny") for server in servers if server is not servers[3])
            assert all(small.counted(server, "tiny", 2) for server in servers if server is not servers[3])
    finally:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(Server.stop, servers))
    assert not any(map(processes.tree, directories))


SLOW = """
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.target = args["model_repository"] + "/written"

    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]

    def finalize(self):
        time.sleep(11)
        open(self.target, "w").close()
"""


@pytest.fixture
def slow(tmp_path):
    """A repository with a model whose instance takes 11 s to end and writes a file then; that file."""
    version = tmp_path / "models/slow/1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(SLOW)
    sides = "".join(f"{side} [{{ name: '{side}' data_type: TYPE_FP32 dims: [1] }}]\n" for side in ("input", "output"))
    (version.parent / "config.pbtxt").write_text(f"backend: 'python'\n{sides}instance_group [{{ kind: KIND_CPU }}]\n")
    return tmp_path / "models", version.parent / "written"


def test_an_instance_has_time_to_write_what_ran(slow, tmp_path):
    """A framework on a GPU, or on a busy machine, may trace for longer than a server has without a profile."""
    repository, written = slow
    with Server(repository, profile=tmp_path / "profile"):
        pass
    assert written.exists()


def test_nobody_waits_for_it_after_an_exception(slow, tmp_path):
    repository, written = slow
    with pytest.raises(KeyboardInterrupt), Server(repository, profile=tmp_path / "profile"):
        started = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - started < 9 and not written.exists()
