"""What FasterTransformer's ideas, files, parameters and tensors are called in TensorRT-LLM and vLLM: the table of migration.toml."""

from __future__ import annotations

from pathlib import Path

from accelkit.versions import tomllib

COLUMNS = {"fastertransformer": "FasterTransformer", "tensorrt_llm": "TensorRT-LLM", "vllm": "vLLM"}
KINDS = ("concept", "file", "parameter", "request", "answer")


def rows() -> list[dict[str, str]]:
    """Return the rows: kind, what, and a cell for each of the three."""
    found = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return found["row"]


def markdown(kinds: tuple[str, ...] = KINDS) -> str:
    """Return the rows of these kinds as a table in Markdown."""
    lines = ["| | | " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * (2 + len(COLUMNS))]
    for kind in kinds:
        for row in rows():
            if row["kind"] == kind:
                lines.append(f"| {kind} | {row['what']} | " + " | ".join(row[name] for name in COLUMNS) + " |")
    return "\n".join(lines)
