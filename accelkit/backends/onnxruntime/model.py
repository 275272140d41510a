"""Stand-in for Triton's C++ backend `onnxruntime`: first form."""
import json
import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Serves model.onnx of the model's version directory."""

    def initialize(self, args):
        """Open the session."""
        config = json.loads(args["model_config"])
        path = os.path.join(args["model_repository"], args["model_version"], config["default_model_filename"] or "model.onnx")
        options = ort.SessionOptions()
        for key in ("intra_op_thread_count", "inter_op_thread_count"):
            if key in config.get("parameters", {}):
                setattr(options, key.replace("thread_count", "num_threads"), int(config["parameters"][key]["string_value"]))
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [x.name for x in self.session.get_inputs()]
        self.outputs = [x.name for x in self.session.get_outputs()]

    def execute(self, requests):
        """Run all requests as one batch."""
        feeds = [{name: np.from_dlpack(pb_utils.get_input_tensor_by_name(r, name)) for name in self.inputs} for r in requests]
        sizes = np.cumsum([len(feed[self.inputs[0]]) for feed in feeds])[:-1]
        joined = feeds[0] if len(feeds) == 1 else {n: np.concatenate([f[n] for f in feeds]) for n in self.inputs}
        values = self.session.run(self.outputs, joined)
        parts = [np.split(value, sizes) if len(feeds) > 1 else [value] for value in values]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(n, p[i]) for n, p in zip(self.outputs, parts)]) for i in range(len(requests))
        ]
