"""tests/gpu/offline.py: parts come together again, wheels lose what is not used, an environment is written."""

import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from accelkit import versions
from tests.gpu import offline, slim


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def prefix(tmp_path):
    """An interpreter that can do no more than say that it was asked for an environment."""
    made = {}
    for minor in sorted({stack["python"] for stack in versions.get("stacks").values()}):
        made[minor] = tmp_path / f"prefix-{minor}"
        (made[minor] / "lib/test").mkdir(parents=True)
        (made[minor] / "lib/test/large.py").write_text("")
        (made[minor] / "include").mkdir()
        (made[minor] / f"lib/libpython{minor}.so.1.0").write_text("")
        (made[minor] / "bin").mkdir()
        executable = made[minor] / f"bin/python{minor}"
        executable.write_text(
            '#!/bin/sh\n[ "$2" = venv ] && mkdir -p "$4/lib/python3.12/site-packages" "$4/bin"\necho "$PYTHONPATH"\n'
        )
        executable.chmod(0o755)
    return made


def test_what_is_packed_here_is_an_environment_there(prefix, tmp_path, monkeypatch):
    def download(arguments, minor, folder, glibc=0):
        if not any("pytriton" in one for one in arguments):
            wheel(folder / "one-1-py3-none-any.whl", {"one.py": b"x = 1", "one-1.data/purelib/two.py": b"y = 2"})
            wheel(folder / "nvidia_cublas-1-py3-none-any.whl", {"nvidia/cublas/lib/libcublas.so.12": b"so"})
        else:
            wheel(folder / "nvidia_pytriton-1-py3-none-any.whl", {"server": os.urandom(9000)})

    monkeypatch.setattr(offline, "download", download)
    (tmp_path / "int8.onnx").write_bytes(b"onnx")
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/libcudart.so.13").write_text("")
    monkeypatch.setattr(offline, "MB", 1000)
    offline.pack(tmp_path / "out", 4, prefix, [tmp_path / "int8.onnx"], ["tensorrt8"])
    dest = tmp_path / "dest"
    with monkeypatch.context() as without:  # a machine without xz has Python's own
        without.setattr(offline.shutil, "which", lambda name: None)
        offline.unpack(tmp_path / "out", dest, [])  # what has arrived is of use before the rest is there
    assert "ACCELKIT_PYTHON_TENSORRT=" in (dest / "env.sh").read_text() and not (dest / "kit").exists()
    offline.pack(tmp_path / "out", 4, prefix, [tmp_path / "int8.onnx"], ["kit"])
    parts = sorted((tmp_path / "out/kit").glob("p*/part"))
    assert len(parts) > 2 and all(part.stat().st_size == 4000 for part in parts[:-1])
    for number, part in enumerate(parts):  # as they may lie on the far side
        part.rename(tmp_path / "out/kit" / f"{number:02d}")
    offline.unpack(tmp_path / "out", dest, [tmp_path / "cuda"])
    site = dest / "kit/lib/python3.12/site-packages"
    assert (site / "one.py").exists() and (site / "two.py").exists() and not list(dest.rglob("*.whl*"))[1:]
    assert (site / "checkout.pth").read_text().strip() == str(offline.ROOT)
    assert (dest / "cache/models/int8.onnx").read_bytes() == b"onnx" and list(
        (dest / "cache/wheels").glob("nvidia_pytriton*")
    )
    assert not list(dest.rglob("large.py"))
    said = subprocess.run(
        ["sh", "-c", f". {dest}/env.sh; env; $ACCELKIT_PYTHON_TENSORRT"], capture_output=True, text=True
    )
    values = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    own = dest / "stacks/tensorrt8/site"
    assert said.stdout.splitlines()[-1] == str(own)
    assert values["ACCELKIT_PYTHON_TENSORRT"] == values["ACCELKIT_PYTHON_ONNXRUNTIME_TENSORRT"]
    assert str(own / "nvidia/cublas/lib") in values["ACCELKIT_LIBS_TENSORRT"].split(":")
    assert str(tmp_path / "cuda") in values["LD_LIBRARY_PATH"] and values["ACCELKIT_CACHE"] == str(dest / "cache")
    assert values["PATH"].split(":")[0] == str(dest / "kit/bin")


def test_a_stack_sets_what_its_programs_read(prefix, tmp_path):
    (tmp_path / "python-3.12").mkdir()
    (tmp_path / "stacks/vllm").mkdir(parents=True)
    stack = {"python": "3.12", "runs": ["vllm"], "env": {"VLLM_HOST_IP": "127.0.0.1"}}
    lines = offline.install("vllm", stack, tmp_path, [])
    assert lines[-1] == "export VLLM_HOST_IP=127.0.0.1" and lines[0].startswith("export ACCELKIT_PYTHON_VLLM=")


def test_packages_that_lie_there_run_what_the_kit_has_none_for(prefix, tmp_path):
    """A newer PyTorch than the stacks', by the kit's Python; without --site nothing claims to be one."""
    for folder in ("python-3.12", "stacks/kit", "kit/lib/python3.12/site-packages", "there/nvidia/cu13/lib"):
        (tmp_path / folder).mkdir(parents=True)
    stack = versions.get("stacks")["kit"]
    assert not [line for line in offline.install("kit", stack, tmp_path, []) if "ACCELKIT_PYTHON" in line]
    lines = offline.install("kit", stack, tmp_path, [tmp_path / "there"])
    launcher = tmp_path / "stacks/kit/python"
    assert f"export ACCELKIT_PYTHON_PYTORCH_AOTI={launcher}" in lines and os.access(launcher, os.X_OK)
    assert f"PYTHONPATH={tmp_path / 'there'} LD_LIBRARY_PATH={tmp_path / 'python-3.12/lib'}:" in launcher.read_text()
    assert str(tmp_path / "there/nvidia/cu13/lib") in launcher.read_text()
    assert " LD_PRELOAD=libstdc++.so.6\n" in launcher.read_text()


def test_what_two_stacks_pin_alike_travels_once(prefix, tmp_path, monkeypatch):
    """And may be replaced in one of them without harm to the other; a program stays one."""
    asked = []

    def download(arguments, minor, folder, glibc=0):
        asked.append(arguments)
        if len(asked) == 1:
            record = "shared.py,,\nshared_too.py,,\nshared-1.dist-info/RECORD,,\n"
            files = {"shared.py": b"x = 1", "shared_too.py": b"x = 1", "shared-1.dist-info/RECORD": record.encode()}
            wheel(folder / "shared-1-py3-none-any.whl", files)
            return
        made = wheel(folder / "own-1-py3-none-any.whl", {"own.py": b"y = 2", "shared.py": b"x = 3"})
        tool = zipfile.ZipInfo("bin/tool")
        tool.external_attr = 0o755 << 16
        with zipfile.ZipFile(made, "a") as archive:
            archive.writestr(tool, "#!/bin/sh")

    monkeypatch.setattr(offline, "download", download)
    monkeypatch.setattr(
        offline, "pins", {"tensorrt8": ["shared==1"], "torch_tensorrt": ["own==1", "shared==1"]}.__getitem__
    )
    offline.pack(tmp_path / "out", 1, prefix, [], ["tensorrt8", "torch_tensorrt"])
    assert asked == [["shared==1"], ["own==1"]]
    with pytest.raises(SystemExit, match="shared==1 is missing: unpack that stack first"):
        alone = tmp_path / "alone"
        alone.mkdir()
        (tmp_path / "out/torch_tensorrt").rename(alone / "torch_tensorrt")
        offline.unpack(alone, tmp_path / "none", [])
    (alone / "torch_tensorrt").rename(tmp_path / "out/torch_tensorrt")
    there = tmp_path / "lib/python3.10/site-packages"
    offline.unpack(tmp_path / "out", tmp_path / "dest", [], [there, tmp_path / "lib/python3.12/site-packages"])
    said = subprocess.run([tmp_path / "dest/stacks/torch_tensorrt/python"], capture_output=True, text=True).stdout
    assert said.strip().split(":")[1:] == [str(there)]
    base, site = (tmp_path / "dest/stacks" / name / "site" for name in ("tensorrt8", "torch_tensorrt"))
    assert (base / "shared.py").read_text() == "x = 1" and (site / "shared.py").read_text() == "x = 3"
    assert (site / "shared_too.py").samefile(base / "shared_too.py")
    assert os.access(site / "bin/tool", os.X_OK) and not os.access(site / "own.py", os.X_OK)


def test_a_large_wheel_loses_what_inference_does_not_need(tmp_path, monkeypatch):
    monkeypatch.setattr(slim, "LARGE", 500)
    files = {"x/lib/libcudnn_cnn_infer.so.8": b"a" * 5000, "x/lib/libcudnn_cnn_train.so.8": b"b", "x/include/a.h": b"c"}
    files |= {"tensorflow/_api/v2/test/__init__.py": b"d", "tensorflow/python/tests/large.py": b"e"}
    made = wheel(tmp_path / "x-1-py3-none-any.whl", files)
    slim.wheel(made)
    assert zipfile.ZipFile(made).namelist() == ["x/lib/libcudnn_cnn_infer.so.8", "tensorflow/_api/v2/test/__init__.py"]


PTX, CODE = 1, 2


def fat(*entries: tuple[int, int, bytes]) -> bytes:
    """A fat binary of entries: kind, compute capability, what the driver would load."""
    inside = b""
    for kind, capability, data in entries:
        inside += struct.pack("<HHIQ12xI32x", kind, 0x101, 64, len(data), capability) + data
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(inside)) + inside


def test_kernels_for_other_gpus_are_zeroed_where_they_lie_and_nothing_else():
    native = fat((CODE, 80, b"a" * 64), (CODE, 90, b"b" * 64), (PTX, 90, b"c" * 64))
    later = fat((PTX, 75, b"d" * 64), (PTX, 80, b"e" * 64), (CODE, 80, b"f" * 64), (PTX, 100, b"g" * 64))
    looks = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 1 << 40)
    whole = b"ELF" + native + looks + b"code" + later + b"end"
    made = bytearray(whole)
    assert slim.prune(made, 90) == 5 * 64 and len(made) == len(whole)
    kept = whole
    for letter in b"acdfg":
        kept = kept.replace(bytes([letter]) * 64, bytes(64))
    assert made == kept and b"b" * 64 in made and b"e" * 64 in made
    made = bytearray(whole)
    slim.prune(made, 86)  # runs what is for 8.0
    assert b"a" * 64 in made and b"f" * 64 in made and not any(bytes([letter]) * 64 in made for letter in b"bcdeg")


def test_a_library_that_proves_itself_stays_whole(tmp_path, monkeypatch):
    """TensorRT's builder refuses kernels whose digest is another."""
    monkeypatch.setattr(slim, "LARGE", 0)
    library = fat((CODE, 80, os.urandom(64)))
    made = wheel(
        tmp_path / "x.whl", {"tensorrt/libnvinfer.so.8": library, "nvidia/cublas/lib/libcublas.so.12": library}
    )
    slim.wheel(made, 90)
    with zipfile.ZipFile(made) as archive:
        assert archive.read("tensorrt/libnvinfer.so.8") == library
        assert archive.read("nvidia/cublas/lib/libcublas.so.12") != library
    assert offline.capability("9.0") == 90


def test_a_folder_with_something_else_is_kept_and_one_without_parts_is_missed(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds other things than parts"):
        offline.pack(tmp_path, 44, {}, [], [])
    assert (tmp_path / "mine.txt").exists()
    with pytest.raises(SystemExit, match="no parts are there"):
        offline.unpack(tmp_path / "none", tmp_path / "dest", [])


def test_an_interpreter_that_is_not_named_is_missed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["offline.py", "pack", "out", "--python", "3.12=/nowhere"])
    with pytest.raises(SystemExit) as end:
        offline.main()
    assert end.value.code == 2 and "no --python for 3.10" in capsys.readouterr().err
