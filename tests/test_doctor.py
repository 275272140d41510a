"""The doctor: every finding has its state and, unless all is well, one line that says what to do."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from accelkit import doctor, toolchain, versions
from accelkit.errors import ToolchainError
from accelkit.machine import Gpu, probe

PINS = dict(versions.get("packages"))
H200 = Gpu("NVIDIA H200", 141.0, "9.0", "580.65")


@pytest.fixture(autouse=True)
def fine_toolchain(monkeypatch):
    monkeypatch.setattr(toolchain, "state", lambda machine: "unpacked")


def look(machine, name, root=None):
    found = {check.name: check for check in (doctor.checks(machine, root) if root else doctor.checks(machine))}
    return found[name]


def test_every_check_of_this_machine_is_one_line_and_names_its_fix():
    found = doctor.checks(probe())
    assert [check.name for check in found] == [
        *("python", "system", "toolchain", "cores", "memory", "isa"),
        *("gpu", "packages", "docker", "cache", "loopback", "shm"),
    ]
    for check in found:
        assert check.state in doctor.MARKS and check.detail and "\n" not in check.detail + check.fix
        assert bool(check.fix) == (check.state != "ok"), check


def test_the_text_holds_every_check_and_the_packages():
    here = probe()
    found = doctor.checks(here)
    text = doctor.text(here, found)
    for check in found:
        assert check.detail in text and check.fix in text
    assert here.line() in text and f"numpy {here.runtimes['numpy']}" in text


@pytest.mark.parametrize(
    ("name", "change", "state", "detail", "fix"),
    [
        ("python", {}, "ok", "3.12.1", ""),
        ("python", {"python": "3.10.4"}, "warn", "3.10.4", "Python 3.11 to 3.13"),
        ("system", {}, "ok", "linux x86_64, glibc 2.36", ""),
        ("system", {"glibc": "2.31"}, "missing", "glibc 2.31", "container mode"),
        ("system", {"os": "darwin", "docker": "client 28, engine 28, compose 2"}, "warn", "darwin", "container mode"),
        ("toolchain", {"arch": "riscv64"}, "warn", "none for this system", "container mode"),
        ("toolchain", {}, "ok", "every hash right", ""),
        ("cores", {}, "ok", "4 usable CPUs, 2 physical cores, 1 NUMA node", ""),
        (
            "cores",
            {"usable_cores": 1, "numa_nodes": 2},
            "warn",
            "1 usable CPUs, 2 physical cores, 2 NUMA nodes",
            "2 CPUs",
        ),
        ("memory", {"memory_gb": 2.0}, "warn", "2.0 GB", "4 GB"),
        ("isa", {}, "ok", "AVX-512 VNNI: INT8 pays", ""),
        ("isa", {"isa": ("avx2",)}, "warn", "AVX2: INT8 gains little", "VNNI or AMX"),
        ("isa", {"isa": ()}, "warn", "no flags readable", "VNNI or AMX"),
        ("gpu", {}, "warn", "no NVIDIA GPU", "none needed"),
        ("gpu", {"gpus": (H200, H200)}, "ok", "NVIDIA H200, 141 GB, compute 9.0; NVIDIA H200", ""),
        ("packages", {}, "ok", "as tested", ""),
        ("packages", {"runtimes": {**PINS, "onnx": "1.0"}}, "warn", f"onnx 1.0 (tested: {PINS['onnx']})", "make setup"),
        ("packages", {"runtimes": {"onnx": PINS["onnx"]}}, "missing", "not installed: onnxruntime,", "make setup"),
        ("docker", {}, "warn", "no docker client", "container mode"),
        ("docker", {"docker": "client 28, engine none, compose 2"}, "warn", "engine none", "start its engine"),
        ("docker", {"docker": "client 28, engine 28, compose 2"}, "ok", "engine 28", ""),
    ],
)
def test_findings(name, change, state, detail, fix, made_up):
    check = look(made_up(**change), name)
    assert (check.state, bool(check.fix)) == (state, bool(fix))
    assert detail in check.detail and fix in check.fix


def test_a_device_without_a_driver_is_told_apart_from_no_device(made_up, tmp_path):
    vendor = tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x10de\n")
    check = look(made_up(), "gpu", tmp_path)
    assert check.state == "warn" and "no driver answers" in check.detail and "nvidia-smi" in check.fix
    vendor.write_text("0x8086\n")
    assert look(made_up(), "gpu", tmp_path).detail == "no NVIDIA GPU"


def test_a_toolchain_not_yet_fetched_warns_and_a_damaged_one_is_missing(made_up, monkeypatch):
    monkeypatch.setattr(toolchain, "state", lambda machine: "missing")
    check = look(made_up(), "toolchain")
    assert check.state == "warn" and "not fetched yet" in check.detail and "doctor --repair" in check.fix

    def damaged(machine):
        raise ToolchainError("/cache/x is damaged")

    monkeypatch.setattr(toolchain, "state", damaged)
    check = look(made_up(), "toolchain")
    assert check.state == "missing" and check.detail == "/cache/x is damaged" and "doctor --repair" in check.fix


def test_cache_on_a_full_or_forbidden_disk(made_up, monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "not/yet/made"))
    assert look(made_up(), "cache").state == "ok"
    usage = SimpleNamespace(total=100 << 30, free=1 << 30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    check = look(made_up(), "cache")
    assert check.state == "warn" and "1.0 GB free" in check.detail and "ACCELKIT_CACHE" in check.fix
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "file"))
    check = look(made_up(), "cache")
    assert check.state == "missing" and "cannot be written" in check.detail and "ACCELKIT_CACHE" in check.fix


def test_a_variable_that_nothing_reads_is_named_with_the_nearest(made_up, monkeypatch):
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORRT", "")
    assert "environment" not in {check.name for check in doctor.checks(made_up())}
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORTT", "python3.10")
    check = look(made_up(), "environment")
    assert (check.state, check.detail) == ("warn", "ACCELKIT_PYTHON_TENSORTT has no effect")
    assert check.fix == "unset it; did you mean ACCELKIT_PYTHON_TENSORRT?"


def test_loopback_that_is_down(made_up, monkeypatch):
    def refuse(*args):
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    check = look(made_up(), "loopback")
    assert check.state == "missing" and "Cannot assign" in check.detail and "loopback" in check.fix


@pytest.mark.parametrize(("free", "state"), [(1024, "ok"), (60, "warn"), (8, "missing")])
def test_shared_memory(free, state, made_up, tmp_path, monkeypatch):
    assert look(made_up(), "shm", tmp_path).state == "missing"
    (tmp_path / "dev/shm").mkdir(parents=True)
    usage = SimpleNamespace(total=2048 << 20, free=free << 20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert look(made_up(), "shm", tmp_path).state == state
