"""Every setting that the official fil backend reads, in the spelling of every era.

The stand-in reads them as release 26.06 does: what 25.09 renamed or removed is warned of in the log, and an output_class
that is still there wins over is_classifier. Servers of the legacy era know nothing of the new names and need output_class.
"""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SOURCE = "fil_backend src/shared_state.h"
_NEW = ("bridge", "current")
_OLD = ("legacy",)

MODEL_TYPE = Key(
    "model_type", "string", "xgboost", ERAS,
    "form of the file: xgboost (legacy binary), xgboost_json, xgboost_ubj (servers from 24.10), lightgbm, treelite_checkpoint",
    "fil_backend src/serialization.h",
)  # fmt: skip
IS_CLASSIFIER = Key("is_classifier", "bool", "", _NEW, "whether the forest tells classes; required", _SOURCE)
OUTPUT_CLASS = Key(
    "output_class", "bool", "", ERAS, "name of is_classifier up to 25.08, required there; later still honoured first, with a warning",
    _SOURCE,
)  # fmt: skip
THRESHOLD = Key(
    "threshold", "float", "", ERAS, "probability above which a binary classifier says 1; required for every classifier", _SOURCE
)  # fmt: skip
PREDICT_PROBA = Key(
    "predict_proba", "bool", "false", ERAS, "true answers probabilities, not the number of the class", _SOURCE
)
UNKNOWN_FIELDS = Key(
    "xgboost_allow_unknown_field", "bool", "false", ERAS, "ignore fields of an XGBoost JSON or UBJSON file that Treelite does not know",
    _SOURCE,
)  # fmt: skip
CPU_THREADS = Key("cpu_nthread", "int", "-1", ERAS, "CPU: threads of a prediction, 0 or less for all", _SOURCE)
EXPERIMENTAL = Key(
    "use_experimental_optimizations", "bool", "false", ERAS,
    "CPU: another engine with the same answers where it can take the forest; deprecated, and here GTIL runs all the same", _SOURCE,
)  # fmt: skip
LAYOUT = Key(
    "layout", "string", "depth_first", _NEW, "GPU: order of the nodes: depth_first, breadth_first, layered", _SOURCE
)
CHUNK_SIZE = Key(
    "chunk_size", "int", "1", _NEW, "GPU: rows that a block takes at once, a power of two up to 32", _SOURCE
)
TRANSFER_THRESHOLD = Key(
    "transfer_threshold", "int", "0", ERAS, "GPU: rows above which a batch goes to the GPU", _SOURCE
)
ALGO = Key("algo", "string", "ALGO_AUTO", _OLD, "GPU: name of layout up to 25.08, with other values", _SOURCE)
THREADS_PER_TREE = Key("threads_per_tree", "int", "1", _OLD, "GPU: name of chunk_size up to 25.08", _SOURCE)
STORAGE_TYPE = Key("storage_type", "string", "AUTO", _OLD, "GPU: DENSE, SPARSE or SPARSE8; removed in 25.09", _SOURCE)
BLOCKS_PER_SM = Key("blocks_per_sm", "int", "0", _OLD, "GPU: blocks for each multiprocessor; removed in 25.09", _SOURCE)

KEYS: tuple[Key, ...] = (
    MODEL_TYPE, IS_CLASSIFIER, OUTPUT_CLASS, THRESHOLD, PREDICT_PROBA, UNKNOWN_FIELDS, CPU_THREADS, EXPERIMENTAL, LAYOUT,
    CHUNK_SIZE, TRANSFER_THRESHOLD, ALGO, THREADS_PER_TREE, STORAGE_TYPE, BLOCKS_PER_SM,
)  # fmt: skip
RENAMED = {ALGO: LAYOUT, THREADS_PER_TREE: CHUNK_SIZE, OUTPUT_CLASS: IS_CLASSIFIER}
REMOVED = (STORAGE_TYPE, BLOCKS_PER_SM)
FILES = {
    "xgboost": "xgboost.model", "xgboost_json": "xgboost.json", "xgboost_ubj": "xgboost.ubj", "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}  # fmt: skip
"""Default file name of every model_type."""
