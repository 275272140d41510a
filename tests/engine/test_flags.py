"""`python -m accelkit.engine flags`: command lines of trtexec 8.6 and 10 as 10 and 11 read them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from accelkit.engine import __main__ as command
from accelkit.engine import flags
from accelkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SHAPES = "--minShapes=x:1x3x8x8 --optShapes=x:4x3x8x8 --maxShapes=x:8x3x8x8"


def line(text: str, old: str = "8.6", new: str = "11") -> tuple[str, list[str]]:
    """The flags of the new line, and its notes."""
    found = flags.translate(["trtexec", *shlex.split(text)], old, new)
    assert found.words[0] == "trtexec"
    return shlex.join(found.words[1:]), list(found.notes)


def test_a_line_of_8_6_that_builds_is_one_of_10_and_then_of_11():
    old = f"--onnx=m.onnx --explicitBatch --workspace=4096 --fp16 {SHAPES} --saveEngine=m.plan --buildOnly"
    built = f"{SHAPES} --saveEngine=m.plan --skipInference"
    to_10, notes = line(old, new="10")
    assert to_10 == f"--onnx=m.onnx --memPoolSize=workspace:4096 --fp16 {built}"
    assert [note.split()[0] for note in notes] == ["--explicitBatch", "--workspace", "--buildOnly"]
    to_11, more = line(to_10, "10")
    assert to_11 == f"--onnx=m.onnx --memPoolSize=workspace:4096 {built}" and line(old) == (to_11, notes + more)
    assert more[0].startswith("11 types every network strongly")
    assert more[1:] == ["--fp16 is gone in 11: nothing stands in its place, the ONNX file must carry the precision"]


@pytest.mark.parametrize("flag", ["--fp16", "--bf16", "--int8", "--fp8", "--int4", "--best"])
def test_no_flag_of_11_asks_for_a_precision(flag):
    made, notes = line(f"--onnx=m.onnx --stronglyTyped {flag} --skipInference", "10")
    assert made == "--onnx=m.onnx --skipInference" and any(note.startswith(f"{flag} is gone in 11") for note in notes)
    assert any("ONNX file must carry the precision" in note for note in notes)
    assert not any("types every network" in note for note in notes)


def test_calibration_becomes_a_word_about_quantizers():
    made, notes = line(
        "--onnx=m.onnx --int8 --calib=c.cache --minShapesCalib=x:1 --optShapesCalib=x:1 --maxShapesCalib=x:1"
    )
    assert made == "--onnx=m.onnx" and sum("Q/DQ" in note for note in notes) == 4


def test_11_measures_in_another_way_and_the_line_is_told_how_to_go_back():
    made, notes = line("--loadEngine=m.plan --shapes=x:1x3", "10")
    assert made == "--loadEngine=m.plan --shapes=x:1x3"
    for back in ("--noCudaGraph", "--noSpinWait", "--includeDataTransfers"):
        assert sum(f"add {back}" in note for note in notes) == 1
    assert notes[-1].startswith("--loadEngine: a plan loads only with the TensorRT that built it")
    asked = "--useCudaGraph --useSpinWait --noDataTransfers --separateProfileRun"
    made, notes = line(f"--onnx=m.onnx --stronglyTyped {asked}", "10")
    assert made == "--onnx=m.onnx" and notes == [
        f"{flag} is left out: it is always so in 11" for flag in ["--stronglyTyped", *asked.split()]
    ]
    assert not [note for note in line("--onnx=m.onnx", new="10")[1] if "11" in note]


def test_what_has_another_name_keeps_its_value():
    for old, new in {
        "--nvtxMode=verbose": "--profilingVerbosity=detailed",
        "--nvtxMode=default": "--profilingVerbosity=layer_names_only",
        "--nvtxMode=none": "--profilingVerbosity=none",
        "--heuristic": "--builderOptimizationLevel=2",
        "--heuristic --builderOptimizationLevel=1": "--builderOptimizationLevel=1",
        "--workspace=64 --memPoolSize=dlaSRAM:1": "--memPoolSize=dlaSRAM:1,workspace:64",
        "--workspace=64 --memPoolSize=workspace:32": "--memPoolSize=workspace:32",
        "--buildOnly --skipInference": "--skipInference",
        "--preview=+profileSharing0806,-fasterDynamicShapes0805": "--preview=+profileSharing0806",
        "--preview=+fasterDynamicShapes0805": "",
        "--minTiming=2 --avgTiming=4": "--avgTiming=4",
    }.items():
        made, notes = line(f"--onnx=m.onnx {old}", new="10")
        assert made == f"--onnx=m.onnx {new}".strip() and notes
    assert line("--onnx=m.onnx --weightless", "10")[0] == "--onnx=m.onnx --stripWeights"
    assert line("--onnx=m.onnx --tacticSources=-CUBLAS,+JIT_CONVOLUTIONS")[0].endswith(
        "--tacticSources=+JIT_CONVOLUTIONS"
    )


def test_every_flag_comes_out_as_one_that_the_new_version_reads():
    steps = [("8.6", "10"), ("8.6", "11"), ("10", "11")]
    for old, new in steps:
        for flag in flags.FLAGS[old] - set(flags.ONLY_ONNX):
            found = flags.translate(["trtexec", f"{flag}=1"], old, new)
            assert {word.split("=")[0] for word in found.words[1:]} <= flags.FLAGS[new], flag
            assert found.words[1:] == (f"{flag}=1",) or any(flag in note for note in found.notes), flag
    for version in ("10", "11"):
        before = flags.FLAGS[flags.VERSIONS[flags.VERSIONS.index(version) - 1]]
        accepted = {flag for flag, (_, why) in flags.GONE[version].items() if why == "always so"}
        assert before - flags.FLAGS[version] == set(flags.GONE[version]) - accepted | (
            set(flags.ONLY_ONNX) if version == "10" else set()
        )


@pytest.mark.parametrize(
    ("old", "new", "words", "reason"),
    [
        ("8.6", "9", "trtexec --onnx=m", "there are 8.6, 10, 11"),
        ("11", "10", "trtexec --onnx=m", "for a newer version only"),
        ("10", "10", "trtexec --onnx=m", "for a newer version only"),
        ("8.6", "10", "", "nothing is no line of trtexec"),
        ("8.6", "10", "--onnx=m", "'--onnx=m' is no line|--onnx=m is no line"),
        ("8.6", "10", "trtexec", "without a flag does nothing"),
        ("8.6", "10", "trtexec --onnx m.onnx", "'m.onnx' is no flag.*--flag=value"),
        ("8.6", "10", "trtexec --fp61", "trtexec 8.6 has no flag --fp61"),
        ("8.6", "11", "trtexec --stronglyTyped", "trtexec 8.6 has no flag --stronglyTyped"),
        ("8.6", "10", "trtexec --workspace=4G", "--workspace=4G: .*MiB"),
        ("8.6", "10", "trtexec --workspace", "--workspace=: .*MiB"),
        ("8.6", "10", "trtexec --workspace=x --memPoolSize=dlaSRAM:1", "--workspace=x: .*MiB"),
        ("8.6", "10", "trtexec --uff=m.uff --output=y", "--uff: TensorRT 10 reads ONNX files only"),
        ("8.6", "11", "trtexec --deploy=m --output=y", "--deploy: TensorRT 10 reads ONNX files only"),
    ],
)
def test_what_cannot_be_translated_is_said(old, new, words, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        flags.translate(words.split(), old, new)
    assert "\n" not in str(error.value)


def test_the_command_prints_a_line_for_the_shell_and_its_notes_as_comments(capsys):
    words = ["/usr/src/tensorrt/bin/trtexec", "--onnx=my model.onnx", "--int8", "--buildOnly"]
    assert command.main(["flags", "--from", "8.6", "--to", "11", "--", *words]) == 0
    out, err = capsys.readouterr()
    first, *notes = out.splitlines()
    assert shlex.split(first) == [words[0], "--onnx=my model.onnx", "--skipInference"] and not err
    assert notes and all(note.startswith("# ") for note in notes) and any("--int8 is gone" in note for note in notes)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "9", "--to", "11", "--", "trtexec", "--onnx=m"],
        ["--from", "11", "--to", "8.6", "--", "trtexec", "--onnx=m"],
        ["--from", "8.6", "--to", "11", "trtexec", "--onnx=m"],
        ["--from", "8.6", "--to", "11", "--", "trtexec", "--onnx", "m"],
        ["--from", "8.6", "--to", "11"],
        ["--to", "11", "--", "trtexec", "--onnx=m"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments):
    run = [sys.executable, "-m", "accelkit.engine", "flags", *arguments]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("accelkit: error: ") and done.stderr.count("\n") == 1, done.stderr
