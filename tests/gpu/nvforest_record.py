"""Run the kit's forest on nvForest: parity against XGBoost's own answers, then rows per second by batch, into one JSON.

    python tests/gpu/nvforest_record.py FOREST.json REFERENCE.npz notebooks/recorded/engines/nvforest.json [--cpu]

It needs the wheels nvforest-cu13, libnvforest-cu13, librmm-cu13, rmm-cu13, pylibraft-cu13 and rapids-logger, CuPy for CUDA
13, and nothing of the kit: FOREST.json is `accelkit.get_model("trees").forest()`.
REFERENCE.npz holds `inputs` float32 [100000, 16] and `answers` float32 [100000], XGBoost's probability of fraud. Timed
are Treelite's GTIL on the CPU (what FIL takes for KIND_CPU), nvForest on the CPU, and nvForest on the GPU (what FIL takes
for KIND_GPU from 26.06 on) with rows that lie in the GPU's memory and with rows that come from the host and go back.
Every timed call ends with a synchronisation of the device. --cpu leaves the GPU out.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

LIMIT = 1e-5
BATCHES = (1, 64, 4096, 100_000)
LAYOUTS = ("depth_first", "breadth_first", "layered")
SECONDS, FEWEST, MOST = 2.0, 20, 2000


def preload() -> None:
    """Load the libraries below nvForest by their wheels; libraft, which would do it, is not needed otherwise."""
    for name in ("rapids_logger", "librmm"):
        importlib.import_module(name).load_library()


def timed(call, done) -> dict[str, float]:
    """Median and spread in milliseconds of calls, each with its synchronisation, after as many to warm up."""
    for _ in range(5):
        call()
    done()
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(taken) < FEWEST or (time.perf_counter() < end and len(taken) < MOST):
        start = time.perf_counter()
        call()
        done()
        taken.append((time.perf_counter() - start) * 1e3)
    low, middle, high = np.percentile(taken, [10, 50, 90])
    return {"median_ms": middle, "p10_ms": low, "p90_ms": high, "calls": len(taken)}


def main() -> int:
    forest, reference, out = map(Path, sys.argv[1:4])
    with np.load(reference) as stored:
        inputs, answers = stored["inputs"], stored["answers"]
    preload()
    import nvforest
    import treelite

    sizes = [size for size in BATCHES if size <= len(inputs)]
    rows: list[dict] = []

    def engine(name: str, where: str, layout: str | None, predict, done, put=lambda array: array) -> None:
        everything = np.concatenate(
            [
                np.asarray(fetch(predict(put(inputs[start : start + 25_000])))).reshape(-1)
                for start in range(0, len(inputs), 25_000)
            ]
        )
        far = float(np.abs(everything - answers).max())
        print(f"{name} {where} {layout or ''}: largest difference {far:.1e} over {len(inputs)} rows", flush=True)
        for size in sizes:
            batch = put(inputs[:size])
            row = {"engine": name, "rows_from": where, "layout": layout, "batch": size, "largest_difference": far}
            if far <= LIMIT:  # no speed without parity
                row |= timed(lambda rows=batch: predict(rows), done)
                row["rows_per_s"] = size / row["median_ms"] * 1e3
                print(f"  batch {size:>6}: {row['median_ms']:.4f} ms, {row['rows_per_s']:,.0f} rows/s", flush=True)
            rows.append(row)

    def fetch(array):
        return array.get() if hasattr(array, "get") else array

    def nothing() -> None:
        return None

    model = treelite.frontend.load_xgboost_model(forest, format_choice="json")
    engine("Treelite GTIL", "host", None, lambda x: treelite.gtil.predict(model, x)[:, 0, 0], nothing)
    cpu = nvforest.load_model(forest, device="cpu", model_type="xgboost_json")
    engine("nvForest CPU", "host", None, cpu.predict_proba, nothing)
    versions = {name: importlib.import_module(name).__version__ for name in ("nvforest", "treelite", "numpy")}
    gpu = None
    if "--cpu" not in sys.argv:
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(0)
        gpu = {
            "name": properties["name"].decode(),
            "memory_gb": round(properties["totalGlobalMem"] / 2**30, 1),
            "driver_cuda": cupy.cuda.runtime.driverGetVersion(),
            "runtime_cuda": cupy.cuda.runtime.runtimeGetVersion(),
        }
        versions["cupy"] = cupy.__version__
        done = cupy.cuda.runtime.deviceSynchronize
        for layout in LAYOUTS:
            loaded = nvforest.load_model(forest, device="gpu", model_type="xgboost_json", layout=layout)
            engine("nvForest GPU", "GPU", layout, loaded.predict_proba, done, cupy.asarray)
        loaded = nvforest.load_model(forest, device="gpu", model_type="xgboost_json")
        engine("nvForest GPU", "host", LAYOUTS[0], lambda x: loaded.predict_proba(cupy.asarray(x)).get(), done)
    found = {
        "what": "the kit's forest (trees, xgboost_json) on nvForest, in process",
        "date": datetime.date.today().isoformat(),
        "machine": {"cpus": len(os.sched_getaffinity(0)), "cpu": processor(), "gpu": gpu, "python": platform.python_version()},
        "versions": versions,
        "forest": {"trees": model.num_tree, "levels": int(model.get_tree_depth().max()), "features": model.num_feature,
                   "sha256": hashlib.sha256(forest.read_bytes()).hexdigest()},
        "limit": LIMIT,
        "rows": rows,
    }  # fmt: skip
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {out}")
    return 0 if all(row["largest_difference"] <= LIMIT for row in rows) else 1


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    raise SystemExit(main())
