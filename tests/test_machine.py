"""The probe, on this machine and on made-up /proc and /sys trees."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from accelkit import advice, doctor, machine
from accelkit.machine import Gpu

XEON = "fpu avx2 fma avx512f avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write files under a made-up root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def cpu(index: int, package: int, core: int) -> dict[str, str]:
    base = f"sys/devices/system/cpu/cpu{index}/topology"
    return {f"{base}/physical_package_id": str(package), f"{base}/core_id": str(core)}


def test_this_machine_is_described_and_fits_json():
    here = machine.probe()
    assert here is machine.probe()
    assert 1 <= here.usable_cores <= len(os.sched_getaffinity(0))
    assert here.physical_cores >= 1 and here.numa_nodes >= 1 and here.memory_gb > 0.2
    assert here.python == ".".join(map(str, sys.version_info[:3])) and here.os == "linux"
    assert here.runtimes["numpy"] and here.runtimes["tritonclient"]
    assert json.loads(json.dumps(here.as_dict()))["isa"] == list(here.isa)
    assert here.cpu in here.line() and "\n" not in here.line() and here.best_isa() in here.line()


def test_isa_takes_the_flags_that_matter(tmp_path):
    root = tree(tmp_path, {"proc/cpuinfo": f"processor\t: 0\nmodel name\t: Xeon\nflags\t\t: {XEON}\n\nprocessor\t: 1"})
    assert machine.isa(root) == ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    arm = tree(tmp_path / "arm", {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp sve i8mm bf16"})
    assert machine.isa(arm) == ("asimddp", "i8mm", "bf16", "sve")
    assert machine.isa(tmp_path / "nothing") == ()


def test_the_vendor_is_that_of_cpuinfo_or_empty(tmp_path, made_up):
    root = tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon"})
    assert machine.vendor(root) == "GenuineIntel" and machine.vendor(tmp_path / "nothing") == ""
    assert machine.probe().vendor == machine.vendor() and made_up().vendor == ""


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (XEON, "AMX"),
        ("avx2 avx512f avx512_vnni", "AVX-512 VNNI"),
        ("avx2 avx512f", "AVX-512"),
        ("avx2 avx_vnni", "AVX2 VNNI"),
        ("avx2", "AVX2"),
        ("asimddp i8mm", "NEON i8mm"),
        ("sse4_2", "no vector extension known"),
    ],
)
def test_best_isa_is_the_one_that_int8_would_use(flags, name, made_up):
    assert made_up(isa=tuple(flag for flag in machine.ISA if flag in flags.split())).best_isa() == name


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (XEON, "matrix"),
        ("avx2 avx512f avx512_vnni", "dot"),
        ("avx2 avx512f avx_vnni", "dot"),
        ("asimddp i8mm", "matrix"),
        ("asimddp", "dot"),
        ("avx2 avx512f avx512_bf16", None),
        ("", None),
    ],
)
def test_doctor_and_advice_agree_on_where_int8_is_fast(flags, kind, made_up):
    found = made_up(isa=tuple(flag for flag in machine.ISA if flag in flags.split()))
    assert machine.int8(found.isa) == kind
    check = next(check for check in doctor.checks(found) if check.name == "isa")
    assert doctor.GAINS[kind] in check.detail and (check.state == "ok") == (kind is not None)
    assert advice.known(0, found.isa)["int8"] == ("yes" if kind else "no")


@pytest.mark.parametrize(
    ("cap", "name", "kind"),
    [
        ("AVX512_CORE", "AVX-512", None),
        ("AVX512_CORE_VNNI", "AVX-512 VNNI", "dot"),
        ("AVX2_VNNI", "AVX2 VNNI", "dot"),
        ("AVX2", "AVX2", None),
        ("DEFAULT", "AMX", "matrix"),
        (None, "AMX", "matrix"),
    ],
)
def test_a_capped_onednn_has_only_what_the_cap_leaves(cap, name, kind, made_up):
    found = made_up(isa=tuple(flag for flag in machine.ISA if flag in f"{XEON} avx_vnni".split()), isa_cap=cap)
    assert found.best_isa() == name and machine.int8(found.usable_isa()) == kind
    assert (f"(ONEDNN_MAX_CPU_ISA={cap})" in found.line()) == (cap is not None)
    assert doctor.GAINS[kind] in next(check for check in doctor.checks(found) if check.name == "isa").detail


def test_gpus_of_one_kind_are_named_once(made_up):
    one, other = (Gpu(name, 139.6, "9.0", "580.0") for name in ("NVIDIA H200", "NVIDIA H100"))
    assert ", 4 x NVIDIA H200 140 GB, NVIDIA H100 140 GB, " in made_up(gpus=(one, one, other, one, one)).line()
    assert ", NVIDIA H200 140 GB, " in made_up(gpus=(one,)).line() and ", no GPU, " in made_up(gpus=()).line()


def test_hyper_threads_are_one_core_and_sockets_differ(tmp_path):
    files = {**cpu(0, 0, 0), **cpu(1, 0, 0), **cpu(2, 0, 1), **cpu(3, 0, 1), **cpu(4, 1, 0), **cpu(5, 1, 0)}
    files["sys/devices/system/cpu/cpufreq/policy0"] = "x"
    files["sys/devices/system/node/node0/cpulist"] = files["sys/devices/system/node/node1/cpulist"] = "0-5"
    root = tree(tmp_path, files)
    assert machine.physical_cores(root) == 3
    assert machine.numa_nodes(root) == 2
    assert machine.physical_cores(tmp_path / "nothing") == os.cpu_count()
    assert machine.numa_nodes(tmp_path / "nothing") == 1


V2 = {"proc/self/cgroup": "0::/user/job"}
V1 = {"proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "max 100000"}, 8),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "250000 100000"}, 2),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "50000 100000"}, 1),
        ({**V2, "sys/fs/cgroup/user/job/cpu.max": "max 100000", "sys/fs/cgroup/user/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "0::/../../elsewhere", "sys/fs/cgroup/cpu.max": "400000 100000"}, 4),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "600000",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "200000",
            },
            3,
        ),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "500000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 5),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_usable_cores_obey_the_cgroup(files, cores, tmp_path):
    assert machine.usable_cores(tree(tmp_path, files), affinity=8) == cores


def test_usable_cores_obey_affinity(tmp_path):
    assert machine.usable_cores(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "gigabytes"),
    [
        ({}, 16.0),
        ({**V2, "sys/fs/cgroup/user/job/memory.max": "max"}, 16.0),
        ({**V2, "sys/fs/cgroup/user/job/memory.max": str(3 << 30)}, 3.0),
        ({**V1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(6 << 30)}, 6.0),
        ({**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 16.0),
    ],
)
def test_memory_obeys_the_cgroup(files, gigabytes, tmp_path):
    root = tree(tmp_path, {"proc/meminfo": f"MemTotal:       {16 << 20} kB\nMemFree: 1 kB", **files})
    assert machine.memory_gb(root) == gigabytes


def nvml(count=2, broken=(), driver=b"580.65.06"):
    """Return a stand-in for nvidia-ml-py with `count` GPUs, those of `broken` lost."""

    class NVMLError(Exception):
        pass

    def handle(index):
        if index in broken:
            raise NVMLError("GPU is lost")
        return index

    def version():
        if driver is None:
            raise NVMLError("driver is gone")
        return driver

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=version,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}a",
        nvmlDeviceGetName=lambda handle: "NVIDIA H200",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=141 << 30),
        nvmlDeviceGetCudaComputeCapability=lambda handle: (9, 0),
    )


def test_gpus_are_read_and_a_lost_one_hides_no_other(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(3, broken=(1,)))
    assert machine.gpus() == (Gpu("NVIDIA H200", 141.0, "9.0", "580.65.06"),) * 2


@pytest.mark.parametrize(
    ("asked", "count"), [(None, 3), ("", 0), ("-1", 0), ("1", 1), ("2, 0", 2), ("GPU-1a,GPU-2", 2), ("NoDevFiles", 0)]
)
def test_gpus_that_are_hidden_from_cuda_are_not_there(asked, count, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(3))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert len(machine.gpus()) == count


@pytest.mark.parametrize("module", [None, SimpleNamespace(), nvml(driver=None), nvml(count=0)])
def test_no_package_no_library_no_driver_mean_no_gpu(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert machine.gpus() == ()


def test_glibc_is_none_where_the_c_library_is_another(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.39")
    assert machine.glibc() == "2.39"
    for answer in (None, "musl 1.2"):
        monkeypatch.setattr(os, "confstr", lambda name, answer=answer: answer)
        assert machine.glibc() is None
    monkeypatch.delattr(os, "confstr")
    assert machine.glibc() is None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            'case "$*" in --version) echo "Docker version 28.1, build x";; compose*) echo 2.40;; *) echo 28.3;; esac',
            "client 28.1, engine 28.3, compose 2.40",
        ),
        (
            'case "$*" in --version) echo "Docker version 28.1, build x";; *) echo; exit 1;; esac',
            "client 28.1, engine none, compose none",
        ),
        ("exit 1", "client unknown, engine none, compose none"),
    ],
)
def test_docker_says_what_of_it_is_there(code, line, tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{code}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.docker() == line


def test_no_docker_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.docker() is None
