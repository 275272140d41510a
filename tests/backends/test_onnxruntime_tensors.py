"""Tensors of every element type, scalars, sequences and several outputs through the stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import processes
import pytest
import small
from onnx import helper

from accelkit.errors import RequestError, ServerError
from accelkit.serving import Server

TYPES = {
    "FLOAT": "f4", "DOUBLE": "f8", "FLOAT16": "f2", "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8",
    "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8",
}  # fmt: skip


def inputs(rows: int) -> dict[str, np.ndarray]:
    """Random values for every type."""
    draw = np.random.default_rng(rows)
    return {f"in_{name}": (draw.random((rows, 5)) * 2).astype(kind) for name, kind in TYPES.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server without auto-complete for the models that need none, and the command line's settings for the backend."""
    repository = tmp_path_factory.mktemp("repository")
    every = small.model(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in TYPES],
        [small.tensor(f"in_{name}", ["N", "M"], name) for name in TYPES],
        [small.tensor(f"out_{name}", ["N", "M"], name) for name in TYPES],
    )
    one = "instance_group [ { kind: KIND_CPU count: 1 } ]"
    small.add(repository, "every", f"{one} dynamic_batching {{ max_queue_delay_microseconds: 100000 }}", every)
    scalar = small.model(
        [helper.make_node("Add", ["x", "s"], ["sum"]), helper.make_node("Identity", ["s"], ["same"])],
        [small.tensor("x", ["N"]), small.tensor("s", [])],
        [small.tensor("sum", ["N"]), small.tensor("same", [])],
    )
    small.add(repository, "scalar", one, scalar)
    text = small.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [small.tensor("x", ["N"], "STRING")],
        [small.tensor("y", ["N"], "STRING")],
    )
    small.add(repository, "text", one, text)
    divide = small.model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [small.tensor("x", [2], "INT64")],
        [small.tensor("y", [2])],
        [helper.make_tensor("table", 1, [3], [1.0, 2.0, 3.0])],
    )
    small.add(repository, "lookup", one, divide)
    batched = small.model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [small.tensor("x", ["N", 1], "INT64")],
        [small.tensor("y", ["N", 1])],
        [helper.make_tensor("table", 1, [3], [1.0, 2.0, 3.0])],
    )
    small.add(
        repository,
        "gathered",
        f"{one} max_batch_size: 8 dynamic_batching {{ max_queue_delay_microseconds: 300000 }}",
        batched,
    )
    wide = small.model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [small.tensor("x", [50_000], "INT64")],
        [small.tensor("y", [50_000])],
        [helper.make_tensor("table", 1, [3], [1.0, 2.0, 3.0])],
    )
    small.add(repository, "wide", one, wide)
    settings = ["default-max-batch-size=32", "enable-global-threadpool=1", "intra_op_thread_count=1"]
    options = [f"--backend-config=onnxruntime,{setting}" for setting in settings]
    with Server(repository, models=["every", "scalar", "lookup", "gathered"], options=options, verbose=1) as server:
        yield server


def test_every_element_type_comes_back_as_it_went(server):
    sent = inputs(3)
    answer = server.infer("every", sent)
    for name in TYPES:
        assert answer[f"out_{name}"].dtype == sent[f"in_{name}"].dtype
        np.testing.assert_array_equal(answer[f"out_{name}"], sent[f"in_{name}"])


def test_gathered_requests_of_every_type_come_apart_right(server):
    sent = [inputs(rows) for rows in (1, 4, 2, 3)] * 3
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda feed: server.infer("every", feed), sent))
    for feed, answer in zip(sent, answers, strict=True):
        for name in TYPES:
            np.testing.assert_array_equal(answer[f"out_{name}"], feed[f"in_{name}"])
    statistics = server.statistics("every")
    assert statistics["execution_count"] < statistics["inference_count"]


def test_only_requested_outputs_come_back(server):
    assert set(server.infer("every", inputs(1), ["out_BOOL", "out_INT8"])) == {"out_BOOL", "out_INT8"}


def test_a_scalar_is_written_as_one_element(server):
    answer = server.infer("scalar", {"x": np.array([1, 2], "f4"), "s": np.array([5], "f4")})
    np.testing.assert_array_equal(answer["sum"], [6, 7])
    np.testing.assert_array_equal(answer["same"], [5])


def test_settings_of_the_command_line_reach_the_backend(server):
    config = server.config("every")
    assert config["max_batch_size"] == 32
    assert "autofilled max_batch_size to 32" in server.log_tail(100_000)


def test_strings_are_refused_with_the_reason(server):
    with pytest.raises(ServerError, match="input 'x' has strings, which a Python-based backend of this server cannot"):
        server.load("text")


def test_an_error_of_the_runtime_reaches_the_client_and_the_next_request_works(server):
    with pytest.raises(RequestError, match="onnx runtime error 2: .*out of data bounds"):
        server.infer("lookup", {"x": np.array([0, 7])})
    np.testing.assert_array_equal(server.infer("lookup", {"x": np.array([0, 2])})["y"], [1, 3])


def test_failing_requests_leave_no_memory_behind(server):
    def shared() -> int:
        return sum(region.stat().st_size for region in processes.regions(server.log.parent) if region.exists())

    server.load("wide")
    before, wrong = shared(), np.full(50_000, 9)
    for _ in range(60):
        with pytest.raises(RequestError, match="out of data bounds"):
            server.infer("wide", {"x": wrong})
    assert shared() - before < 10 * wrong.nbytes


def test_only_the_request_at_fault_fails_in_a_batch(server):
    def ask(index: int) -> float | str:
        try:
            return float(server.infer("gathered", {"x": np.array([[index]])})["y"][0, 0])
        except RequestError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, (0, 9, 1, 2)))
    assert answers[0] == 1 and answers[2:] == [2, 3]
    assert "out of data bounds" in str(answers[1])


def test_without_auto_complete_the_configuration_stays_as_it_is(tmp_path):
    bare = small.config().replace(small.config()[small.config().index("output") : small.config().index("instance")], "")
    small.add(tmp_path, "bare", bare, small.identity())
    small.add(tmp_path, "none", None, small.identity())
    with Server(tmp_path, models=["bare"], auto_complete=False) as server:
        assert "--disable-auto-complete-config" in server.command
        assert server.config("bare")["output"] == []
        with pytest.raises(RequestError, match="onnx runtime error 2: At least one output should be requested."):
            server.infer("bare", {"input.1": small.image()})
        with pytest.raises(ServerError, match="model 'none' .*failed to open text file for read"):
            server.load("none")
