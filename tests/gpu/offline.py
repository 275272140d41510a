"""Bring the kit to a machine with a GPU and no network: what it needs as parts of one archive, and an environment there.

    python tests/gpu/offline.py pack OUT [FILE...] --python 3.12=PREFIX --python 3.10=PREFIX [--stack NAME] [--gpu 9.0] [--part-mb 44]
    python3 tests/gpu/offline.py unpack OUT DEST [--libs DIRECTORY...] [--site DIRECTORY...]

`pack` takes the wheels that constraints/stack-*.txt pin, an interpreter built with --enable-shared for each stack, and with the
kit's own stack the server, perf_analyzer and files for its cache of models, such as references and quantized files that take
long to make; a reference counts there if the version of ONNX Runtime that made it is the one that the stack pins. Each stack is
an archive of its own, and every part of it lies in a folder of its own. What a stack pins as the one that it lies over (`over`
in versions.toml) is not packed again: send that one first. With `--gpu` libraries travel without kernels for other GPUs
(tests/gpu/slim.py), which saves a third to a half. `unpack` puts together what has arrived, one stack or several, and writes
DEST/env.sh: after `. DEST/env.sh`, `python` is the kit's where that stack is there, and other stacks run what they are for.
`--libs` are directories of libraries that lie on that machine already, `--site` those of Python packages, for the stacks
of that Python. It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "constraints")]

from resolve import GLIBC, platforms  # noqa: E402

from accelkit import versions  # noqa: E402
from tests.gpu import slim  # noqa: E402

MB = 10**6
KIT = "kit"
"""The stack that the kit itself runs in."""
PYTHON_UNUSED = (
    "*/test",
    "*/site-packages",
    "*/__pycache__",
    "*/idlelib",
    "*/ensurepip",
    "*/pkgconfig",
    "*/config-*",
    "*.a",
)


def pins(name: str) -> list[str]:
    """Return what a stack pins, one PACKAGE==VERSION each."""
    lines = (ROOT / f"constraints/stack-{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def below(name: str) -> list[str]:
    """Return what a stack pins as the one that it lies over does."""
    base = versions.get("stacks")[name].get("over")
    return [pin for pin in pins(name) if pin in pins(base)] if base else []


def download(arguments: list[str], minor: str, folder: Path, glibc: int = GLIBC) -> None:
    """Download wheels for another Python and glibc 2.N, without what is below them."""
    there = ["--only-binary", ":all:", "--python-version", minor, "--implementation", "cp"]
    there += [word for abi in (f"cp{minor.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    there += [word for name in platforms(glibc) for word in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *there, *arguments], check=True)


def pack(
    out: Path, part_mb: int, pythons: dict[str, Path], cached: list[Path], stacks: list[str], gpu: int | None = None
) -> None:
    """Write the parts; each is OUT/STACK/pNNNN/part. `gpu` is the compute capability there, 90 for 9.0."""
    if out.exists() and (other := [path for path in out.iterdir() if path.name not in versions.get("stacks")]):
        sys.exit(f"{out}: holds other things than parts, such as {other[0].name}: name another folder")
    for name in stacks:
        stack = versions.get("stacks")[name]
        with tempfile.TemporaryDirectory(prefix="accelkit-pack-") as scratch:
            work = Path(scratch)
            wheels = work / "stacks" / name
            download([pin for pin in pins(name) if pin not in below(name)], stack["python"], wheels)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(functools.partial(slim.wheel, capability=gpu), wheels.iterdir()))
            with tarfile.open(work / f"python-{stack['python']}.tar", "w") as archive:
                for part in (f"bin/python{stack['python']}", "lib", "include"):  # torch.compile needs the headers
                    archive.add(pythons[stack["python"]] / part, part, filter=used)
            if name == KIT:
                tools = [versions.get(f"toolchain.{tool}") for tool in ("server", "analyzer")]
                (work / "cache/models").mkdir(parents=True)
                newest = max(int(tool["glibc"].partition(".")[2]) for tool in tools)
                wanted = [f"{tool['package']}=={tool['version']}" for tool in tools]
                download(wanted, stack["python"], work / "cache/wheels", newest)
                for file in cached:
                    shutil.copy(file, work / "cache/models")
            shutil.rmtree(out / name, ignore_errors=True)
            with (
                Parts(out / name, part_mb * MB) as stream,
                xz(stream) as pipe,
                tarfile.open(fileobj=pipe, mode="w|") as archive,
            ):
                archive.add(work, ".")
            print(f"{name}: {stream.count} parts of at most {part_mb} MB in {out / name}")


@contextmanager
def xz(stream: Parts) -> Iterator[IO[bytes]]:
    """A pipe into `stream` that compresses on all cores: of the kernels in libraries xz leaves half of what a wheel's zip does."""
    with subprocess.Popen(["xz", "-T0", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        writer = Thread(target=shutil.copyfileobj, args=(process.stdout, stream))
        writer.start()
        try:
            yield process.stdin
        finally:
            process.stdin.close()
            writer.join()
    if process.returncode:
        sys.exit("xz failed: it said why above")


def used(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Drop what an interpreter does not need to run the kit."""
    return None if any(fnmatch.fnmatch(entry.name, pattern) for pattern in PYTHON_UNUSED) else entry


class Parts:
    """A file that is written in parts of one size."""

    def __init__(self, out: Path, size: int):
        self.out, self.size, self.count, self.left, self.stream = out, size, 0, 0, None

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.stream:
            self.stream.close()

    def write(self, data: bytes) -> int:
        """Write to this part and, when it is full, to the next."""
        written = len(data)
        while data:
            if not self.left:
                self.__exit__()
                folder = self.out / f"p{self.count:04d}"
                folder.mkdir(parents=True)
                self.stream, self.left, self.count = (folder / "part").open("wb"), self.size, self.count + 1
            now, data = data[: self.left], data[self.left :]
            self.left -= self.stream.write(now)
        return written


def joined(parts: Path) -> list[Path]:
    """The parts of a stack in their order, whether they lie as pNNNN/part or as files named by their number."""
    return sorted([*parts.glob("p*/part"), *(file for file in parts.glob("*") if file.is_file())])


def unpack(parts: Path, dest: Path, libs: list[Path], sites: Sequence[Path] = ()) -> None:
    """Put the parts of every stack that is there together and write env.sh for all that are in DEST."""
    arrived = [name for name in versions.get("stacks") if joined(parts / name)]
    if not arrived:
        sys.exit(f"{parts}: no parts are there")
    dest.mkdir(parents=True, exist_ok=True)
    for name in arrived:
        script = 'cat "$@" | xz -dcT0' if shutil.which("xz") else 'cat "$@"'  # on all cores where it is there
        words = ["sh", "-c", script, "sh", *map(str, joined(parts / name))]
        whole = subprocess.Popen(words, stdout=subprocess.PIPE)
        with whole, tarfile.open(fileobj=whole.stdout, mode="r|*") as archive:
            archive.extractall(dest, filter="fully_trusted")
            while whole.stdout.read(
                1 << 16
            ):  # an archive ends before its file does, and who cannot write that end fails
                pass
        if whole.returncode:
            sys.exit(f"{parts / name}: the parts cannot be read")
    lines = [f"export ACCELKIT_CACHE={dest / 'cache'}"]
    for name, stack in versions.get("stacks").items():
        if (dest / "stacks" / name).is_dir():
            lines += install(name, stack, dest, [one for one in sites if f"python{stack['python']}" in one.parts])
    found = [folder for base in libs for folder in sorted({file.parent for file in base.rglob("lib*.so.*")})]
    if found:
        lines += [f"export LD_LIBRARY_PATH={':'.join(map(str, found))}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"]
    (dest / "env.sh").write_text("\n".join(lines) + "\n")
    print(f"now: . {dest / 'env.sh'}")


def install(name: str, stack: dict[str, Any], dest: Path, sites: Sequence[Path]) -> list[str]:
    """Unpack a stack's interpreter and wheels, those that were not yet, and return its lines of env.sh."""
    python, site = dest / f"python-{stack['python']}", dest / "stacks" / name / "site"
    if not python.exists():
        with tarfile.open(python.with_name(f"{python.name}.tar")) as archive:
            archive.extractall(python, filter="fully_trusted")
    executable = python / f"bin/python{stack['python']}"
    env, lines = {**os.environ, "LD_LIBRARY_PATH": str(python / "lib")}, []
    if name == KIT:
        lines += [f"export LD_LIBRARY_PATH={python / 'lib'}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"]
        venv = dest / name
        if not venv.exists():  # it may be in use while another stack is unpacked
            subprocess.run([executable, "-m", "venv", "--without-pip", venv], env=env, check=True)
        site = venv / f"lib/python{stack['python']}/site-packages"
        (site / "checkout.pth").write_text(f"{ROOT}\n")
        lines += [f"export PATH={venv / 'bin'}:$PATH"]
    if not site.exists() and (shared := below(name)):
        link(shared, dest / "stacks" / stack["over"] / "site", site)
    wheels = sorted((dest / "stacks" / name).glob("*.whl"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda wheel: extract(wheel, site), wheels))
    if wheels:  # or else the first import of a large package takes most of a minute
        compiler = [executable, "-m", "compileall", "-q", "-j", "0", site]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(compiler, env=env, check=False, **quiet)
    packages = sites if name == KIT else [site, *sites]
    if packages:
        own = [python / "lib", *sorted(packages[0].glob("nvidia/*/lib")), *filter(Path.is_dir, [site / "tensorrt"])]
        launcher = dest / "stacks" / name / "python"
        searched, libraries = (":".join(map(str, folders)) for folders in (packages, own))
        # That machine's PyTorch ends at a package of AOTInductor unless the C++ library is there before it.
        before = " LD_PRELOAD=libstdc++.so.6" if name == KIT else ""
        launcher.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={searched} LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}{before}\n"
            f'exec {python}/bin/python{stack["python"]} "$@"\n'
        )
        launcher.chmod(0o755)
        for run in stack["runs"]:
            key = run.replace("-", "_").upper()
            lines += [
                f"export ACCELKIT_PYTHON_{key}={launcher}",
                f"export ACCELKIT_LIBS_{key}={libraries}",
            ]
    lines += [f"export {variable}={value}" for variable, value in stack.get("env", {}).items()]
    return lines


def link(packages: list[str], base: Path, site: Path) -> None:
    """Let the files of these packages lie in `site` as they lie in `base`."""
    for package in packages:
        name, _, version = package.replace("-", "_").partition("==")
        record = base / f"{name}-{version}.dist-info/RECORD"
        if not record.is_file():
            sys.exit(f"{base}: {package} is missing: unpack that stack first")
        for row in csv.reader(record.read_text().splitlines()):
            source, target = base / row[0], site / row[0]
            if source.is_file() and not target.exists():  # large wheels were slimmed
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)


def extract(wheel: Path, site: Path) -> None:
    """Unpack a wheel and forget it."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():  # others make the same directories at the same time
                target = site / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)  # it may be another stack's too
                with archive.open(entry) as source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
                if entry.external_attr >> 16 & 0o100:  # such as the assembler that Triton brings
                    target.chmod(0o755)
    for data in site.glob(f"{wheel.name.split('-')[0]}-*.data/*lib"):
        shutil.copytree(data, site, dirs_exist_ok=True)
    wheel.unlink()


def capability(text: str) -> int:
    """Return a compute capability, such as 9.0, times ten."""
    major, minor = map(int, text.split("."))
    return 10 * major + minor


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    there = commands.add_parser("pack")
    there.add_argument("out", type=Path)
    there.add_argument("files", type=Path, nargs="*")
    there.add_argument("--python", action="append", default=[], metavar="MINOR=PREFIX")
    there.add_argument("--stack", action="append", choices=versions.get("stacks"), help="which to pack, all by default")
    there.add_argument("--part-mb", type=int, default=44)
    there.add_argument(
        "--gpu", type=capability, metavar="CAPABILITY", help="of the GPU there, such as 9.0: leaves out others' kernels"
    )
    back = commands.add_parser("unpack")
    back.add_argument("parts", type=Path)
    back.add_argument("dest", type=Path)
    back.add_argument("--libs", type=Path, nargs="*", default=[])
    back.add_argument("--site", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    if given.command == "unpack":
        unpack(given.parts, given.dest.absolute(), given.libs, given.site)
        return
    stacks = given.stack or list(versions.get("stacks"))
    pythons = {minor: Path(prefix) for minor, _, prefix in (text.partition("=") for text in given.python)}
    if lacking := {versions.get("stacks")[name]["python"] for name in stacks} - set(pythons):
        parser.error(f"no --python for {', '.join(sorted(lacking))}")
    pack(given.out, given.part_mb, pythons, given.files, stacks, given.gpu)


if __name__ == "__main__":
    main()
