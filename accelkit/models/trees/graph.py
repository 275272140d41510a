"""The ONNX form of a binary forest, so that backends for networks can serve the same one: input__0 to output__0 [N, 2]."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelkit.models.trees import nodes

INPUT, OUTPUT = "input__0", "output__0"
OPSET, TREES_OPSET, IR_VERSION = 17, 3, 8


def thresholds(forest: nodes.Nodes) -> np.ndarray:
    """Thresholds float32 that part float32 inputs exactly as the forest's own do, which may be doubles."""
    near = forest.threshold.astype(np.float32)
    low = np.where(near > forest.threshold, np.nextafter(near, np.float32(-np.inf)), near)
    high = np.where(near < forest.threshold, np.nextafter(near, np.float32(np.inf)), near)
    return np.where(forest.or_equal, low, high)


def write(model: Any) -> bytes:
    """The file of a treelite.Model with one margin (sigmoid follows) or two averaged classes; ValueError for any other."""
    forest = nodes.read(model)
    postprocessor = model.get_header_accessor().get_field("postprocessor")
    outputs = forest.value.shape[1]
    if (outputs, postprocessor) not in ((1, "sigmoid"), (2, "identity_multiclass")):
        raise ValueError(f"a forest with {outputs} outputs and the postprocessor {postprocessor}")
    first = np.searchsorted(forest.tree, forest.tree)  # of its tree, for each node
    leaf, number = forest.left < 0, np.arange(len(forest.tree)) - first
    leaves = np.repeat(np.flatnonzero(leaf), outputs)
    modes = np.where(leaf, "LEAF", np.where(forest.or_equal, "BRANCH_LEQ", "BRANCH_LT"))
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", [INPUT], ["score"], domain="ai.onnx.ml", n_targets=outputs, post_transform="NONE",
        aggregate_function="AVERAGE" if forest.scale != 1 else "SUM", base_values=forest.base.astype(np.float32).tolist(),
        nodes_treeids=forest.tree.tolist(), nodes_nodeids=number.tolist(), nodes_featureids=np.maximum(forest.feature, 0).tolist(),
        nodes_values=np.where(leaf, 0, thresholds(forest)).tolist(), nodes_modes=modes.tolist(),
        nodes_truenodeids=np.where(leaf, 0, forest.left - first).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, forest.right - first).tolist(),
        nodes_missing_value_tracks_true=forest.missing_left.astype(int).tolist(),
        target_treeids=forest.tree[leaves].tolist(), target_nodeids=number[leaves].tolist(),
        target_ids=(np.arange(len(leaves)) % outputs).tolist(),
        target_weights=forest.value[leaf].ravel().astype(np.float32).tolist(),
    )  # fmt: skip
    steps, constants = [ensemble], []
    if outputs == 2:
        steps.append(helper.make_node("Identity", ["score"], [OUTPUT]))
    else:
        constants.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "one"))
        steps += [
            helper.make_node("Sigmoid", ["score"], ["fraud"]),
            helper.make_node("Sub", ["one", "fraud"], ["honest"]),
            helper.make_node("Concat", ["honest", "fraud"], [OUTPUT], axis=1),
        ]
    graph = helper.make_graph(
        steps, "trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", model.num_feature])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 2])],
        constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREES_OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="accelkit")
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)
