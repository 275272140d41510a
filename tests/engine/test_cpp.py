"""The C++ beside lesson 07: the programs and the plugin, run on a made-up TensorRT; their names; the compile script; loading.

NVIDIA's headers are needed for one test alone, which says so where there are none.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import fake_tensorrt
import numpy as np
import pytest

from accelkit.backends.key import Refused
from accelkit.engine import __main__ as command
from accelkit.models import detour

ROOT = Path(__file__).parents[2]
CPP, FAKE = ROOT / "notebooks/cpp", ROOT / "tests/fixtures/fake_nvinfer"
MAJORS = {8: "8.6", 10: "10.16", 11: "11.4"}
CUDA = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
INCLUDES = [os.environ.get("TENSORRT_INCLUDE", ""), "/usr/include/x86_64-linux-gnu", "/usr/local/tensorrt/include"]
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def compiled(target: Path, *arguments: object) -> Path:
    """What g++ makes of the sources; its warnings fail the test."""
    line = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", FAKE, "-I", CPP, "-o", target, *arguments]
    done = subprocess.run([str(word) for word in [*line, "-ldl"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module", params=MAJORS)
def major(request):
    return request.param


@pytest.fixture(scope="module")
def made(major, tmp_path_factory):
    """The programs and the plugin, compiled against the made-up TensorRT of one version."""
    out = tmp_path_factory.mktemp(f"tensorrt{major}")
    for name in ("infer", "build"):
        compiled(out / name, f"-DMAJOR={major}", CPP / f"{name}.cpp")
    shared = ("-shared", "-fPIC", f"-DMAJOR={major}")
    compiled(out / "plugin.so", *shared, CPP / "quick_gelu.cpp", FAKE / "drive_plugin.cpp")
    return out


def ran(program: Path, *arguments: object, **environment: str) -> tuple[int, dict | None, list[str]]:
    """Exit code, the JSON on standard output or None, and the lines on standard error."""
    line = [str(word) for word in (program, *arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment})
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.splitlines()


def plan(folder: Path, *profiles: str, kind: str = "fake") -> Path:
    """A plan of the made-up TensorRT: x [N, 2, 3] -> y = 2 * x + 1."""
    path = folder / "model.plan"
    path.write_text(f"{kind} none 0 0 -1 2 3 " + " ".join(f"| {profile.replace(':', ' ')}" for profile in profiles))
    return path


def batch(folder: Path, size: int) -> np.ndarray:
    values = np.random.default_rng(size).random((size, 2, 3), dtype=np.float32)
    values.tofile(folder / "in.bin")
    return values


# The program infer.


@compiler
def test_a_batch_goes_through_the_profile_that_holds_it(made, major, tmp_path):
    made_by = {8: "8.6.0", 10: "10.12.3", 11: "11.12.3"}[major]
    file = plan(tmp_path, "1:1:8", "4:64:64", "1:16:64")
    for size, profile in {1: 0, 8: 0, 9: 2, 16: 2, 40: 1, 39: 2, 64: 1}.items():
        given = batch(tmp_path, size)
        code, said, errors = ran(made / "infer", file, tmp_path / "in.bin", tmp_path / "out.bin", size)
        assert (code, errors) == (0, [])
        assert said == {"tensorrt": made_by, "profile": profile, "batch": size, "milliseconds": 0.25}
        out = np.fromfile(tmp_path / "out.bin", np.float32).reshape(size, 2, 3)
        np.testing.assert_array_equal(out, 2 * given + 1)


@compiler
def test_what_infer_cannot_do_is_one_line(made, tmp_path):
    file, out = plan(tmp_path, "2:4:8", "16:16:32"), tmp_path / "out.bin"
    batch(tmp_path, 4)
    (tmp_path / "damaged").write_bytes(b"\x00" * 64)
    (tmp_path / "empty").write_bytes(b"")
    good = (file, tmp_path / "in.bin", out)
    for arguments, environment, reason in (
        ((), {}, "usage: infer PLAN INPUT.bin OUTPUT.bin BATCH [--plugin LIB.so]"),
        ((*good, 4, "--plugin"), {}, "usage: infer PLAN INPUT.bin OUTPUT.bin BATCH [--plugin LIB.so]"),
        ((tmp_path / "no", *good[1:], 4), {}, f"{tmp_path}/no does not exist: give a file"),
        ((file, tmp_path, out, 4), {}, f"{tmp_path} does not exist: give a file"),
        ((*good, 4), {"NO_GPU": "1"}, "TensorRT needs an NVIDIA GPU, and none answers here: no CUDA-capable device"),
        ((*good, 4), {"NO_MEMORY": "1"}, "memory for the input: out of memory"),
        ((tmp_path / "damaged", *good[1:], 4), {}, "Serialization assertion failed. Version tag does not match.; Engine"),
        ((tmp_path / "empty", *good[1:], 4), {}, "empty is no plan for TensorRT"),
        ((*good, 9), {}, "batch 9 is outside of every profile of the plan: 2 to 8, 16 to 32"),
        ((*good, "many"), {}, "batch 0 is outside of every profile"),
        ((*good, 5), {}, "in.bin has 96 bytes, and x [5,2,3] takes 120"),
        ((file, good[1], tmp_path / "no/out.bin", 4), {}, "no/out.bin cannot be written"),
        ((*good, 4, "--plugin", tmp_path / "no.so"), {}, f"the plugin does not load: {tmp_path}/no.so: cannot open"),
    ):  # fmt: skip
        code, said, errors = ran(made / "infer", *arguments, **environment)
        assert (code, said, len(errors)) == (2, None, 1) and errors[0].startswith("Error: ") and reason in errors[0]
    plan(tmp_path, "2:4:8", kind="fake-half")
    assert "one input and one output, both of float32" in ran(made / "infer", *good, 4)[2][0]
    assert not out.exists()


# The program build.


@compiler
def test_a_plan_is_built_with_what_the_version_has(made, major, tmp_path):
    (tmp_path / "net.onnx").write_text("x -1 2 3")
    target, tactics = tmp_path / "new.plan", 0 if major < 10 else 31
    for options, flags in {(): [], ("--fp16",): ["FP16", "TF32"] if major < 11 else ["TF32"]}.items():
        code, said, errors = ran(made / "build", tmp_path / "net.onnx", target, *options, "1:16:64")
        assert (code, errors, said["flags"], said["bytes"]) == (0, [], flags, target.stat().st_size)
        given = ",".join(sorted(flags, reverse=True)) or "none"
        assert target.read_text() == f"fake {given} {4 << 30} {tactics} -1 2 3 | 1 16 64"
    values = batch(tmp_path, 5)
    assert ran(made / "infer", target, tmp_path / "in.bin", tmp_path / "out", 5)[1]["profile"] == 0
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out", np.float32), 2 * values.ravel() + 1)


@compiler
def test_what_build_cannot_do_is_one_line(made, tmp_path):
    good, target = tmp_path / "net.onnx", tmp_path / "new.plan"
    good.write_text("x -1 2 3")
    (tmp_path / "fixed").write_text("x 4 2 3")
    (tmp_path / "freer").write_text("x -1 -1 3")
    (tmp_path / "no").write_text("nothing")
    for arguments, environment, reason in (
        ((good, target), {}, "usage: build ONNX PLAN MIN:OPT:MAX [--fp16] [--plugin LIB.so]"),
        ((good, target, "1:2:4", "--fp8"), {}, "usage: build ONNX PLAN MIN:OPT:MAX"),
        *(((good, target, text), {}, f"'{text}' is no profile: write three rising batches, such as 1:16:64")
          for text in ("16", "1:2", "1:2:4:8", "4:2:8", "0:1:2", "a:b:c")),
        ((tmp_path / "absent", target, "1:2:4"), {}, "absent does not exist: give a file"),
        ((good, target, "1:2:4"), {"NO_GPU": "1"}, "TensorRT needs an NVIDIA GPU, and none answers here"),
        ((tmp_path / "no", target, "1:2:4"), {}, "no: In node 0 (importFallbackPluginImporter): no plugin for QuickGelu"),
        ((tmp_path / "fixed", target, "1:2:4"), {}, "the batch alone may be free, and the input x is [4,2,3]"),
        ((tmp_path / "freer", target, "1:2:4"), {}, "the batch alone may be free, and the input x is [-1,-1,3]"),
        ((good, tmp_path / "not/new.plan", "1:2:4"), {}, "not/new.plan cannot be written"),
        ((good, target, "1:2:4", "--plugin", tmp_path / "no.so"), {}, "the plugin does not load: "),
    ):  # fmt: skip
        code, said, errors = ran(made / "build", *arguments, **environment)
        assert (code, said, len(errors)) == (2, None, 1) and errors[0].startswith("Error: ") and reason in errors[0]
    assert not target.exists()


# The plugin.


@pytest.fixture
def plugin(made):
    """The plugin as a library: `call(alpha, x)` runs it, of whatever its plan kept of it."""
    library = ctypes.CDLL(str(made / "plugin.so"))
    for name in ("name", "version", "space", "attribute"):
        getattr(library, name).restype = ctypes.c_char_p
    pointer = np.ctypeslib.ndpointer(np.float32, flags="C")

    def call(alpha: float | None, values: np.ndarray, half: bool = False) -> np.ndarray:
        out = np.empty_like(values)
        given = None if alpha is None else ctypes.byref(ctypes.c_float(alpha))
        library.through.argtypes = [ctypes.c_void_p, pointer, pointer, ctypes.c_int, ctypes.c_int, ctypes.c_bool]
        assert library.through(given, values, out, *values.shape, half) == 0
        return out

    return SimpleNamespace(library=library, call=call)


@compiler
def test_the_parser_finds_the_plugin_by_the_operators_name(plugin):
    library = plugin.library
    assert (library.name().decode(), library.version(), library.space()) == (detour.OPERATOR, b"1", b"")
    assert (library.attribute(0), library.attribute(1)) == (b"alpha", None)


@compiler
def test_it_takes_linear_float32_and_float16_and_gives_back_what_it_gets(plugin):
    float32, float16, int8, linear, packed = 0, 1, 2, 0, 4
    fits = plugin.library.fits
    assert all(fits(kind, kind, linear, at) for kind in (float32, float16) for at in (0, 1))
    assert not any(fits(kind, kind, packed, at) for kind in (float32, float16) for at in (0, 1))
    assert not fits(int8, int8, linear, 0)
    assert not fits(float32, float16, linear, 1) and not fits(float16, float32, linear, 1)


EXTREMES = np.array([[0, -0.0, 1e-40, 6e-5, 65504], [-65504, 1e38, -1e38, np.inf, np.nan]], np.float32)


@compiler
@pytest.mark.parametrize("alpha", [detour.ALPHA, 1.702, 1.0, -0.5, 0.0])
def test_it_computes_what_onnx_runtime_computes(plugin, alpha):
    import onnx
    import onnxruntime

    random = np.random.default_rng(0).normal(0, 4, (50, 5)).astype(np.float32)
    values = np.concatenate([random, EXTREMES])
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 5]) for name in "xy"]
    node = onnx.helper.make_node(detour.OPERATOR, ["x"], ["y"], domain=detour.DOMAIN, alpha=alpha)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(detour.DOMAIN, 1)]
    graph = onnx.helper.make_graph([node], "one", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    expected = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": values})[0]
    found = plugin.call(alpha, values)
    # Its sigmoid is an approximation, so it is held to the width of that, and the exact function to float32's own.
    np.testing.assert_allclose(found[:50], expected[:50], rtol=2e-5, atol=2e-6)
    exact = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        exact = exact / (1 + np.exp(-alpha * exact))
    np.testing.assert_allclose(found, exact, rtol=2e-5, atol=1e-38)


@compiler
def test_it_hardly_changes_what_a_relu_has_left_and_has_the_operators_default(plugin):
    values = np.abs(np.random.default_rng(1).normal(0, 1e-3, (100, 8))).astype(np.float32)
    assert np.abs(plugin.call(detour.ALPHA, values) - values).max() <= 0.28 / detour.ALPHA
    np.testing.assert_array_equal(plugin.call(None, values), plugin.call(1.702, values))
    plugin.call(1.0, values, half=True)


@pytest.mark.skipif(not (CUDA / "bin/nvcc").exists(), reason="needs CUDA's compiler")
def test_the_kernel_compiles(tmp_path):
    line = [
        CUDA / "bin/nvcc",
        "-std=c++17",
        "-Werror=all-warnings",
        "-c",
        CPP / "quick_gelu.cu",
        "-o",
        tmp_path / "k.o",
    ]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The names.


def seen_by(version: int, path: Path) -> str:
    """A source as the compiler sees it with this major version, without comments and texts."""
    kept, taken = [], [True]
    for line in path.read_text().splitlines():
        if found := re.match(r"#if NV_TENSORRT_MAJOR < (\d+)", line):
            taken.append(version < int(found[1]))
        elif line.startswith("#ifdef"):
            taken.append(True)
        elif line.startswith("#else"):
            taken[-1] = not taken[-1]
        elif line.startswith("#endif"):
            taken.pop()
        elif all(taken) and not line.startswith("#"):
            kept.append(re.sub(r"//.*", "", re.sub(r'"(\\.|[^"\\])*"', "", line)))
    return "\n".join(kept)


def sources(version: int) -> str:
    names = ["common.h", "infer.cpp", "build.cpp", "quick_gelu.cpp", f"quick_gelu_v{2 if version < 10 else 3}.h"]
    return "\n".join(seen_by(version, CPP / name) for name in names)


# What is called otherwise in Python, and what Python has no name for.
TYPES = {"IRuntime": "Runtime", "IBuilder": "Builder", "IParser": "OnnxParser", "Severity": "ILogger"}
ONLY_CPP = {
    "OptProfileSelector",  # Python gives the minimum, optimum and maximum at once
    "IPluginV2DynamicExt",  # 8.6 has no plugins in Python
    "IExprBuilder",
}
METHODS = {
    "addOptimizationProfile": "IBuilderConfig.add_optimization_profile",
    "buildSerializedNetwork": "Builder.build_serialized_network",
    "clearFlag": "IBuilderConfig.clear_flag",
    "createBuilderConfig": "Builder.create_builder_config",
    "createExecutionContext": "ICudaEngine.create_execution_context",
    "createNetworkV2": "Builder.create_network",
    "createOptimizationProfile": "Builder.create_optimization_profile",
    "deserializeCudaEngine": "Runtime.deserialize_cuda_engine",
    "enqueueV3": "IExecutionContext.execute_async_v3",
    "getDimensions": "ITensor.shape",
    "getError": "OnnxParser.get_error",
    "getIOTensorName": "ICudaEngine.get_tensor_name",
    "getInput": "INetworkDefinition.get_input",
    "getName": "ITensor.name",
    "getNbErrors": "OnnxParser.num_errors",
    "getNbIOTensors": "ICudaEngine.num_io_tensors",
    "getNbInputs": "INetworkDefinition.num_inputs",
    "getNbOptimizationProfiles": "ICudaEngine.num_optimization_profiles",
    "getProfileShape": "ICudaEngine.get_tensor_profile_shape",
    "getTensorDataType": "ICudaEngine.get_tensor_dtype",
    "getTensorIOMode": "ICudaEngine.get_tensor_mode",
    "getTensorShape": "IExecutionContext.get_tensor_shape",
    "parseFromFile": "OnnxParser.parse_from_file",
    "setDimensions": "IOptimizationProfile.set_shape",
    "setFlag": "IBuilderConfig.set_flag",
    "setInputShape": "IExecutionContext.set_input_shape",
    "setMemoryPoolLimit": "IBuilderConfig.set_memory_pool_limit",
    "setOptimizationProfileAsync": "IExecutionContext.set_optimization_profile_async",
    "setProfilingVerbosity": "IBuilderConfig.profiling_verbosity",
    "setTacticSources": "IBuilderConfig.set_tactic_sources",
    "setTensorAddress": "IExecutionContext.set_tensor_address",
}
STANDARD = set(
    "begin c_str count d data desc destroy emplace_back empty end erase flush push_back read size what write".split()
)  # destroy: Python does that by itself


@pytest.mark.parametrize("version", MAJORS)
def test_every_name_is_one_of_that_tensorrt(version):
    """As far as the Python bindings have it: constants, classes and what is called on them; not the parameters."""
    api, text = fake_tensorrt.names(MAJORS[version]), sources(version)
    constants = set(re.findall(r"\b([A-Z]\w+)::k([A-Z0-9_]+)\b", text))
    classes = set(re.findall(r"\bI[A-Z]\w+[a-z]\w*\b", text)) | {name for name, _ in constants}
    assert {"BuilderFlag", "IRuntime", "TensorFormat", "ICudaEngine", "IParser"} <= classes
    assert not {name for name in classes - ONLY_CPP if TYPES.get(name, name) not in api}
    for name, member in constants:
        assert name in ONLY_CPP or member in api[TYPES.get(name, name)], f"{name} has no {member}"
    called = set(re.findall(r"(?:->|\.)([a-z]\w*)\(", text)) - STANDARD
    assert {"enqueueV3", "setFlag" if version < 11 else "clearFlag"} <= called
    for method in called:
        owner, member = METHODS[method].split(".")
        assert member in api[owner], f"{owner} has no {member}"


def test_weak_typing_is_asked_for_only_where_it_is():
    assert [("kFP16" in sources(version), "kEXPLICIT_BATCH" in sources(version)) for version in MAJORS] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip


@compiler
def test_it_compiles_with_nvidias_headers(tmp_path):
    include = next((Path(folder) for folder in INCLUDES if folder and Path(folder, "NvInfer.h").is_file()), None)
    if include is None:
        pytest.skip("NVIDIA's headers of TensorRT are not here: TENSORRT_INCLUDE names their folder")
    if not (CUDA / "include/cuda_runtime_api.h").is_file():
        pytest.skip("CUDA's headers are not here: CUDA_HOME names their folder")
    for name in ("infer", "build", "quick_gelu"):
        flags = ["-std=c++17", "-Wall", "-Wno-deprecated-declarations", "-fsyntax-only"]
        line = ["g++", *flags, "-isystem", include, "-isystem", CUDA / "include", CPP / f"{name}.cpp"]
        done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name


# The compile script.


@pytest.fixture
def parts(tmp_path):
    """Stand-ins for what the script needs: headers, libraries of TensorRT 10, and a compiler that notes its arguments."""
    shutil.copytree(FAKE, tmp_path / "include")
    (tmp_path / "include/NvInferVersion.h").write_text("#define M 10\n#define NV_TENSORRT_MAJOR M //!< version\n")
    (tmp_path / "lib").mkdir()
    for name in ("nvinfer", "nvonnxparser"):
        (tmp_path / f"lib/lib{name}.so.10").touch()
    (tmp_path / "cuda/bin").mkdir(parents=True)
    nvcc = tmp_path / "cuda/bin/nvcc"
    nvcc.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/lines\n')
    nvcc.chmod(0o755)
    return tmp_path


def compile_there(parts: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    folders = {"TENSORRT_INCLUDE": "include", "TENSORRT_LIB": "lib", "CUDA_HOME": "cuda"}
    environment = {**os.environ, **{name: str(parts / folder) for name, folder in folders.items()}}
    line = [str(word) for word in (CPP / "compile", *arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=parts)


@compiler
def test_the_script_links_by_file_name(parts):
    done = compile_there(parts, "my out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and (parts / "my out").is_dir()
    infer, build, library = (parts / "lines").read_text().splitlines()
    for line, target in ((infer, "infer"), (build, "build"), (library, "libquick_gelu.so")):
        assert line.endswith(f"-o my out/{target}") and f"-L{parts}/lib -l:libnvinfer.so.10 -Xlinker=-rpath," in line
    assert "-l:libnvonnxparser.so.10" in build and "-l:libnvonnxparser.so.10" not in infer + library
    assert "-shared" in library and "quick_gelu.cu" in library and "quick_gelu.cpp" in library


@compiler
@pytest.mark.parametrize(
    ("gone", "reason"),
    [("cuda/bin/nvcc", "{}/cuda/bin/nvcc is missing: name the folder of CUDA's compiler in CUDA_HOME"),
     ("include/NvInfer.h", "{}/include/NvInfer.h is missing: name the headers' folder in TENSORRT_INCLUDE"),
     ("include/NvOnnxParser.h", "{}/include/NvOnnxParser.h is missing: name the headers' folder in TENSORRT_INCLUDE"),
     ("lib/libnvinfer.so.10", "{}/lib/libnvinfer.so.10 is missing, as the headers want it: name its folder in TENSORRT_LIB"),
     ("lib/libnvonnxparser.so.10", "{}/lib/libnvonnxparser.so.10 is missing")],
)  # fmt: skip
def test_what_the_script_lacks_is_one_line(parts, gone, reason):
    (parts / gone).unlink()
    done = compile_there(parts, parts / "out")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: " + reason.format(parts)) and not (parts / "out").exists()


@compiler
def test_the_script_wants_one_folder(parts):
    done = compile_there(parts)
    assert (done.returncode, done.stderr) == (2, "Error: usage: compile OUT\n") and not (parts / "lines").exists()


# Loading plugins in the kit.


@pytest.fixture
def library(tmp_path):
    """A library of which one can see that it was loaded, and how often: it counts itself in the environment."""
    source = tmp_path / "plugin.cpp"
    source.write_text(
        '#include <cstdlib>\n#include <string>\n__attribute__((constructor)) static void load() {\n'
        'auto* was = getenv("PLUGINS_LOADED"); setenv("PLUGINS_LOADED", (std::string(was ? was : "") + "+").c_str(), 1); }'
    )  # fmt: skip
    return compiled(tmp_path / "libplugin.so", "-shared", "-fPIC", source)


def loads() -> int:
    """How often a library was loaded since the process began."""
    read = ctypes.CDLL(None).getenv
    read.restype = ctypes.c_char_p
    return len(read(b"PLUGINS_LOADED") or b"")


@compiler
def test_build_show_and_refit_load_plugins_first(trt, network, tmp_path, library, capsys, monkeypatch):
    def run(*arguments):
        code = command.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    order = []
    real = trt.OnnxParser.parse_from_file
    monkeypatch.setattr(
        trt.OnnxParser, "parse_from_file", lambda self, path: (order.append(loads()), real(self, path))[1]
    )
    file, before = tmp_path / "p", loads()
    code, said, err = run("build", network, file, "--profile", "1:2:4", "--refit", "--plugin", library)
    assert (code, err, said["plugins"], order) == (0, "", [str(library)], [before + 1])
    assert run("build", network, file, "--profile", "1:2:4", "--refit")[1]["plugins"] == []
    for times, name in enumerate(("show", "refit"), start=2):
        shutil.copy(library, tmp_path / f"{name}.so")
        rest = (tmp_path / "w.npz", tmp_path / "new") if name == "refit" else ()
        np.savez(tmp_path / "w.npz", w=np.ones(1, np.float32))
        code, _, err = run(name, file, *rest, "--plugin", tmp_path / f"{name}.so")
        assert (code, err, loads()) == (0, "", before + times)
    for arguments in (("build", network, tmp_path / "bad", "--profile", "1:2:4"), ("show", file)):
        code, said, err = run(*arguments, "--plugin", tmp_path / "no.so")
        assert (code, said, err.count("\n")) == (2, None, 1) and not (tmp_path / "bad").exists()
        assert err.startswith(f"accelkit: error: the plugins of {tmp_path}/no.so cannot be loaded: ")


@compiler
def test_the_stand_in_loads_the_plugins_of_the_servers_command_line(trt, network, tmp_path, library):
    from accelkit.backends import host
    from accelkit.backends.tensorrt import plan as reading

    command.main(["build", str(network), str(tmp_path / "p"), "--profile", "1:2:4"])
    said: list[str] = []
    logger = SimpleNamespace(**{f"log_{kind}": said.append for kind in ("error", "warn", "verbose")})
    settings = host.settings("tensorrt", [f"--backend-config=tensorrt,plugins=/no/such.so;{library}"])
    before = loads()
    reading.load(tmp_path / "p", settings, SimpleNamespace(Logger=logger))
    assert loads() == before + 1 and [text for text in said if "/no/such.so" in text]
    assert host.settings("onnxruntime", [f"--backend-config=tensorrt,plugins={library}"]) == {}


def test_a_plan_without_its_plugin_is_refused_with_every_reason(trt, tmp_path, capsys, monkeypatch):
    """TensorRT's last error only says that something failed: those before it say what."""
    from accelkit.backends.tensorrt import plan as reading

    reasons = ["getPluginCreator could not find plugin: QuickGelu version: 1", "Engine deserialization failed."]

    def refuse(self, data):
        for reason in reasons:
            self._log.log(trt.ILogger.ERROR, reason)

    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", refuse)
    (tmp_path / "p").write_bytes(b"plan")
    assert command.main(["show", str(tmp_path / "p")]) == 2
    assert capsys.readouterr().err.endswith(f"cannot load p: {'; '.join(reasons)}\n")
    logger = SimpleNamespace(**{f"log_{kind}": lambda text: None for kind in ("error", "warn", "verbose")})
    with pytest.raises(Refused, match=reasons[0]):
        reading.load(tmp_path / "p", {}, SimpleNamespace(Logger=logger))
