"""What goes wrong on a GPU is one clear line, and the other models keep serving."""

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from accelkit import interpreters, paths, repository
from accelkit.errors import ModelError, RequestError, ServerError
from accelkit.measure import parity
from accelkit.models import detour
from accelkit.serving import Server
from tests.gpu.conftest import here

PATH = paths.get("tensorrt")


@pytest.fixture(scope="module")
def placed(model, tmp_path_factory):
    """A plan of the path tensorrt that is good."""
    here(PATH, model)
    return paths.place(PATH, model, tmp_path_factory.mktemp("models"), "fp16")


@pytest.fixture(scope="module")
def server(placed):
    with Server(placed.directory.parent) as running:
        yield running


def refused(server, placed, model, name, plan=None, **change):
    """The one line that a changed copy of the model is refused with; the good one still answers."""
    folder = placed.directory.parent / name
    shutil.copytree(placed.directory, folder)
    config = PATH.config(model, precision="fp16", name=name)
    for key, value in change.items():
        setattr(config, key, value)
    (folder / repository.FILE).write_text(repository.text(config))
    if plan is not None:
        (folder / "1/model.plan").write_bytes(plan)
    with pytest.raises(ServerError) as caught:
        server.load(name)
    assert parity.check(model, parity.served(server, placed.directory.name, model), "fp16", 16).passed
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_plan_that_is_none_or_of_another_tensorrt(server, placed, model):
    good = (placed.directory / "1/model.plan").read_bytes()
    header = bytearray(good)
    header[:64] = bytes(byte ^ 0x5A for byte in good[:64])
    for name, plan in {
        "cut": good[: len(good) // 2],
        "empty": b"",
        "text": b"no plan",
        "foreign": bytes(header),
    }.items():
        said = refused(server, placed, model, name, plan)
        assert re.search(r"unable to create TensorRT engine: \S", said), said


def test_a_batch_beyond_every_profile(server, placed, model):
    assert "only supports max-batch 64" in refused(server, placed, model, "larger", max_batch_size=1000)
    image = np.zeros((65, 1, 32, 100), np.float32)
    with pytest.raises(RequestError, match="65|batch"):
        server.infer(placed.directory.name, {"input.1": image})


@contextmanager
def filled():
    """A GPU with almost no memory left."""
    from cuda.bindings import driver

    driver.cuInit(0)
    context = driver.cuDevicePrimaryCtxRetain(0)[1]
    driver.cuCtxSetCurrent(context)
    size, held = 1 << 30, []
    try:
        while size >= 1 << 22:
            status, memory = driver.cuMemAlloc(size)
            if int(status):
                size >>= 1
            else:
                held.append(memory)
        yield
    finally:
        for memory in held:
            driver.cuMemFree(memory)
        driver.cuDevicePrimaryCtxRelease(0)


def test_a_gpu_without_memory(server, placed, model):
    pytest.importorskip("cuda.bindings")
    with filled():
        said = refused(server, placed, model, "crowded")
    assert "memory" in said.lower(), said
    server.load("crowded")
    assert server.ready("crowded")


def test_a_gpu_that_is_hidden(placed):
    with (
        pytest.raises(ServerError, match="GPU|CUDA"),
        Server(placed.directory.parent, env={"CUDA_VISIBLE_DEVICES": ""}),
    ):
        pass


def test_an_operator_that_tensorrt_lacks_is_named(model, placed, tmp_path):
    target = tmp_path / "detour.onnx"
    detour.write(model.onnx(), target)
    with pytest.raises(ModelError, match=detour.OPERATOR) as caught:
        interpreters.run(
            "tensorrt", "accelkit.engine", ["build", str(target), str(tmp_path / "out.plan"), "--profile", "1:4:4"]
        )
    assert "\n" not in str(caught.value) and not (tmp_path / "out.plan").exists()


def test_a_workspace_too_small_builds_or_says_why(model, placed, tmp_path):
    """TensorRT takes what kernels fit; a builder that finds none has to name its reason."""
    order = ["build", str(model.onnx()), str(tmp_path / "small.plan"), "--profile", "1:16:16", "--workspace", "1"]
    try:
        interpreters.run("tensorrt", "accelkit.engine", order)
    except ModelError as error:
        assert re.search(r"cannot build \S+: \S", str(error)) and not (tmp_path / "small.plan").exists()
    else:
        assert (tmp_path / "small.plan").stat().st_size > 0


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_an_unknown_accelerator_or_parameter(name, model, tmp_path):
    path = paths.get(name)
    here(path, model)
    config = path.config(model, name="wrong")
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    if name == "onnxruntime-tensorrt":
        accelerators[0].parameters["trt_no_such_key"] = "1"
    else:
        accelerators.add(name="cudnn")
    repository.add(tmp_path, config, path.build(model, tmp_path).files)
    with (
        Server(tmp_path, models=[], interpreters=interpreters.own(path)) as running,
        pytest.raises(ServerError, match="unknown parameter 'trt_no_such_key'|unknown Execution Accelerator 'cudnn'"),
    ):
        running.load("wrong")


def test_an_onnx_file_with_an_operator_that_nobody_has(model, tmp_path):
    import onnx

    path = paths.get("onnxruntime-cuda")
    here(path, model)
    graph = onnx.load(model.onnx())
    graph.graph.node[1].op_type = "OperatorOfTomorrow"
    (tmp_path / "strange.onnx").write_bytes(graph.SerializeToString())
    repository.add(tmp_path / "models", path.config(model, name="strange"), {"model.onnx": tmp_path / "strange.onnx"})
    with Server(tmp_path / "models", models=[]) as running, pytest.raises(ServerError, match="OperatorOfTomorrow"):
        running.load("strange")
