"""Stand-in for Triton's C++ backend `pytorch`: loads, refuses and answers as that one does."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from accelkit.backends import host
from accelkit.backends.key import Refused


class TritonPythonModel:
    """One instance: one loaded model, and one execution for all requests that were gathered."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Leave the configuration as it is: PyTorch's files do not say what their inputs and outputs are."""
        config = auto_complete_model_config.as_dict()
        host.check_warmup(config["name"], config)
        pb_utils.Logger.log_warn(
            f"skipping model configuration auto-complete for '{config['name']}': not supported for pytorch backend"
        )
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model by the runtime that its configuration names, onto the instance's device."""
        try:
            import torch
        except ImportError as error:
            raise Refused(f"Missing/Incomplete PyTorch package installation: {error}") from None
        from accelkit.backends.pytorch import package, python, report, run, tensors, torchscript

        config, model = json.loads(args["model_config"]), args["model_name"]
        host.check_warmup(model, config)
        tensors.offered(model, config)
        device = _device(torch, model, args["model_instance_kind"], int(args["model_instance_device_id"]))
        version = Path(args["model_repository"], args["model_version"])
        given = config.get("default_model_filename") or ""
        as_package = package.meant(version.parent, config)
        if python.asked(version.parent, config):
            program = python.load(version, model, config, device, pb_utils.Logger)
        else:
            kind: Any = package if as_package else torchscript
            path = version / (given or kind.DEFAULT_FILE)
            if not path.is_file():
                raise Refused(f"unable to find '{path}' for model instance '{model}'")
            program = kind.load(path, model, config, device, pb_utils.Logger)
        self.runner = run.Runner(config, program, pb_utils)
        self.execute = self.runner.execute
        folder, self.profile = os.environ.get("ACCELKIT_PROFILE_DIR"), None
        if folder is not None:
            file = Path(folder, model, f"{args['model_version']}-{args['model_instance_name']}.pytorch")
            self.profile = lambda: report.write(file, model, program, self.runner)
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Write the report, if one is asked for."""
        if self.profile is not None:
            self.profile()


def _device(torch: Any, model: str, kind: str, number: int) -> Any:
    """The device of an instance; None for KIND_MODEL, which leaves it to the model."""
    if kind == "MODEL":
        return None
    if kind != "GPU":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Refused(f"unable to load model '{model}' on a GPU: this PyTorch, {torch.__version__}, sees none")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
