"""Stand-in for Triton's C++ backend `openvino`: loads, refuses and answers as that one does."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from accelkit.backends import host
from accelkit.backends.key import Refused

DEFAULT_FILE = "model.xml"


def _has_layout(path: Path) -> bool:
    """Whether a file says which dimension is the batch; of all formats only OpenVINO's own can."""
    return path.suffix == ".xml" and path.is_file() and b'name="layout"' in path.read_bytes()


class TritonPythonModel:
    """One instance: one compiled model with one infer request, and one inference for all requests that were gathered."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what the configuration lacks from the model file; OpenVINO is imported for that alone."""
        config = auto_complete_model_config.as_dict()
        host.check_warmup(config["name"], config)
        version = Path(pb_utils.get_model_dir())
        path = host.model_file(str(version.parent), version.name, config, DEFAULT_FILE)
        if config.get("input") and config.get("output") and not _has_layout(path):
            pb_utils.Logger.log_info(
                f"skipping model configuration auto-complete for '{config['name']}': inputs and outputs already specified"
            )
            return auto_complete_model_config
        from accelkit.backends.openvino import complete, reading

        path = reading.existing(config["name"], path)
        command = host.settings("openvino", host.command_line())
        config.update(complete.complete(config["name"], path, config, command, pb_utils.Logger))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Read the model, hold it against the configuration and compile it."""
        from accelkit.backends.openvino import compiling, profile, reading, run

        config, model = json.loads(args["model_config"]), args["model_name"]
        if args["model_instance_kind"] != "CPU":
            raise Refused(f"unable to load model '{model}', Triton OpenVINO backend supports only Kind CPU and AUTO")
        host.check_warmup(model, config)
        path = host.model_file(args["model_repository"], args["model_version"], config, DEFAULT_FILE)
        core = compiling.core(config)
        read = reading.read(core, reading.existing(model, path))
        read = reading.fit(model, read, config)
        folder = os.environ.get("ACCELKIT_PROFILE_DIR")
        instance, version = args["model_instance_name"], args["model_version"]
        compiled = compiling.compiled(core, read, config, folder is not None)
        self.runner = run.Runner(config, compiled, pb_utils)
        self.execute = self.runner.execute
        self.profile = None
        if folder is not None:
            place = Path(folder, model, f"{version}-{instance}.openvino")
            self.profile = lambda: profile.write(place, compiled, self.runner.request)
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Write the profile, if one is asked for."""
        if self.profile is not None:
            self.profile()
