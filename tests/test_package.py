"""What the package promises as a whole: its public names, its light import, its size."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import accelkit

PACKAGE = Path(accelkit.__file__).parent
PUBLIC = [
    "AccelkitError",
    "ConfigError",
    "LessonError",
    "Load",
    "MeasureError",
    "MissingPackage",
    "ModelError",
    "RequestError",
    "Result",
    "Server",
    "ServerError",
    "ToolchainError",
    "advise",
    "compare",
    "get_model",
    "get_path",
    "probe",
    "table",
]
HEAVY = (
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "tritonclient",
    "google",
    "PIL",
    "matplotlib",
    "jinja2",
    "IPython",
    "click",
    "tqdm",
)
LIMIT = 5_000
"""Lines of code that a reader of the machinery meets: everything but the rooms, of which every path and model has one."""
ROOMS = {"paths": 120, "models": 700, "engine": 600, "torchfiles": 400, "savedmodel": 600, "lint": 1100}


def test_public_names_are_pinned():
    assert accelkit.__all__ == PUBLIC
    assert dir(accelkit) == PUBLIC
    for name in PUBLIC:
        assert callable(getattr(accelkit, name)), name


def test_an_unknown_name_is_an_attribute_error():
    try:
        accelkit.no_such_name  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError("an unknown name was found")


def test_the_function_compare_is_not_shadowed_by_a_module():
    code = "import accelkit.comparison, accelkit.cli, accelkit; assert callable(accelkit.compare), accelkit.compare"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_loads_no_framework():
    code = "import sys, accelkit; print(' '.join(sorted(name for name in sys.modules if '.' not in name)))"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True, cwd=PACKAGE.parent
    ).stdout.split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_no_usage_data_is_sent_unless_the_user_wants_it(monkeypatch, before, after):
    name = "ORT_DISABLE_TELEMETRY"
    monkeypatch.delenv(name, raising=False)
    if before:
        monkeypatch.setenv(name, before)
    code = f"import os, accelkit; print(os.environ['{name}'])"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == after
    )


def test_openvino_and_nncf_report_nothing_and_leave_nothing_in_the_home_directory(tmp_path):
    code = "import accelkit, openvino.tools.ovc, nncf.telemetry, sys; print(sys.modules['openvino_telemetry'])"
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=home)
    assert done.stdout.strip() == "None" and not list(tmp_path.iterdir())


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank line, no comment, no docstring."""
    source = path.read_text()
    lines: set[int] = set()
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            text = node.body[0]
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(lines)


def modules() -> list[Path]:
    """All but the stand-in backends and the programs that made the shipped assets, which no lesson runs."""
    left_out = {"backends", "training"}
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not left_out & set(path.relative_to(PACKAGE).parts)]


def room(path: Path) -> str | None:
    """Name of the room that a module belongs to, which grows with what the kit offers; None for the machinery.

    A path's module, a model's package or a module that makes files of models, plans of TensorRT, files of PyTorch, SavedModels, the
    linter's rules.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] in ("paths", "models") and parts[1:] != ("__init__",):
        return "/".join(parts[:2])
    return parts[0] if parts[0] in ("engine", "torchfiles", "savedmodel", "lint") else None


def test_the_package_stays_small_enough_to_read():
    sizes: dict[str | None, int] = {}
    for path in modules():
        sizes[room(path)] = sizes.get(room(path), 0) + code_lines(path)
    machinery = sizes.pop(None)
    assert 500 < machinery < LIMIT, f"{machinery} lines of code without the backends, the paths and the models"
    assert {"paths/onnxruntime_cpu", "models/text_recognition"} <= set(sizes)
    large = {name: size for name, size in sizes.items() if name and size > ROOMS[name.split("/")[0]]}
    assert not large, f"rooms with too many lines of code: {large}"


def test_every_module_and_public_function_says_what_it_is():
    silent = []
    for path in modules():
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(path))
        for node in tree.body:
            if (
                isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{path}:{node.lineno} {node.name}")
    assert not silent
