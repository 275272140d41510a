"""What this machine has: instruction sets, cores, memory, GPUs, runtimes and their versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from accelkit import versions

ROOT = Path("/")
ISA = (
    "avx2 avx_vnni avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_int8 amx_bf16 amx_fp16 asimddp i8mm bf16 sve"
).split()
SETS = {  # flag: name, and how it multiplies 8-bit integers faster than floats; what INT8 would use first
    "amx_int8": ("AMX", "matrix"),
    "avx512_vnni": ("AVX-512 VNNI", "dot"),
    "avx_vnni": ("AVX2 VNNI", "dot"),
    "i8mm": ("NEON i8mm", "matrix"),
    "asimddp": ("NEON dot product", "dot"),
    "avx512f": ("AVX-512", None),
    "avx2": ("AVX2", None),
}
_CORE = ("avx2", "avx512f")
CAPS: dict[str, tuple[str, ...]] = {
    "SSE41": (),
    "AVX": (),
    "AVX2": ("avx2",),
    "AVX2_VNNI": ("avx2", "avx_vnni"),
    "AVX2_VNNI_2": ("avx2", "avx_vnni"),
    "AVX512_CORE": _CORE,
}
CAPS |= dict.fromkeys(("AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_FP16"), (*_CORE, "avx512_vnni"))
"""Sets of SETS that ONEDNN_MAX_CPU_ISA leaves to oneDNN, and so to OpenVINO; ONNX Runtime's own kernels do not read it."""
RUNTIMES = (  # what a result depends on
    "onnxruntime onnxruntime-gpu onnxruntime-ep-openvino openvino nncf torch torch-tensorrt tensorrt tensorrt-llm "
    "tensorflow tensorflow-cpu treelite xgboost vllm numpy protobuf tritonclient triton-model-analyzer"
).split()


def usable(isa: Sequence[str], cap: str | None) -> tuple[str, ...]:
    """Return the flags that a cap of oneDNN leaves to OpenVINO; all of them without one, or when it is none of CAPS."""
    left = CAPS.get(cap or "")
    return tuple(flag for flag in isa if left is None or flag in left)


def bf16(isa: Sequence[str]) -> bool:
    """Whether an x86 CPU multiplies BF16, in which OpenVINO then computes float models."""
    return bool({"avx512_bf16", "amx_bf16"} & set(isa))


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, as its driver reports it."""

    name: str
    memory_gb: float
    compute_capability: str
    driver: str


@dataclass(frozen=True)
class Machine:
    """What counts for speed and support; `usable_cores` are logical CPUs left by affinity and cgroup quota."""

    os: str
    arch: str
    cpu: str
    isa: tuple[str, ...]
    physical_cores: int
    usable_cores: int
    numa_nodes: int
    memory_gb: float
    glibc: str | None
    python: str
    gpus: tuple[Gpu, ...]
    runtimes: dict[str, str]
    docker: str | None
    isa_cap: str | None = None
    vendor: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, as JSON brings them back."""
        return {**asdict(self), "isa": list(self.isa), "gpus": [asdict(gpu) for gpu in self.gpus]}

    def usable_isa(self) -> tuple[str, ...]:
        """Return the flags that ONEDNN_MAX_CPU_ISA leaves to OpenVINO; all of them when it is not set, or is none of CAPS."""
        return usable(self.isa, self.isa_cap)

    def best_isa(self) -> str:
        """Return the name of the instruction set that INT8 arithmetic would use here."""
        flags = self.usable_isa()
        return next((name for flag, (name, _) in SETS.items() if flag in flags), "no vector extension known")

    def line(self) -> str:
        """Return one line that describes the machine to a reader."""
        named = [f"{gpu.name} {gpu.memory_gb:.0f} GB" for gpu in self.gpus]
        each = {name: named.count(name) for name in named}
        gpus = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in each.items()) or "no GPU"
        cores = f"{self.usable_cores} usable CPUs ({self.physical_cores} physical cores)"
        libc = f"glibc {self.glibc}" if self.glibc else f"{self.os} without glibc"
        cap = f" (ONEDNN_MAX_CPU_ISA={self.isa_cap})" if self.isa_cap else ""
        return f"{self.cpu}, {cores}, {self.best_isa()}{cap}, {self.memory_gb:.0f} GB, {gpus}, {libc}, Python {self.python}"


def int8(flags: Sequence[str]) -> str | None:
    """Return how a CPU with these flags does INT8 fast: by "matrix", by "dot" products of four, or None, not at all."""
    return next((kind for flag, (_, kind) in SETS.items() if flag in flags), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo(root: Path, *keys: str) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def isa(root: Path = ROOT) -> tuple[str, ...]:
    """Return the flags of /proc/cpuinfo that matter to inference, in the order of ISA."""
    flags = _cpuinfo(root, "flags", "Features").split()
    return tuple(name for name in ISA if name in flags)


def vendor(root: Path = ROOT) -> str:
    """Return the vendor_id of /proc/cpuinfo, such as GenuineIntel; empty when unknown."""
    return _cpuinfo(root, "vendor_id")


def physical_cores(root: Path = ROOT) -> int:
    """Return the number of cores, hyper-threads counted once, of all sockets."""
    cores = set()
    for topology in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        core = _text(topology / "core_id")
        if core:
            cores.add((_text(topology / "physical_package_id"), _text(topology / "die_id"), core))
    return len(cores) or os.cpu_count() or 1


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process's cgroup and of all its parents, version 1 or 2."""
    for line in _text(root / "proc/self/cgroup").splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controllers
        if not base.exists():
            base = base.with_name(controller)
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth])


def usable_cores(root: Path = ROOT, affinity: int | None = None) -> int:
    """Return how many logical CPUs this process may use at once: affinity, then whole CPUs of the cgroup's quota."""
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = affinity
    for group in _cgroups(root, "cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        quota = quota or _text(group / "cpu.cfs_quota_us")
        period = period or _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            count = min(count, int(quota) // int(period))
    return max(1, count)


def numa_nodes(root: Path = ROOT) -> int:
    """Return the number of NUMA nodes, at least 1."""
    return max(1, len(list((root / "sys/devices/system/node").glob("node[0-9]*"))))


def memory_gb(root: Path = ROOT) -> float:
    """Return the memory in GiB that this process may have, the cgroup's limit included."""
    words = _text(root / "proc/meminfo").partition("MemTotal:")[2].split()
    total = int(words[0]) * 1024 if words else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _cgroups(root, "memory"):
        limit = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
        if limit.isdigit():
            total = min(total, int(limit))
    return round(total / 2**30, 1)


def glibc() -> str | None:
    """Return the version of glibc, None where the C library is another (musl, macOS)."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return None
    return version if name == "glibc" else None


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves; none without a driver or without nvidia-ml-py."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # every reason (no package, no library, no driver, no permission) means: no GPU to use
        return ()
    try:
        driver = _str(pynvml.nvmlSystemGetDriverVersion())
        found, asked = [], os.environ.get("CUDA_VISIBLE_DEVICES")
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # a lost or forbidden GPU does not hide its neighbours
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                if not visible(index, _str(pynvml.nvmlDeviceGetUUID(handle)), asked):
                    continue
                major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
                memory = round(pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30, 1)
                found.append(Gpu(_str(pynvml.nvmlDeviceGetName(handle)), memory, f"{major}.{minor}", driver))
        return tuple(found)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def visible(index: int, uuid: str, asked: str | None) -> bool:
    """Whether CUDA shows a GPU: it is in the list by its index or the head of its UUID, or there is no list."""
    if asked is None:
        return True
    return any(word == str(index) or (word and uuid.startswith(word)) for word in asked.replace(" ", "").split(","))


def _str(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def runtimes() -> dict[str, str]:
    """Return the installed versions of the packages that the kit knows, without importing them."""
    found = {}
    for name in sorted({*versions.get("packages"), *versions.get("extras"), *RUNTIMES}):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def docker() -> str | None:
    """Return `client V, engine V, compose V`, each V a version or `none`; None without a docker client."""
    if not shutil.which("docker"):
        return None
    client = _run("docker", "--version").removeprefix("Docker version ").partition(",")[0] or "unknown"
    engine = _run("docker", "version", "--format", "{{.Server.Version}}")
    compose = _run("docker", "compose", "version", "--short")
    return f"client {client}, engine {engine or 'none'}, compose {compose or 'none'}"


@lru_cache(maxsize=1)
def probe() -> Machine:
    """Return this machine, looked at once a process."""
    return Machine(
        os=platform.system().lower(),
        arch={"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine()),
        cpu=_cpuinfo(ROOT, "model name", "Hardware") or platform.processor() or platform.machine(),
        isa=isa(),
        physical_cores=physical_cores(),
        usable_cores=usable_cores(),
        numa_nodes=numa_nodes(),
        memory_gb=memory_gb(),
        glibc=glibc(),
        python=platform.python_version(),
        gpus=gpus(),
        runtimes=runtimes(),
        docker=docker(),
        isa_cap=os.environ.get("ONEDNN_MAX_CPU_ISA"),
        vendor=vendor(),
    )
