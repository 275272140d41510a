"""A backend in an interpreter of its own: found, asked, run, served by, and refused in one line."""

from __future__ import annotations

import ast
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("fixtures", "serving")]

import processes  # noqa: E402
import small  # noqa: E402

from accelkit import comparison, doctor, interpreters, machine, models, paths  # noqa: E402
from accelkit.errors import ConfigError, ModelError  # noqa: E402
from accelkit.measure.bench import Load  # noqa: E402
from accelkit.serving import Server  # noqa: E402

PACKAGE = interpreters.ROOT / "accelkit"


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A script that starts this Python with a package that only it has."""
    site = tmp_path / "site"
    (site / "tensorrt-8.dist-info").mkdir(parents=True)
    (site / "tensorrt-8.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt\nVersion: 8\n")
    (site / "only_here.py").write_text("")
    path = script(tmp_path / "python-of-tensorrt", f'export PYTHONPATH={site}\nexec {sys.executable} "$@"')
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORRT", str(path))
    return path


def test_without_a_variable_the_kits_own_interpreter_runs_a_backend(monkeypatch):
    monkeypatch.delenv("ACCELKIT_PYTHON_TENSORRT", raising=False)
    assert interpreters.foreign("tensorrt") is None and interpreters.python("tensorrt") == Path(sys.executable)
    assert interpreters.packages("tensorrt")["numpy"] == np.__version__
    assert interpreters.variable("tensorrt-llm", "LIBS") == "ACCELKIT_LIBS_TENSORRT_LLM"


def test_a_named_interpreter_is_asked_for_what_it_is_and_has(own, tmp_path):
    found = interpreters.foreign("tensorrt")
    assert str(found.executable) == sys.executable and found.minor == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert str(tmp_path / "site") in found.sites and found.libpython.exists()
    assert interpreters.packages("tensorrt")["tensorrt"] == "8" and "tensorrt" not in interpreters.packages(
        "onnxruntime"
    )


def test_it_runs_a_module_of_the_kit_without_the_paths_of_this_one(own, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/of/the/other")
    monkeypatch.setenv("ACCELKIT_LIBS_TENSORRT", str(tmp_path))
    assert "usage: python -m accelkit.engine" in interpreters.run("tensorrt", "accelkit.engine", ["--help"])
    (tmp_path / "site/probe.py").write_text(
        "import json, os, sys; print(os.environ['PYTHONPATH'], os.environ['LD_LIBRARY_PATH'].split(':')[0])"
    )
    assert str(interpreters.ROOT) not in os.environ["PYTHONPATH"]
    python_path, library_path = interpreters.run("tensorrt", "probe", []).split()
    assert python_path == str(tmp_path / "site") and library_path == str(tmp_path)
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORRT", sys.executable)
    assert "/of/the/other" not in interpreters.run("tensorrt", "site", [])


def test_the_last_line_of_a_failure_is_the_error(own, tmp_path):
    with pytest.raises(ModelError, match=r"^argument command: invalid choice: 'fly'"):
        interpreters.run("tensorrt", "accelkit.engine", ["fly"])
    (tmp_path / "site/killed.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ModelError, match=r"^killed was ended by signal 9 \(Killed\): it said nothing$"):
        interpreters.run("tensorrt", "killed", [])
    (tmp_path / "site/failing.py").write_text("raise SystemExit(3)")
    with pytest.raises(ModelError, match="^failing ended with code 3: it said nothing$"):
        interpreters.run("tensorrt", "failing", [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("exit 0", "is no Python that runs"), ("echo 7", "is no Python that runs"),
     ("""echo '{"minor": "3.6", "libpython": "/x"}'""", "is Python 3.6, for which Triton has no stub: name one of 3.8 to 3.13"),
     ("""echo '{"minor": "3.10", "libpython": ""}'""", r"has no libpython3.10.so.1.0, .* built with --enable-shared")],
)  # fmt: skip
def test_what_cannot_run_a_backend_is_refused(tmp_path, monkeypatch, answer, reason):
    path = script(tmp_path / "python", answer)
    monkeypatch.setenv("ACCELKIT_PYTHON_FIL", str(path))
    with pytest.raises(ConfigError, match=f"^ACCELKIT_PYTHON_FIL={path} {reason}") as caught:
        interpreters.python("fil")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("ACCELKIT_PYTHON_FIL", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="absent is no Python that runs"):
        interpreters.foreign("fil")


def test_libraries_must_be_directories(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELKIT_LIBS_FIL", f"{tmp_path}:{tmp_path}/none")
    with pytest.raises(ConfigError, match="ACCELKIT_LIBS_FIL names .*/none, which is no directory"):
        interpreters.libraries("fil")
    monkeypatch.setenv("ACCELKIT_LIBS_FIL", f"{tmp_path}:")
    assert interpreters.libraries("fil") == [str(tmp_path)]


def test_doctor_names_what_is_set(own, made_up, monkeypatch, tmp_path):
    def lines() -> list[doctor.Check]:
        return [check for check in doctor.checks(made_up()) if check.name == "interpreter"]

    (check,) = lines()
    assert check.state == "ok" and f"tensorrt runs in {own}, Python 3." in check.detail and "tensorrt 8" in check.detail
    monkeypatch.setenv("ACCELKIT_PYTHON_FIL", "/no/such")
    bad, good = lines()
    assert (bad.state, bad.fix) == ("missing", "correct ACCELKIT_PYTHON_FIL") and good == check


def test_a_path_looks_into_the_interpreter_of_its_backend(own, made_up):
    from accelkit.machine import Gpu

    gpu = Gpu("H200", 140.0, "9.0", "580")
    assert paths.get("tensorrt").unavailable(made_up(gpus=(gpu,))) == (
        "needs an NVIDIA GPU and TensorRT; missing here: the package cuda-bindings (make setup HARDWARE=gpu)"
    )


def test_a_path_may_have_an_interpreter_of_its_own_and_is_then_measured_beside_the_others(tmp_path, monkeypatch):
    path = script(tmp_path / "own-python", f'exec {sys.executable} "$@"')
    monkeypatch.setenv("ACCELKIT_PYTHON_ONNXRUNTIME_CPU", str(path))
    started = []

    class Watched(Server):
        def start(self):
            started.append((tuple(self._spec.models), dict(self._spec.interpreters)))
            return super().start()

    monkeypatch.setattr(comparison, "Server", Watched)
    specs, given = ["onnxruntime-cpu:fp32", "openvino:int8"], {"load": Load(4, 1), "out": tmp_path, "progress": False}
    rows = comparison.compare(models.get(), specs, **given)
    own, other = "text_recognition_onnxruntime_cpu", "text_recognition_openvino_int8"
    assert {row.label: row.status for row in rows} == {"onnxruntime-cpu": "measured", "openvino int8": "measured"}
    assert sorted(started) == sorted(2 * [((own,), {"onnxruntime": "onnxruntime-cpu"}), ((other,), {})])
    assert rows[0].where["versions"]["onnxruntime of onnxruntime-cpu"] == rows[0].where["versions"]["onnxruntime"]
    assert not any(" of openvino" in name for name in rows[0].where["versions"])
    assert interpreters.name("onnxruntime-openvino", "onnxruntime") == "onnxruntime"
    monkeypatch.setenv("ACCELKIT_PYTHON_ONNXRUNTIME_CPU", "/no/such")
    (bad,) = [check for check in doctor.checks(machine.probe()) if check.name == "interpreter"]
    assert bad.fix == "correct ACCELKIT_PYTHON_ONNXRUNTIME_CPU"


def test_a_backend_is_served_by_its_own_interpreter_and_no_other_notices(tmp_path, monkeypatch):
    site, libs = tmp_path / "site", tmp_path / "libs"
    site.mkdir(), libs.mkdir()
    path = script(tmp_path / "own-python", f'export PYTHONPATH={site}\nexec {sys.executable} "$@"')
    monkeypatch.setenv("ACCELKIT_PYTHON_ONNXRUNTIME", str(path))
    monkeypatch.setenv("ACCELKIT_LIBS_ONNXRUNTIME", str(libs))
    repository = tmp_path / "repository"
    small.add(repository, "own", small.config(), small.identity())
    small.add_plain(repository, "other", small.config("python"), small.identity())
    with Server(repository) as server:
        directory, image = server.log.parent, small.image(3)
        for name in ("own", "other"):
            np.testing.assert_array_equal(server.infer(name, {"input.1": image})["out"], image)
        homes = {}
        for pid in processes.tree(directory):
            words = processes.command(pid)
            if words[0].endswith("triton_python_backend_stub"):
                variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
                given = dict(entry.split("=", 1) for entry in variables if "=" in entry)
                name = "own" if any("own_0_0" in word for word in words) else "other"
                homes[name] = given["PATH"].split(":")[0], given["LD_LIBRARY_PATH"].split(":")
        assert homes["own"][0] == f"{directory}/python-onnxruntime/bin" and str(libs) in homes["own"][1][:2]
        assert homes["other"][0] == f"{directory}/python/bin" and str(libs) not in homes["other"][1]
        written = (
            directory / "python-onnxruntime/lib" / f"python3.{sys.version_info[1]}/site-packages/accelkit.pth"
        ).read_text()
        assert (
            str(site) in written
            and str(site) not in next((directory / "python/lib").glob("*/*/accelkit.pth")).read_text()
        )


def test_a_wrong_interpreter_stops_the_start_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    small.add(tmp_path, "identity", small.config(), small.identity())
    monkeypatch.setenv("ACCELKIT_PYTHON_OPENVINO", "/bin/true")
    before = set(os.listdir("/tmp"))
    with pytest.raises(ConfigError, match="ACCELKIT_PYTHON_OPENVINO=/bin/true is no Python that runs"):
        Server(tmp_path).start()
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("accelkit-server-")]


def foreign_modules() -> list[Path]:
    """What an interpreter of another minor version may import of the kit."""
    named = [PACKAGE / name for name in ("__init__.py", "errors.py", "versions.py", "interpreters.py")]
    folders = [PACKAGE / "engine", PACKAGE / "backends/onnxruntime", PACKAGE / "backends/tensorrt"]
    return [*named, *(PACKAGE / "backends").glob("*.py"), *(path for folder in folders for path in folder.glob("*.py"))]


@pytest.mark.parametrize("path", foreign_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_runs_in_another_interpreter_is_written_for_python_3_10(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    newer = {
        "tomllib",
        "Self",
        "StrEnum",
        "ExceptionGroup",
        "TaskGroup",
        "batched",
        "override",
        "assert_never",
        "chdir",
    }
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"tomllib"} if path.name == "versions.py" else set()
    assert not used & newer - allowed
