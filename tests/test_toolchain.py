"""The toolchain with real wheels: fetched once, all or nothing, and damage named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from accelkit import fetch, machine, toolchain, versions
from accelkit.errors import ToolchainError

ENSURE = "from accelkit import toolchain; print(toolchain.ensure(progress=False).tritonserver)"
LIMITED = """
import resource
from accelkit import toolchain
resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
try:
    toolchain.ensure(progress=False)
except Exception as error:
    print(repr(error))
"""
NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}

pytestmark = pytest.mark.skipif(
    toolchain.unsupported(machine.probe()) is not None, reason="no embedded server for this machine"
)


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The user's own cache, filled: the tests copy wheels from it instead of fetching them again."""
    toolchain.ensure()
    server, analyzer, _ = toolchain._plan(machine.probe())
    with fetch.locked(toolchain.cache_dir() / "toolchain"):
        for spec in (server, analyzer):
            fetch.wheel(spec, machine.probe().arch, toolchain.cache_dir() / "wheels", progress=False)
    return toolchain.cache_dir() / "wheels"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and pip without an index."""
    home = tmp_path / "cache"
    monkeypatch.setenv("ACCELKIT_CACHE", str(home))
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def filled(cache, wheels) -> Path:
    """A cache that holds the wheels and nothing unpacked."""
    shutil.copytree(wheels, cache / "wheels", copy_function=os.link if _same_device(wheels, cache) else shutil.copy)
    return cache


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.parent.stat().st_dev


def _leftovers(home: Path) -> list[Path]:
    return list(home.rglob(".new-*"))


def _trees(home: Path) -> list[Path]:
    return list((home / "toolchain").glob("triton-*"))


def _copy_truncated(source: Path, target: Path) -> Path:
    target.unlink(missing_ok=True)
    target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return target


def test_tools_start_with_the_paths_that_ensure_returns():
    tools = toolchain.ensure()
    libs = f"{tools.server_libs}:{tools.libpython.parent}"
    server = subprocess.run([tools.tritonserver, "--help"], capture_output=True, env={"LD_LIBRARY_PATH": libs})
    assert b"--model-repository" in server.stdout + server.stderr
    libs = ":".join(map(str, tools.analyzer_libs))
    analyzer = subprocess.run([tools.perf_analyzer, "--help"], capture_output=True, env={"LD_LIBRARY_PATH": libs})
    assert b"--profile-export-file" in analyzer.stdout + analyzer.stderr
    assert (tools.stubs / "triton_python_backend_stub").exists() and (tools.backends / "python").is_dir()
    assert tools.libpython.name == f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


def test_two_processes_at_once_share_one_unpacking(filled):
    (filled / "toolchain/.new-of-a-killed-process").mkdir(parents=True)
    both = [subprocess.Popen([sys.executable, "-c", ENSURE], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert len(_trees(filled)) == 1 and not _leftovers(filled)


def test_second_use_is_offline_even_without_the_wheels(filled):
    first = toolchain.ensure(progress=False)
    shutil.rmtree(filled / "wheels")
    assert toolchain.ensure(progress=False) == first
    assert toolchain.state(machine.probe()) == "unpacked"


def test_no_network_and_no_wheel_is_one_line(cache):
    assert toolchain.state(machine.probe()) == "missing"
    with pytest.raises(ToolchainError, match="pip could not fetch nvidia-pytriton==.*run again") as caught:
        toolchain.ensure(progress=False)
    assert "\n" not in str(caught.value)
    assert not _trees(cache) and not _leftovers(cache) and not list((cache / "wheels").iterdir())


def test_cut_download_leaves_nothing_and_the_next_run_works(cache, wheels, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for wheel in wheels.glob("*.whl"):
        _copy_truncated(wheel, mirror / wheel.name)
    monkeypatch.setenv("PIP_FIND_LINKS", str(mirror))
    with pytest.raises(ToolchainError, match="nvidia-pytriton"):
        toolchain.ensure(progress=False)
    assert not _trees(cache) and not _leftovers(cache) and not list((cache / "wheels").iterdir())
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert toolchain.ensure(progress=False).tritonserver.exists()


def test_another_file_under_the_pinned_name_is_refused(cache, wheels, monkeypatch):
    spec, arch = dict(versions.get("toolchain.server")), machine.probe().arch
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    spec["sha256"] = {arch: "0" * 64}
    with pytest.raises(ToolchainError, match="another nvidia-pytriton==.* than the pinned one"):
        fetch.wheel(spec, arch, cache / "wheels", progress=False)
    assert not list((cache / "wheels").iterdir())


def test_corrupt_wheel_in_the_cache_is_named_and_repaired(filled, wheels, monkeypatch):
    name = next(wheels.glob("nvidia_pytriton-*")).name
    damaged = _copy_truncated(wheels / name, filled / "wheels" / name)
    with pytest.raises(ToolchainError) as caught:
        toolchain.ensure(progress=False)
    assert str(damaged) in str(caught.value) and "`accelkit doctor --repair`, or delete it" in str(caught.value)
    assert not _trees(filled) and not _leftovers(filled)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert toolchain.repair(progress=False).tritonserver.exists()
    assert damaged.stat().st_size == (wheels / name).stat().st_size


def test_damaged_unpacked_tree_is_named_and_deleting_it_helps(filled):
    tools = toolchain.ensure(progress=False)
    tree = _trees(filled)[0]
    with tools.tritonserver.open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(ToolchainError) as caught:
        toolchain.ensure(progress=False)
    assert str(tools.tritonserver) in str(caught.value) and f"or delete {tree}" in str(caught.value)
    shutil.rmtree(tree)
    assert toolchain.ensure(progress=False) == tools
    tools.perf_analyzer.write_text("damaged again")
    assert toolchain.repair(progress=False) == tools
    assert toolchain.state(machine.probe()) == "unpacked"


def test_a_changed_byte_is_seen_by_the_full_check_and_a_bad_manifest_by_every_check(filled):
    tools = toolchain.ensure(progress=False)
    with tools.perf_analyzer.open("r+b") as stream:
        stream.seek(5000)
        byte = stream.read(1)
        stream.seek(5000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ToolchainError, match="perf_analyzer is damaged"):
        toolchain.state(machine.probe())
    for content in ("", "[]", '{"bin/perf_analyzer": 1}'):
        (_trees(filled)[0] / "manifest.json").write_text(content)
        with pytest.raises(ToolchainError, match="is damaged or missing"):
            toolchain.ensure(progress=False)


@pytest.mark.parametrize("place", ["file", "proc"])
def test_cache_that_cannot_be_written_is_one_line(place, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    home = {"file": tmp_path / "file", "proc": Path("/proc/accelkit")}[place]
    monkeypatch.setenv("ACCELKIT_CACHE", str(home))
    with pytest.raises(ToolchainError, match="the cache cannot be written.*ACCELKIT_CACHE") as caught:
        toolchain.ensure(progress=False)
    assert str(home) in str(caught.value) and "\n" not in str(caught.value)


def test_disk_full_while_unpacking_leaves_nothing(filled):
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("ToolchainError(") and "File too large" in done.stdout, done.stderr
    assert not _trees(filled) and not _leftovers(filled)
    assert toolchain.ensure(progress=False).tritonserver.exists()


def test_disk_full_while_fetching_leaves_nothing(cache, wheels, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("ToolchainError(") and "\\n" not in done.stdout, done.stderr
    assert not _trees(cache) and not _leftovers(cache) and not list((cache / "wheels").iterdir())


def test_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "own"))
    assert toolchain.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ACCELKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert toolchain.cache_dir() == tmp_path / "accelkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert toolchain.cache_dir() == Path.home() / ".cache/accelkit"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"os": "darwin"}, "built for Linux only"),
        ({"arch": "riscv64"}, "no wheel carries tritonserver for riscv64"),
        ({"glibc": None}, "another C library"),
        ({"glibc": "2.31"}, "glibc 2.35 or newer, this system has 2.31"),
        ({"python": "3.14.1"}, "no stub for Python 3.14.1: use Python 3.11 to 3.13"),
    ],
)
def test_unsupported_machines_are_sent_to_the_container_mode(change, words):
    here = replace(machine.probe(), os="linux", arch="x86_64", glibc="2.36", python="3.12.1")
    assert toolchain.unsupported(here) is None
    reason = toolchain.unsupported(replace(here, **change))
    assert words in reason and "--mode container" in reason and "\n" not in reason


def test_newer_glibc_takes_the_newest_perf_analyzer():
    here = replace(machine.probe(), os="linux", arch="x86_64", glibc="2.36")
    assert toolchain._plan(here)[1]["package"] == "tritonclient"
    assert toolchain._plan(replace(here, glibc="2.38"))[1]["package"] == "perf-analyzer"
    assert toolchain._plan(here)[2] != toolchain._plan(replace(here, glibc="2.38"))[2]


def test_missing_system_library_is_named(filled, monkeypatch):
    monkeypatch.setattr(toolchain, "BORROWED", {"libssl": "so.3", "libcrypto": "so.3", "libcudart": "so.12"})
    with pytest.raises(ToolchainError, match="perf_analyzer does not run here: libb64.so.0d: cannot open"):
        toolchain.ensure(progress=False)
    assert not _trees(filled) and not _leftovers(filled)


def _fake_tools(folder: Path, monkeypatch, apt: str) -> None:
    """Put an apt-get of the given shell code and a dpkg-deb that unpacks a libpython on PATH."""
    folder.mkdir()
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    unpack = f'mkdir -p "$3/usr/lib" && echo library > "$3/usr/lib/libpython{minor}.so.1.0"'
    for name, code in {"apt-get": apt, "dpkg-deb": unpack}.items():
        (folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def static_python(monkeypatch):
    """An interpreter of the distribution that has no shared library."""
    real = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "/nonexistent" if name == "LIBDIR" else real(name))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(toolchain.Path, "exists", _hide_usr_lib(toolchain.Path.exists))


def _hide_usr_lib(exists):
    return lambda path: not str(path).startswith("/usr/lib/libpython") and exists(path)


def test_libpython_comes_from_the_distribution_once(static_python, tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    answers = '*"lists="*update*) exit 0;; *lists=*t64) touch some.deb;; *) exit 100;;'
    apt = f'echo "$@" >> {calls}\ncase "$*" in {answers} esac'
    _fake_tools(tmp_path / "bin", monkeypatch, apt)
    found = toolchain._libpython(tmp_path / "home", progress=True)
    assert found.read_text() == "library\n" and not _leftovers(tmp_path)
    count = len(calls.read_text().splitlines())
    assert count == 5  # two names with the machine's lists, update of private ones, two names with those
    assert toolchain._libpython(tmp_path / "home", progress=False) == found
    assert len(calls.read_text().splitlines()) == count
    found.write_text("LIBRARY\n")
    with pytest.raises(ToolchainError, match="is damaged or missing: run `accelkit doctor --repair`"):
        toolchain._libpython(tmp_path / "home", progress=False)


def test_libpython_that_apt_does_not_have_is_one_line(static_python, tmp_path, monkeypatch):
    _fake_tools(tmp_path / "bin", monkeypatch, 'echo "E: Unable to locate package" >&2; exit 100')
    with pytest.raises(ToolchainError, match="Unable to locate package; use a Python built with --enable-shared"):
        toolchain._libpython(tmp_path / "home", progress=False)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["lock"]


def test_libpython_without_apt_names_the_ways_out(static_python, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="--enable-shared, install libpython3.* --mode container"):
        toolchain._libpython(tmp_path / "home", progress=False)


def test_interpreter_without_pip_is_told_how_to_get_it(cache, monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="has no pip to fetch nvidia-pytriton==.*ensurepip"):
        toolchain.ensure(progress=False)
