"""paths: the table holds every path of the design, and each says what it needs."""

import dataclasses

import pytest

from accelkit import machine, models, paths
from accelkit.errors import ConfigError

DESIGN = (
    "onnxruntime-cpu onnxruntime-cuda onnxruntime-tensorrt onnxruntime-openvino openvino tensorrt torch-tensorrt "
    "tf-tensorrt fil fastertransformer vllm tensorrt-llm pytorch pytorch-aoti tensorflow"
).split()


def without(*packages):
    found = machine.probe()
    runtimes = {name: version for name, version in found.runtimes.items() if name not in packages}
    return dataclasses.replace(found, runtimes=runtimes, gpus=())


def test_the_table_holds_every_path_of_the_design_once():
    assert sorted(paths.names()) == sorted(DESIGN) and paths.names()[0] == paths.BASELINE


@pytest.mark.parametrize("name", DESIGN)
def test_every_path_says_in_one_line_what_it_needs(name):
    path = paths.get(name)
    assert name == path.NAME and path.BACKEND and path.NEEDS
    reason = path.unavailable(without("onnxruntime", "treelite", "openvino", "torch", "tensorflow-cpu"))
    assert reason and "\n" not in reason and path.NEEDS in reason
    assert "missing here: " in reason


def test_an_unknown_path_lists_those_there_are():
    with pytest.raises(ConfigError, match="openvino, tensorrt"):
        paths.get("warp-drive")


def test_a_missing_gpu_is_named_only_where_one_is_needed():
    assert "an NVIDIA GPU" in paths.get("tensorrt").unavailable(without()).split("missing here")[1]
    assert "GPU" not in paths.get("pytorch").unavailable(without("torch"))
    gpu = machine.Gpu("H200", 141.0, "9.0", "580")
    found = dataclasses.replace(without(), gpus=(gpu,))
    assert "an NVIDIA GPU" not in paths.get("tensorrt").unavailable(found).split("missing here")[1]


def test_a_path_that_is_only_written_is_not_placed(tmp_path):
    with pytest.raises(ConfigError, match="path tensorrt-llm is unavailable: .* lesson 11 shows"):
        paths.place(paths.get("tensorrt-llm"), models.get("gpt"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_baseline_is_built_and_placed(tmp_path):
    model = models.get()
    placed = paths.place(paths.get(paths.BASELINE), model, tmp_path, threads=1)
    assert placed.directory == tmp_path / "text_recognition_onnxruntime_cpu"
    assert [file.read_bytes() for file in placed.files] == [model.onnx().read_bytes()]
    assert placed.size_mb == pytest.approx(model.onnx().stat().st_size / 1e6)
    assert paths.get(paths.BASELINE).config(model).name == placed.directory.name


def test_overrides_of_the_baseline_reach_the_config():
    build = paths.get(paths.BASELINE).config
    config = build(
        models.get(), name="mine", threads=2, graph_level=-1, instances=3, dynamic_batching=False, max_batch_size=8,
        parameters={"execution_mode": "1"},
    )  # fmt: skip
    assert (config.name, config.max_batch_size, config.instance_group[0].count) == ("mine", 8, 3)
    assert config.optimization.graph.level == -1 and not config.HasField("dynamic_batching")
    values = {key: value.string_value for key, value in config.parameters.items()}
    assert values == {"intra_op_thread_count": "2", "execution_mode": "1"}
    assert "intra_op_thread_count" not in build(models.get()).parameters


def test_keys_that_the_recipe_writes_are_in_the_backends_table():
    keys = pytest.importorskip("accelkit.backends.onnxruntime.keys").KEYS
    written = paths.get(paths.BASELINE).config(models.get(), threads=2).parameters
    assert set(written) <= {key.name for key in keys}


@pytest.mark.parametrize(("usable", "physical", "threads"), [(2, 16, {"threads": 2}), (16, 16, {}), (32, 16, {})])
def test_a_config_is_fitted_to_the_batch_and_to_few_cpus(usable, physical, threads, made_up):
    here = made_up(usable_cores=usable, physical_cores=physical)
    assert paths.fitted(paths.get("onnxruntime-cpu"), here, 64) == threads
    assert paths.fitted(paths.get("openvino"), here, 64) == {"batch": 64, **threads}
    assert paths.fitted(paths.get("vllm"), here, 64) == {}
    assert paths.fitted(paths.get("onnxruntime-cpu"), here, 64, instances=2, stages=2) == {"instances": 2, **threads}
    assert paths.fitted(paths.get("onnxruntime-cpu"), here, 64, 64) == threads
    assert paths.fitted(paths.get("onnxruntime-cpu"), here, 65, 64) == {"max_batch_size": 65, **threads}
    assert paths.fitted(paths.get("openvino"), here, 256, 64) == {"batch": 256, **threads}
    config = paths.get("openvino").config(models.get(), batch=256)
    assert (
        config.max_batch_size == 256 and paths.get("openvino").config(models.get("trees"), batch=4).max_batch_size == 4
    )
