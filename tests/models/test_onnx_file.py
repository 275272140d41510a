"""onnx_file: a reader's own ONNX file, with samples made from its shapes or read from an .npz."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accelkit import paths
from accelkit.errors import ConfigError, ModelError
from accelkit.models import batches, onnx_file
from tests.fixtures import small


def write(folder, nodes, inputs, outputs, initializers=None, name="mine.onnx"):
    file = folder / name
    file.write_bytes(small.model(nodes, inputs, outputs, initializers).SerializeToString())
    return file


@pytest.fixture
def two_inputs(tmp_path):
    """[N, ?] floats times [N, 4] integers cast to floats, and the integers as they came."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "as_float"], ["product"]),
        helper.make_node("Identity", ["ids"], ["same"]),
    ]
    inputs = [small.tensor("x", ["N", "free"]), small.tensor("ids", ["N", 4], "INT64")]
    return write(
        tmp_path, nodes, inputs, [small.tensor("product", ["N", 4]), small.tensor("same", ["N", 4], "INT64")], name="my model-2.onnx"
    )  # fmt: skip


def test_samples_are_made_from_the_shapes(two_inputs):
    model = onnx_file.load(two_inputs, shapes={"x": (4,)})
    assert (model.name, model.max_batch, model.variant, model.precisions[-1]) == ("my_model_2", 64, "random", "fp16")
    assert [(spec.name, spec.dtype, spec.dims) for spec in model.inputs] == [
        ("x", "float32", (-1,)),
        ("ids", "int64", (4,)),
    ]
    data = model.samples("test", 5)
    assert {name: array.shape for name, array in data.inputs.items()} == {"x": (5, 4), "ids": (5, 4)}
    assert set(np.unique(data.inputs["ids"])) == {0, 1} and data.inputs["ids"].dtype == np.int64
    assert len(data.labels) == 5 and np.array_equal(data.inputs["x"], model.samples("hard", 5).inputs["x"])
    reference = model.reference("test", 5)
    assert np.allclose(reference["product"], data.inputs["x"] * data.inputs["ids"])
    assert [len(part["x"]) for part in batches(model, data.inputs, 2)] == [2, 2, 1]


def test_samples_of_a_file_are_used(two_inputs, tmp_path):
    arrays = {"x": np.ones((40, 4), np.float32), "ids": np.full((40, 4), 7)}
    np.savez(tmp_path / "real.npz", **arrays)
    model = onnx_file.load(two_inputs, tmp_path / "real.npz")
    assert model.variant == "real.npz" and len(model.samples().labels) == 40
    assert np.all(model.reference("test", 3)["product"] == 7)


def test_one_input_with_real_samples_can_be_quantized(tmp_path):
    file = write(
        tmp_path, [helper.make_node("Relu", ["x"], ["y"])], [small.tensor("x", ["N", 3])], [small.tensor("y", ["N", 3])]
    )
    np.savez(tmp_path / "few.npz", x=np.ones((8, 3), np.float32))
    np.savez(tmp_path / "many.npz", x=np.ones((32, 3), np.float32))
    assert onnx_file.load(file, tmp_path / "few.npz").precisions == ("fp32", "tf32", "fp16")
    assert onnx_file.load(file, tmp_path / "many.npz").precisions == ("fp32", "tf32", "fp16", "int8")
    with pytest.raises(ConfigError, match=r"path openvino has mine in fp32: INT8 needs --inputs with 32 samples"):
        paths.chosen("openvino:int8", onnx_file.load(file))
    with pytest.raises(ConfigError, match="not in 'int4'$"):
        paths.chosen("openvino:int4", onnx_file.load(file))


def test_a_fixed_batch_is_part_of_the_shape(tmp_path):
    file = write(
        tmp_path, [helper.make_node("Relu", ["x"], ["y"])], [small.tensor("x", [2, 3])], [small.tensor("y", [2, 3])]
    )
    model = onnx_file.load(file)
    assert model.max_batch == 0 and model.inputs[0].dims == (2, 3)
    data = model.samples("test", 4)
    assert data.inputs["x"].shape == (4, 2, 3) and model.reference("test", 4)["y"].shape == (4, 2, 3)
    assert [part["x"].shape for part in batches(model, data.inputs, 16)] == [(2, 3)] * 4


def test_bad_files_are_one_clear_line(tmp_path, two_inputs):
    text = tmp_path / "text.onnx"
    text.write_text("not a model at all")
    words = write(
        tmp_path, [helper.make_node("Identity", ["w"], ["v"])], [small.tensor("w", ["N"], "STRING")],
        [small.tensor("v", ["N"], "STRING")], name="words.onnx",
    )  # fmt: skip
    for file, why in (
        (text, "is no ONNX model"),
        (tmp_path / "gone.onnx", "is not there"),
        (words, "no tensor of numbers"),
    ):
        with pytest.raises(ModelError, match=why) as caught:
            onnx_file.load(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({}, r"input x is \?: give --shape x"),
        ({"x": (4, 4)}, "input x is"),
        ({"y": (4,)}, "has no input y: it has x, ids"),
    ],
)
def test_shapes_that_do_not_fit(two_inputs, shapes, why):
    with pytest.raises(ModelError, match=why):
        onnx_file.load(two_inputs, shapes=shapes)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": np.ones((3, 4), np.float32)}, "lacks ids: it has x; the model wants x, ids$"),
        ({"x": np.ones((3, 4)), "ids": np.ones((3, 4), np.int64)}, r"x is float64 3x4, the model wants float32 Nx\?"),
        ({"x": np.ones((3, 4), np.float32), "ids": np.ones((3, 5), np.int64)}, "the model wants int64 Nx4"),
        ({"x": np.ones((3, 4), np.float32), "ids": np.ones((2, 4), np.int64)}, "the same number of samples"),
        ({"x": np.ones((0, 4), np.float32), "ids": np.ones((0, 4), np.int64)}, "at least one"),
        ({"x": np.array([object()]), "ids": np.ones((2, 4), np.int64)}, "is no .npz of arrays"),
    ],
)
def test_samples_that_do_not_fit(two_inputs, tmp_path, arrays, why):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ModelError, match=why):
        onnx_file.load(two_inputs, tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("text.npz", "is no .npz: name an .npz that numpy.savez wrote, with the arrays x, ids$"),
        ("one.npy", "is no .npz: name an .npz"),
        ("none.npz", "is not there: name an .npz"),
        ("folder", "is a directory: name an .npz"),
    ],
)
def test_samples_that_are_no_npz_say_what_is_wanted(two_inputs, tmp_path, name, why):
    (tmp_path / "text.npz").write_text("1 2 3")
    np.save(tmp_path / "one.npy", np.ones((3, 4), np.float32))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match=f"^{tmp_path}/{name}: {why}"):
        onnx_file.load(two_inputs, tmp_path / name)


@pytest.mark.parametrize(("name", "why"), [("none.onnx", "is not there"), (".", "is a directory")])
def test_a_model_that_is_no_file_says_so_in_words(tmp_path, name, why):
    with pytest.raises(ModelError, match=f"{why}: name an ONNX file$"):
        onnx_file.load(tmp_path / name)


def test_a_file_that_onnx_runtime_cannot_run_says_so(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Nonsense", ["x"], ["y"])], "g", [small.tensor("x", ["N", 3])], [small.tensor("y", ["N", 3])]
    )
    file = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    with pytest.raises(ModelError, match="ONNX Runtime cannot run it") as caught:
        onnx_file.load(file).reference("test", 1)
    assert "Nonsense" in str(caught.value)


def test_real_samples_make_an_int8_file_judged_by_angle(tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    from accelkit.models import quantize

    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.onnx").write_bytes(small.tiny().SerializeToString())
    np.savez(tmp_path / "real.npz", **{"input.1": np.concatenate([small.image(16) for _ in range(4)])})
    made = quantize.int8_onnx(onnx_file.load(tmp_path / "tiny.onnx", tmp_path / "real.npz"), say=lambda text: None)
    facts = quantize.record(made)
    assert facts["metric"] == "cosine" and facts["before"] == pytest.approx(1) and 0.99 < facts["after"] <= 1
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(made).graph.node}


def test_layers_without_names_go_back_into_float_too(tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    from accelkit.models import quantize

    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.onnx").write_bytes(small.tiny().SerializeToString())
    assert not any(node.name for node in small.tiny().graph.node)
    np.savez(tmp_path / "real.npz", **{"input.1": np.concatenate([small.image(16) for _ in range(4)])})
    model = onnx_file.load(tmp_path / "tiny.onnx", tmp_path / "real.npz")
    inputs = model.samples().inputs["input.1"]
    made, facts = quantize.quantized(model, inputs, model.samples().labels, limit=0, say=lambda text: None)
    assert facts["float"] and facts["after"] == pytest.approx(1)
    assert "QuantizeLinear" not in {node.op_type for node in made.graph.node}


def test_what_cannot_be_quantized_is_one_clear_line(tmp_path, monkeypatch):
    nncf = pytest.importorskip("nncf")
    from accelkit.models import quantize

    def refuse(*arguments, **options):
        raise nncf.ValidationError("two nodes\nhave one name")

    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(nncf, "quantize", refuse)
    (tmp_path / "tiny.onnx").write_bytes(small.tiny().SerializeToString())
    np.savez(tmp_path / "real.npz", **{"input.1": np.concatenate([small.image(16) for _ in range(4)])})
    with pytest.raises(ModelError, match="tiny: NNCF cannot quantize it: two nodes") as caught:
        quantize.int8_onnx(onnx_file.load(tmp_path / "tiny.onnx", tmp_path / "real.npz"), say=lambda text: None)
    assert "\n" not in str(caught.value)


def test_a_type_that_triton_does_not_have_is_refused(tmp_path):
    from accelkit import paths
    from accelkit.errors import ConfigError

    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    file = write(tmp_path, [cast], [small.tensor("x", ["N", 3])], [small.tensor("y", ["N", 3], "BFLOAT16")])
    with pytest.raises(ConfigError, match="y is bfloat16, a type that Triton does not have"):
        paths.get("onnxruntime-cpu").config(onnx_file.load(file))
