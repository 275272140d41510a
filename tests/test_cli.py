"""The command line: what it prints, and that a user's mistake is one line and exit code 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from accelkit.errors import MissingPackage

ROOT = Path(__file__).parents[1]
COMMANDS = "bench build compare doctor lessons lint models paths recognize report serve tour".split()


def accelkit(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelkit", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False, timeout=300)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on standard error, exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_every_command_has_help():
    done = accelkit("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
        help_text = accelkit(name, "--help")
        assert help_text.returncode == 0 and help_text.stdout.startswith("Usage: accelkit " + name)


def test_paths_lists_every_path_as_json():
    rows = json.loads(accelkit("paths", "--json").stdout)
    by_name = {row["path"]: row for row in rows}
    assert by_name["onnxruntime-cpu"]["unavailable"] is None
    assert len(rows) >= 12 and all(row["needs"] for row in rows)


def test_models_lists_the_variants():
    assert json.loads(accelkit("models", "--json").stdout)["text_recognition"][:2] == ["small", "full"]
    assert "text_recognition: small, full" in accelkit("models").stdout


def test_doctor_prints_the_machine_and_one_fix_per_problem():
    done = accelkit("doctor", "--json")
    report = json.loads(done.stdout)
    assert report["machine"]["usable_cores"] >= 1
    for check in report["checks"]:
        assert check["state"] in ("ok", "warn", "missing")
        assert check["state"] == "ok" or check["fix"], check


def test_recognize_reads_a_word_from_a_picture(tmp_path: Path):
    from accelkit.models.text_recognition import render

    picture = tmp_path / "word.png"
    render.render("harbour").save(picture)
    done = accelkit("recognize", picture, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"image": str(picture), "word": "harbour"}]


@pytest.mark.parametrize("content", [b"", b"this is no picture", b"\x89PNG\r\n\x1a\n cut"])
def test_recognize_refuses_what_is_no_picture(tmp_path: Path, content: bytes):
    picture = tmp_path / "word.png"
    picture.write_bytes(content)
    refused(accelkit("recognize", picture), str(picture))


def test_recognize_refuses_a_missing_file(tmp_path: Path):
    refused(accelkit("recognize", tmp_path / "none.png"), "none.png")


def test_recognize_says_that_nobody_answers_at_the_url(tmp_path: Path):
    from accelkit.models.text_recognition import render

    render.render("harbour").save(tmp_path / "word.png")
    refused(accelkit("recognize", tmp_path / "word.png", "--url", "127.0.0.1:9"), "127.0.0.1")


@pytest.mark.parametrize("command", ["build", "bench"])
def test_an_unknown_path_is_refused(command: str, tmp_path: Path):
    refused(accelkit(command, "warp-drive", cwd=tmp_path), "warp-drive", "onnxruntime-cpu")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["bench"], "PATH"),
        (["bench", "onnxruntime-cpu", "--batch", "0"], "batch"),
        (["bench", "onnxruntime-cpu", "--batch", "100000"], "at most 1024"),
        (["paths", "--jason"], "--jason"),
        (["paint"], "paint"),
    ],
)
def test_a_wrong_use_is_one_line(arguments: list[str], word: str, tmp_path: Path):
    refused(accelkit(*arguments, cwd=tmp_path), word)
    assert not list(tmp_path.iterdir())


def test_a_wrong_budget_is_refused_before_anything_runs(tmp_path: Path):
    refused(accelkit("tour", cwd=tmp_path, ACCELKIT_BUDGET="huge"), "ACCELKIT_BUDGET=huge")
    assert not list(tmp_path.iterdir())


def test_an_unavailable_path_says_what_it_needs(tmp_path: Path):
    refused(accelkit("build", "vllm", "--repository", tmp_path), "vllm", "GPU")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["bench", "vllm"], ["compare", "--path", "vllm", "--path", "tensorrt-llm:fp32"]])
def test_paths_none_of_which_is_here_are_refused_before_anything_is_measured(command: list[str], tmp_path: Path):
    refused(accelkit(*command, cwd=tmp_path), "nothing to measure", "vllm", "GPU")
    assert not list(tmp_path.iterdir())


def test_lessons_that_are_named_are_listed_and_an_unknown_one_is_refused(tmp_path: Path):
    (row,) = json.loads(accelkit("lessons", "03", "--json").stdout)
    assert row["name"] == "03_onnxruntime_cuda"
    for options in ([], ["--run"], ["--record"]):
        refused(
            accelkit("lessons", "03", "99", *options, "--out", tmp_path / "out"),
            "no lesson '99'",
            "03_onnxruntime_cuda",
        )
    assert not list(tmp_path.iterdir())


def test_an_unknown_variant_is_refused(tmp_path: Path):
    refused(accelkit("build", "onnxruntime-cpu", "--variant", "huge", "--repository", tmp_path), "huge", "small")


def test_every_program_of_the_kit_begins_an_error_alike(tmp_path: Path):
    for program in (
        ["accelkit.engine", "show"],
        ["accelkit.savedmodel", "show"],
        ["accelkit.lessons", "run"],
        ["accelkit", "serve"],
    ):
        done = subprocess.run([sys.executable, "-m", *program, "none"], capture_output=True, text=True, check=False)
        refused(done, "none")
        assert done.stderr.startswith("accelkit: error: ")


def test_a_package_that_lacks_names_what_installs_it():
    assert str(MissingPackage("tensorrt", "gpu", "a plan")).endswith("not installed: make setup HARDWARE=gpu")
    assert str(MissingPackage("treelite", "trees", "a forest")).endswith("not installed: pip install 'accelkit[trees]'")


def test_a_spec_that_ends_in_its_colon_is_refused(tmp_path: Path):
    wanted = "name one behind the colon of onnxruntime-cpu:"
    refused(accelkit("build", "onnxruntime-cpu:", "--repository", tmp_path), wanted, "fp32")
    assert not list(tmp_path.iterdir())


def test_build_writes_model_and_config(tmp_path: Path):
    done = accelkit("build", "onnxruntime-cpu", "--repository", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert Path(built["directory"], "config.pbtxt").exists()
    assert all(Path(file).stat().st_size > 0 for file in built["files"])


def test_models_import_refuses_what_is_no_checkpoint(tmp_path: Path):
    (tmp_path / "weights.pth").write_text("no weights")
    refused(accelkit("models", "import", tmp_path / "weights.pth"), "weights.pth")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_second_run_keeps_the_first_and_says_where(monkeypatch, capsys, tmp_path: Path, as_json: bool):
    from accelkit import cli, comparison, models
    from tests.test_report import BASE

    monkeypatch.setattr(comparison, "compare_all", lambda models, names, out, **load: [BASE])
    for turn in (1, 2):
        cli.measure([models.get()], None, tmp_path / "compare", as_json, batch=16)
        first, *earlier = sorted(tmp_path.iterdir())
        assert len(earlier) == turn - 1 and (first / "results.json").exists()
        assert capsys.readouterr().err.count("are kept in") == turn - 1
    assert (earlier[0] / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["compare", "none.onnx"], "none.onnx: is not there: name an ONNX file"),
        (["compare", "folder"], "folder: is a directory: name an ONNX file"),
        (["compare", "--out", "file"], "'--out': file is a file: name a folder"),
        (["compare", "--out", "file/below"], "'--out': file is a file: name a folder"),
        (["bench", "onnxruntime-cpu", "--out", "file"], "'--out': file is a file: name a folder"),
        (["build", "onnxruntime-cpu", "--repository", "file"], "'--repository': file is a file: name a folder"),
        (["lessons", "03", "--run", "--out", "file"], "'--out': file is a file: name a folder"),
        (["tour", "--out", "file"], "'--out': file is a file: name a folder"),
        (["report", "--results", "folder"], "'--results': File 'folder' is a directory"),
        (
            ["report", "--results", "file"],
            "file: holds no results: name the results.json of a run of `accelkit compare`",
        ),
        (["report", "--out", "folder"], "'--out': File 'folder' is a directory"),
        (["export", "best", "new", "--results", "file"], "file: holds no results: name the results.json"),
    ],
)
def test_a_path_of_the_wrong_kind_is_refused_before_anything_is_built(arguments: list[str], word: str, tmp_path: Path):
    (tmp_path / "file").write_text("no JSON")
    (tmp_path / "folder").mkdir()
    refused(accelkit(*arguments, cwd=tmp_path), word)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_report_without_results_says_what_to_run(tmp_path: Path):
    refused(accelkit("report", cwd=tmp_path), "accelkit compare")


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_report_refuses_what_is_no_summary(tmp_path: Path, content: str):
    (tmp_path / "results.json").write_text("[]")
    (tmp_path / "summary.json").write_text(content)
    refused(accelkit("report", "--results", "results.json", "--summary", "summary.json", cwd=tmp_path), "summary.json")


def test_serve_refuses_a_missing_repository(tmp_path: Path):
    refused(accelkit("serve", "--repository", tmp_path / "none"), "none")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    refused(
        accelkit("build", "onnxruntime-cpu", "--repository", tmp_path / "r", ACCELKIT_CACHE=str(tmp_path / "file")),
        "file",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) in (["file"], ["file", "r"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_urls_and_stops_cleanly(tmp_path: Path, number: signal.Signals):
    assert accelkit("build", "onnxruntime-cpu", "--repository", tmp_path).returncode == 0
    config = tmp_path / "text_recognition_onnxruntime_cpu" / "config.pbtxt"
    config.write_text(config.read_text() + 'parameters { key: "intra_op_threads" value: { string_value: "1" } }\n')
    command = [sys.executable, "-m", "accelkit", "serve", "--repository", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(7)]
        assert lines[0].startswith("warning: ") and '"intra_op_threads"' in lines[0]
        url = next(line.split()[1] for line in lines if "HTTP" in line)
        with urllib.request.urlopen(f"{url}/v2/health/ready") as answer:
            assert answer.status == 200
        process.send_signal(number)
        try:
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
        assert process.stdout.read().strip() == "stopped"
        assert process.stderr.read() == ""
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/v2/health/ready", timeout=2)
