"""The conversion by TensorFlow's TensorRT, as far as it goes without a GPU: its arguments, its report, its refusals."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import saved_model_bytes as made

from accelkit.errors import ModelError
from accelkit.savedmodel import api, converting, reading
from accelkit.savedmodel.converting import Order

SIGNATURES = json.loads((Path(__file__).parents[1] / "fixtures/tf_trt_api.json").read_text())


def source(folder: Path, data: bytes | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / reading.FILE).write_bytes(made.plain() if data is None else data)
    return folder


@pytest.mark.parametrize("version", SIGNATURES)
def test_every_argument_is_one_of_the_converters(version):
    """Read from the wheels of these versions with inspect.signature."""
    known = SIGNATURES[version]
    for order in (
        Order(Path("a"), Path("b"), batches=(1, 16)),
        Order(Path("a"), Path("b"), implicit=True, engines=False),
    ):
        assert set(converting.arguments(order)) <= set(known["TrtGraphConverterV2.__init__"])
    assert {"input_fn"} == set(known["build"]) and not known["convert_required"]
    assert {"output_saved_model_dir", "save_gpu_specific_engines"} <= set(known["save"])
    assert "print_fn" in known["summary"] and set(converting.PROFILES) == set(known["profile_strategies"]) - {
        "ImplicitBatchModeCompatible"
    }


def test_what_the_converter_is_told():
    told = converting.arguments(Order(Path("a"), Path("b"), "fp16", (1, 16, 64), 5, 2048))
    assert (told["precision_mode"], told["minimum_segment_size"], told["max_workspace_size_bytes"]) == (
        "FP16",
        5,
        2 << 30,
    )
    assert (told["maximum_cached_engines"], told["allow_build_at_runtime"], told["use_dynamic_shape"]) == (
        3,
        False,
        True,
    )
    told = converting.arguments(Order(Path("a"), Path("b"), "tf32", (), implicit=True, engines=False))
    assert (told["precision_mode"], told["allow_build_at_runtime"], told["use_dynamic_shape"]) == ("FP32", True, False)
    assert "dynamic_shape_profile_strategy" not in told
    told = converting.arguments(Order(Path("a"), Path("b"), batches=(16, 256), profiles="Range"))
    assert told["dynamic_shape_profile_strategy"] == "Range"


def test_engines_are_built_from_the_largest_batch_down():
    signature = reading.Signature({"x": reading.Port("x:0", "FP32", (-1, 1, 32, 100))}, {})
    shapes = [tuple(array.shape for array in one) for one in converting.inputs(signature, (1, 64, 16, 64))]
    assert shapes == [((64, 1, 32, 100),), ((16, 1, 32, 100),), ((1, 1, 32, 100),)]
    free = reading.Signature({"x": reading.Port("x:0", "FP32", (-1, -1))}, {})
    with pytest.raises(ModelError, match="free sizes beside the batch"):
        list(converting.inputs(free, (1,)))


def test_inputs_have_the_types_of_the_signature_and_words_have_none():
    types = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "UINT8": np.uint8, "BOOL": np.bool_}
    ports = {kind: reading.Port(f"{kind}:0", kind, (-1, 3)) for kind in types}
    (arrays,) = converting.inputs(reading.Signature(ports, {}), (2,))
    assert [(array.dtype, array.shape) for array in arrays] == [(np.dtype(kind), (2, 3)) for kind in types.values()]
    words = reading.Signature({"text": reading.Port("text:0", "STRING", (-1, 1))}, {})
    with pytest.raises(ModelError, match="inputs of STRING: TensorRT takes numbers alone"):
        list(converting.inputs(words, (1,)))


def test_names_that_the_converter_changed_are_told_again():
    assert converting.renamed(["input_1"], ["input.1"]) == {"input_1": "input.1"}
    assert converting.renamed(["a_b", "output_0"], ["a.b", "logits"]) == {"a_b": "a.b", "output_0": "logits"}
    assert converting.renamed(["x", "y"], ["y", "x"]) == {}
    with pytest.raises(ModelError, match="has no 'c', only a, b"):
        converting.renamed(["a", "b"], ["c", "d"])


def test_bad_orders_are_one_line(tmp_path):
    folder = source(tmp_path / "m")
    with pytest.raises(ModelError, match="no precision 'int8': there are fp32, tf32, fp16"):
        converting.convert(Order(folder, tmp_path / "out", "int8", (1,)))
    with pytest.raises(ModelError, match="name some with --batch"):
        converting.convert(Order(folder, tmp_path / "out"))
    with pytest.raises(ModelError, match="has no signature 'mine': there are serving_default"):
        converting.convert(Order(folder, tmp_path / "out", batches=(1,), signature="mine"))


class FakeConverter:
    """What convert() calls of TensorFlow's converter, and writes what it would write."""

    made: list[FakeConverter] = []

    def __init__(self, **told):
        self.told, self.done, self.batches = told, [], []
        FakeConverter.made.append(self)

    def convert(self):
        self.done.append("convert")

    def build(self, input_fn):
        self.batches = [array.shape[0] for (array,) in input_fn()]

    def save(self, target, save_gpu_specific_engines):
        (Path(target) / "assets").mkdir(parents=True)
        (Path(target) / "assets/trt-serialized-engine.TRTEngineOp_000_000").write_bytes(b"engine")
        one = made.signature({"x": ("x:0", 1, [-1, 4])}, {"y": ("y:0", 1, [-1, 4])})
        nodes = [made.node("TRTEngineOp_000_000", "TRTEngineOp", "segment", "FP16"), made.node("Reshape", "Reshape")]
        data = made.saved_model({"serving_default": one}, nodes, {"segment": [made.node("c", "Conv2D")]})
        (Path(target) / reading.FILE).write_bytes(data)

    def summary(self, print_fn):
        print_fn("TRTEngineOP Name\nTRTEngineOp_000_000")


def fake_tensorflow(**switched):
    experimental = SimpleNamespace(enable_tensor_float_32_execution=lambda on: switched.update(tf32=on))
    config = SimpleNamespace(experimental=experimental)
    return SimpleNamespace(
        __version__="2.14.1", config=config, errors=SimpleNamespace(OpError=OSError), switched=switched
    )


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("fp16", True)])
def test_the_report_of_a_conversion(tmp_path, monkeypatch, precision, tf32):
    tf = fake_tensorflow()
    allowed = []
    tf.config.experimental.enable_tensor_float_32_execution = allowed.append
    monkeypatch.setattr(api, "load", lambda: tf)
    monkeypatch.setattr(
        api,
        "converter",
        lambda _: (SimpleNamespace(TrtGraphConverterV2=FakeConverter), {"linked": "8.4.3", "tensorrt": "8.6.0"}),
    )
    monkeypatch.setattr(converting, "rename", lambda *_: None)
    said = converting.convert(Order(source(tmp_path / "m"), tmp_path / "out", precision, (1, 16)))
    assert allowed == [tf32] and FakeConverter.made[-1].batches == [16, 1]
    assert (said["tensorflow"], said["tensorrt"], said["linked"]) == ("2.14.1", "8.6.0", "8.4.3")
    assert said["segments"]["in_tensorrt"] == 1 and said["segments"]["stayed"] == {"Reshape": 1}
    assert said["engine_bytes"] == {"TRTEngineOp_000_000": 6} and said["summary"][1] == "TRTEngineOp_000_000"
    json.dumps(said)


def test_a_converted_file_bears_the_names_of_the_original(tmp_path, monkeypatch):
    """By TensorFlow's own protobufs: what the converter wrote is read, renamed and written."""
    pytest.importorskip("tensorflow")
    image, words = ("serving_default_input.1:0", 1, [-1, 4]), ("StatefulPartitionedCall:0", 1, [-1, 7])
    folder = source(
        tmp_path / "m", made.saved_model({"serving_default": made.signature({"input.1": image}, {"logits": words})})
    )

    class Identifiers(FakeConverter):
        def save(self, target, save_gpu_specific_engines):
            super().save(target, save_gpu_specific_engines)
            one = made.signature({"input_1": image}, {"output_0": words})
            nodes = [made.node("TRTEngineOp_000_000", "TRTEngineOp", "segment", "FP16")]
            segments = {"segment": [made.node("c", "Conv2D")]}
            data = made.saved_model({"serving_default": one, "other": one}, nodes, segments)
            (Path(target) / reading.FILE).write_bytes(data)

    monkeypatch.setattr(api, "load", fake_tensorflow)
    monkeypatch.setattr(api, "converter", lambda _: (SimpleNamespace(TrtGraphConverterV2=Identifiers), {}))
    said = converting.convert(Order(folder, tmp_path / "out", batches=(1,)))
    (graph,) = reading.graphs(tmp_path / "out")
    assert graph.signatures["serving_default"] == converting.served(folder, "serving_default")
    assert list(graph.signatures["other"].inputs) == ["input_1"], "it is not the one that was converted"
    assert said["segments"]["in_tensorrt"] == 1 and reading.segments(graph) == said["segments"]


def test_what_the_converter_refuses_is_one_line(tmp_path, monkeypatch):
    class Refusing(FakeConverter):
        def convert(self):
            raise ValueError("Specified device is not a GPU: \nmore")

    monkeypatch.setattr(api, "load", fake_tensorflow)
    monkeypatch.setattr(api, "converter", lambda _: (SimpleNamespace(TrtGraphConverterV2=Refusing), {}))
    with pytest.raises(ModelError, match="TensorFlow 2.14.1 cannot convert m: Specified device is not a GPU: $"):
        converting.convert(Order(source(tmp_path / "m"), tmp_path / "out", batches=(1,)))


def modules(monkeypatch, linked, enabled, loaded):
    """TensorFlow's own words on TensorRT, made up."""
    import sys
    from types import ModuleType

    words = {
        "get_linked_tensorrt_version": lambda: linked,
        "is_tensorrt_enabled": lambda: enabled,
        "get_loaded_tensorrt_version": lambda: loaded,
    }
    names = (
        "tensorflow tensorflow.compiler tensorflow.compiler.tf2tensorrt tensorflow.python tensorflow.python.compiler"
    )
    for name in [*names.split(), "tensorflow.python.compiler.tensorrt"]:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["tensorflow.compiler.tf2tensorrt"]._pywrap_py_utils = SimpleNamespace(**words)
    sys.modules["tensorflow.python.compiler.tensorrt"].trt_convert = "the converter"


@pytest.mark.parametrize(
    ("linked", "enabled", "loaded", "gpus", "said"),
    [
        ((0, 0, 0), False, (0, 0, 0), ["gpu"], "is built without TensorRT: take a GPU build, up to 2.17"),
        ((8, 4, 3), False, (0, 0, 0), ["gpu"], "finds no libnvinfer.so.8, or not what that needs"),
        (
            (8, 6, 1),
            True,
            (8, 6, 0),
            ["gpu"],
            "is linked with TensorRT 8.6.1 and refuses 8.6.0: take that version or a later",
        ),
        ((8, 4, 3), True, (10, 0, 1), ["gpu"], "is linked with TensorRT 8.4.3 and refuses 10.0.1"),
        ((8, 4, 3), True, (8, 6, 0), [], "sees no GPU"),
        ((8, 4, 3), True, (8, 6, 0), ["gpu"], None),
    ],
)
def test_what_a_conversion_lacks(monkeypatch, linked, enabled, loaded, gpus, said):
    modules(monkeypatch, linked, enabled, loaded)
    tf = SimpleNamespace(__version__="2.14.1", config=SimpleNamespace(list_physical_devices=lambda kind: gpus))
    if said is None:
        assert api.converter(tf) == ("the converter", {"linked": "8.4.3", "tensorrt": "8.6.0"})
        return
    with pytest.raises(ModelError, match=said) as refused:
        api.converter(tf)
    assert "\n" not in str(refused.value)


def test_inputs_of_floats_are_made_when_they_are_asked_for():
    signature = reading.Signature({"x": reading.Port("x:0", "FP32", (-1, 4))}, {})
    ((array,),) = converting.inputs(signature, (2,))
    assert array.dtype == np.float32 and inspect.isgenerator(converting.inputs(signature, (2,)))
