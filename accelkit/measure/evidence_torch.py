"""Evidence of what ran in PyTorch: operators and kernels by its profiler, engines of TensorRT in its graph."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure import kernels
from accelkit.measure.evidence import PRECISIONS, Evidence, weighed
from accelkit.torchfiles.partition import ENGINE

TYPES = {**PRECISIONS, "c10::Half": "fp16", "c10::BFloat16": "bf16", "signed char": "int8", "unsigned char": "int8"}
"""Names of element types in a profile of PyTorch."""
MULTIPLIES = re.compile(r"conv|addmm|::mm|::bmm|linear|matmul|gemm|einsum", re.IGNORECASE)
TF32_SINCE = 8
"""Major compute capability of the first GPUs that have TF32."""


def from_pytorch(directory: Path) -> Evidence:
    """Read what the instances of one served model wrote at their end; MeasureError when none shows an executed operator.

    On a CPU the precision is that of the operators' time. On a GPU it is that of the kernels that multiply, by their names,
    and where the profiler saw none by the operators: 32-bit floats are TF32 where the GPU has it and PyTorch may use it.
    """
    found = _reports(directory)
    kinds: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    hows: set[str] = set()
    for facts in (one for one in found if one["operators"] or one["kernels"]):  # some instances were asked nothing
        on_gpu = facts["device"].startswith("cuda")
        where = "CUDA" if on_gpu else "CPU"
        listed = [one for one in facts["operators"] if one["type"] in TYPES]
        seen = Counter(f"{where} {_precision(one, facts)} {_plain(one['name'])}" for one in listed)
        seen.update(_written(facts))
        kinds |= seen
        multiplying = _multiplying(facts["kernels"])
        spent += multiplying or _time(listed, facts, on_gpu)
        program = facts["program"]
        hows.add(f"{program['runtime']} of PyTorch {facts['torch']}{_flags(facts, bool(multiplying))}")
    if not spent:
        raise MeasureError(
            f"{directory}: {len(found)} reports of PyTorch and no executed operator in them: nothing proves what ran"
        )
    return weighed(
        f"PyTorch's profile of the served instances: {'; '.join(sorted(hows))}", dict(kinds.most_common()), +spent
    )


def from_torch_tensorrt(directory: Path) -> Evidence:
    """Read as from_pytorch does; MeasureError also when no engine of TensorRT is in the graph that was served."""
    found = [facts for facts in _reports(directory) if facts["operators"]]
    engines = max((facts["program"].get("graph", {}).get(ENGINE, 0) for facts in found), default=0)
    if not engines:
        left = found[0]["program"].get("graph", {}) if found else {}
        ran = ", ".join(f"{count} {_plain(kind)}" for kind, count in list(left.items())[:8]) or "nothing"
        raise MeasureError(f"no engine of TensorRT is in the served graph, PyTorch runs all of it: {ran}")
    seen = from_pytorch(directory)
    parts = next((facts["program"].get("partition") for facts in found if facts["program"].get("partition")), None)
    taken = f"TensorRT took {parts['inside']} of {parts['operators']} operators in " if parts else "TensorRT has "
    outside = {kind: count for kind, count in found[0]["program"]["graph"].items() if kind != ENGINE}
    stayed = ", ".join(f"{count} {_plain(kind)}" for kind, count in outside.items()) or "none"
    nodes = {"TensorRT engine": engines, **{kind: n for kind, n in seen.nodes.items() if ENGINE not in kind}}
    how = f"{seen.how}; {taken}{engines} engines, outside of them: {stayed}"
    observed = seen.observed if any(_multiplying(facts["kernels"]) for facts in found) else "unseen"
    return Evidence(how, nodes, observed, seen.shares)


def _reports(directory: Path) -> list[dict[str, Any]]:
    try:
        found = [json.loads(file.read_text()) for file in sorted(directory.rglob("*.pytorch"))]
        for facts in found:
            facts["device"], facts["torch"], facts["program"]["runtime"], facts["operators"], facts["kernels"]  # noqa: B018
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasureError(f"{directory}: holds no report of PyTorch: {error}") from None
    if wrong := [facts["error"] for facts in found if "error" in facts]:
        raise MeasureError(f"{directory}: PyTorch could not be profiled: {wrong[0]}")
    return found


def _precision(one: dict[str, Any], facts: dict[str, Any]) -> str:
    """The precision that an operator computes in: TF32 for what multiplies 32-bit floats on a GPU that may use it."""
    precision = TYPES[one["type"]]
    allowed = facts.get("tf32", {})
    may = allowed.get("cudnn") if "conv" in one["name"] else allowed.get("matmul")
    has = facts.get("capability", [0])[0] >= TF32_SINCE and (facts["program"].get("cudnn") or "conv" not in one["name"])
    return "tf32" if precision == "fp32" and may and has and MULTIPLIES.search(one["name"]) else precision


def _time(listed: list[dict[str, Any]], facts: dict[str, Any], on_gpu: bool) -> Counter[str]:
    """Time by precision; on a GPU, where an operator's own time is that of its launch, only what multiplies counts."""
    spent: Counter[str] = Counter()
    for one in listed:
        if not on_gpu or MULTIPLIES.search(one["name"]):
            spent[_precision(one, facts)] += one["microseconds"]
    return spent


def _multiplying(listed: list[dict[str, Any]]) -> Counter[str]:
    spent: Counter[str] = Counter()
    for one in listed:
        if kernels.multiplies(one["name"]):
            spent[kernels.precision(one["name"])] += one["microseconds"]
    return spent


def _written(facts: dict[str, Any]) -> Counter[str]:
    """Kernels that AOTInductor wrote into the package; operators that it left to PyTorch are in the profile."""
    kernels = facts["program"].get("kernels") or {}
    fused = sum(count for name, count in kernels.items() if "fused" in name)
    return Counter({"AOTInductor fused kernel": fused}) if fused else Counter()


def _plain(name: str) -> str:
    return name.rpartition("::")[2]


def _flags(facts: dict[str, Any], by_kernels: bool) -> str:
    if "tf32" not in facts:
        return ""
    modes = ", ".join(f"{unit} {'allowed' if on else 'off'}" for unit, on in facts["tf32"].items())
    return f", TF32: {modes}; by the names of its {'kernels' if by_kernels else 'operators'}"
