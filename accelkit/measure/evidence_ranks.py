"""Evidence of a large transformer: what each rank held, in which element type, and what ranks said to each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure.evidence import Evidence

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def from_ranks(directory: Path) -> Evidence:
    """Read what the instances of one served GPT wrote at their end; MeasureError when no rank generated an id.

    MeasureError also when the ranks of an instance do not hold equal parts of what is cut, or when a layer had other than two
    all-reduces for each step of tensor parallelism.
    """
    files = sorted(directory.rglob("*.transformer"))
    nodes: dict[str, int] = {}
    how, observed = set(), set()
    try:
        for facts in map(json.loads, map(Path.read_text, files)):
            ran = [rank for rank in facts["ranks"] if rank["ids"]]
            if not ran:
                continue
            _balanced(facts, ran)
            for rank in ran:
                kind = f"{rank['device'].partition(':')[0]} layer {rank['dtype']}"
                nodes[kind] = nodes.get(kind, 0) + rank["layers"]
                observed.add(DTYPES[rank["dtype"]])
            how.add(
                f"tensor parallel {facts['tensor_para']}, pipeline parallel {facts['pipeline_para']}, {ran[0]['transport']}, "
                f"{ran[0]['split'] / 1e6:.2f} MB of the cut weights on each of {len(ran)} ranks"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{directory}: holds no report of ranks: {error}") from None
    if not nodes:
        raise MeasureError(
            f"{directory}: {len(files)} reports of ranks and no generated id in them: nothing proves what ran"
        )
    return Evidence(f"report of the served ranks: {'; '.join(sorted(how))}", nodes, "+".join(sorted(observed)))


def from_engines(directory: Path) -> Evidence:
    """Read what the instances of one model on vLLM wrote at their end; MeasureError when none wrote an id."""
    files, nodes, how, observed = sorted(directory.rglob("*.vllm")), dict[str, int](), set[str](), set[str]()
    try:
        for facts in map(json.loads, map(Path.read_text, files)):
            if not facts["ids"]:
                continue
            kind = f"vLLM rank {facts['dtype']}"
            nodes[kind] = nodes.get(kind, 0) + facts["tensor_para"] * facts["pipeline_para"]
            observed.add(DTYPES[facts["dtype"]])
            how.add(
                f"vLLM {facts['vllm']}, tensor parallel {facts['tensor_para']}, pipeline parallel {facts['pipeline_para']}"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{directory}: holds no report of vLLM: {error}") from None
    if not nodes:
        raise MeasureError(
            f"{directory}: {len(files)} reports of vLLM and no written id in them: nothing proves what ran"
        )
    return Evidence(f"report of the served engines: {'; '.join(sorted(how))}", nodes, "+".join(sorted(observed)))


def _balanced(facts: dict[str, Any], ran: list[dict[str, Any]]) -> None:
    held = {rank["split"] for rank in ran}
    if len(held) != 1 or len(ran) != facts["tensor_para"] * facts["pipeline_para"]:
        raise MeasureError(f"the ranks hold {sorted(held)} bytes of the cut weights: each should hold an equal part")
    for rank in ran:
        wanted = 2 * rank["layers"] * rank["steps"] if facts["tensor_para"] > 1 else 0
        if (got := rank["calls"].get("all_reduce", 0)) != wanted:
            raise MeasureError(
                f"rank {rank['rank']} made {got} all-reduces, two for each of its layers and steps are {wanted}"
            )
