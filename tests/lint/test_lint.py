"""lint: places, bad input, the command's output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import saved_model_bytes

from accelkit import lint
from accelkit.errors import ConfigError

CLEAN = 'name: "clean"\nbackend: "onnxruntime"\ninstance_group [ { kind: KIND_CPU count: 1 } ]\n'
SILENT = """# intra_op_threads is what everybody writes
name: "silent"
backend: "onnxruntime"
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters { key: "intra_op_threads" value: { string_value: "2" } }
"""
BROKEN = 'name: "broken"\nbackend: "onnxruntime"\nmax_batch_size: many\n'
ALONE = (
    'backend: "onnxruntime"\noptimization { execution_accelerators { cpu_execution_accelerator: [ { name: "x" } ] } }\n'
)


def add(folder: Path, **configs: str) -> Path:
    """A repository of these configs, each with a model file."""
    for name, text in configs.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.onnx").touch()
        (folder / name / "config.pbtxt").write_text(text)
    return folder


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command and what it said."""
    command = [sys.executable, "-m", "accelkit", "lint", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_finding_names_the_line_and_not_a_comment(tmp_path):
    (found,) = lint.file(add(tmp_path, silent=SILENT) / "silent" / "config.pbtxt")
    assert found.place == f"{tmp_path}/silent/config.pbtxt:5"


def test_errors_come_first(tmp_path):
    severities = [found.severity for found in lint.file(add(tmp_path, alone=ALONE) / "alone" / "config.pbtxt")]
    assert severities == ["error", "warning"]


def test_a_config_that_does_not_parse_is_a_finding_and_hides_no_other(tmp_path):
    done = run(add(tmp_path, broken=BROKEN, silent=SILENT))
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and len(lines) == 2
    assert f"{tmp_path}/broken/config.pbtxt:3:17: error syntax: Couldn't parse integer: many" in lines[0]
    assert "warning unknown-parameter" in lines[1]


@pytest.mark.parametrize(
    ("configs", "code"), [({"clean": CLEAN}, 0), ({"silent": SILENT}, 0), ({"clean": CLEAN, "alone": ALONE}, 1)]
)
def test_the_exit_code_says_whether_errors_were_found(tmp_path, configs, code):
    done = run("--repository", add(tmp_path, **configs))
    errors = sum(": error " in line for line in done.stdout.splitlines())
    assert done.returncode == code and bool(errors) == bool(code)
    assert done.stderr.startswith(f"configs: {len(configs)}, errors: {errors}, warnings: ")
    assert len(done.stderr.splitlines()) == 1
    assert bool(done.stdout) == (set(configs) != {"clean"})


def test_what_is_meant_may_be_a_file_a_model_or_a_repository(tmp_path):
    add(tmp_path, clean=CLEAN, silent=SILENT)
    every = [tmp_path / name / "config.pbtxt" for name in ("clean", "silent")]
    assert lint.configs([tmp_path]) == every
    assert lint.configs([tmp_path / "clean", every[1], tmp_path]) == every
    with pytest.raises(ConfigError, match="name a file, a model's directory or a repository"):
        lint.configs([tmp_path / "clean" / "1"])


@pytest.mark.parametrize("arguments", [["nowhere"], ["--era", "bronze"], ["--repository", "nowhere"]])
def test_bad_input_is_one_line_and_exit_code_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not done.stdout


def test_a_file_that_cannot_be_read_is_a_finding_and_hides_no_other(tmp_path):
    add(tmp_path, binary="", inside="", silent=SILENT)
    (tmp_path / "binary/config.pbtxt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "inside/config.pbtxt").unlink()
    (tmp_path / "inside/config.pbtxt").mkdir()
    done = run(tmp_path)
    binary, inside, silent = done.stdout.splitlines()
    assert done.returncode == 1 and done.stderr == "configs: 3, errors: 2, warnings: 1, remarks: 0\n"
    assert binary.startswith(f"{tmp_path}/binary/config.pbtxt: error syntax: cannot be read: 'utf-8' codec")
    assert inside.startswith(f"{tmp_path}/inside/config.pbtxt: error syntax: cannot be read: Is a directory")
    assert "silent/config.pbtxt:5: warning unknown-parameter" in silent


def test_an_era_is_asked_for_alone(tmp_path):
    add(tmp_path, old='platform: "tensorflow_savedmodel"\n')
    (tmp_path / "old/1/model.savedmodel").mkdir()
    (tmp_path / "old/1/model.savedmodel/saved_model.pb").write_bytes(saved_model_bytes.plain())
    assert "(era bridge, current)" in run(tmp_path).stdout
    assert run("--era", "legacy", tmp_path).returncode == 0
    alone = run("--era", "current", tmp_path)
    assert alone.returncode == 1 and "era" not in alone.stdout.split("which no server of this era has")[1].split(";")[0]


def test_models_not_built_are_counted_in_one_line_unless_all_or_one_are_asked_for(tmp_path):
    add(tmp_path, silent=SILENT)
    for name in ("trees_fil", "text_recognition_onnxruntime_cpu", "text_recognition_openvino_int8"):
        (tmp_path / name / "configs").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(CLEAN.replace("clean", name))
    few, every, one = run(tmp_path), run(tmp_path, "--verbose"), run(tmp_path / "trees_fil" / "config.pbtxt")
    (line,) = few.stdout.splitlines()
    assert "silent/config.pbtxt:5: warning" in line
    counts, unbuilt = few.stderr.splitlines()
    assert counts == "configs: 4, errors: 0, warnings: 1, remarks: 3"
    cpu = f"{tmp_path}/text_recognition_onnxruntime_cpu/config.pbtxt:2"
    fix = f"build the model into it: accelkit build onnxruntime-cpu --repository {tmp_path}"
    assert unbuilt == f"3 of the remarks are models not built yet, such as {cpu} ({fix}); --verbose names all"
    assert every.stderr == counts + "\n" and every.stdout.count(" info not-built: ") == 3
    assert f"accelkit build openvino:int8 --repository {tmp_path}\n" in every.stdout
    assert f"accelkit build fil --model trees --repository {tmp_path}\n" in one.stdout
    assert len(json.loads(run(tmp_path, "--json").stdout)) == 4


def test_json_holds_every_field(tmp_path):
    rows = json.loads(run(add(tmp_path, silent=SILENT), "--json").stdout)
    assert [sorted(row) for row in rows] == [["eras", "fix", "place", "rule", "severity", "what", "why"]]
    assert json.loads(run(add(tmp_path / "clean", clean=CLEAN), "--json").stdout) == []


def test_a_file_is_held_against_the_eras_that_it_names_unless_another_is_asked_for(tmp_path):
    gone = 'name: "gone"\nplatform: "tensorflow_savedmodel"\n'
    folder = add(tmp_path, gone=gone) / "gone"
    (folder / "1/model.savedmodel").mkdir()
    (folder / "1/model.savedmodel/saved_model.pb").write_bytes(b"")
    config = folder / "config.pbtxt"
    assert lint.named(gone) == lint.ERAS and "platform-gone" in [found.rule for found in lint.file(config)]
    config.write_text("# It loads in servers of one era (legacy).\n" + gone)
    assert lint.named(config.read_text()) == ("legacy",)
    assert "platform-gone" not in [found.rule for found in lint.file(config)]
    assert "platform-gone" in [found.rule for found in lint.file(config, ["current"])]
    assert lint.named("# in all eras (legacy, bridge, current)") == lint.ERAS
    assert run("--era", "current", config).returncode == 1
