"""Stand-in for Triton's C++ backend `onnxruntime`: loads, refuses and answers as that one does."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from accelkit.backends import host


class TritonPythonModel:
    """One instance: one session, and one run for all requests that the batcher gathered."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what the configuration lacks from the model file; ONNX Runtime is imported for that alone."""
        config = auto_complete_model_config.as_dict()
        host.check_warmup(config["name"], config)
        if (config.get("input") or config.get("batch_input")) and config.get("output"):
            pb_utils.Logger.log_info(
                f"skipping model configuration auto-complete for '{config['name']}': inputs and outputs already specified"
            )
            return auto_complete_model_config
        from accelkit.backends.onnxruntime import complete, session

        version = Path(pb_utils.get_model_dir())
        on_gpu = any(group.get("kind") == "KIND_GPU" for group in config.get("instance_group") or [])
        place = session.Place(config["name"], str(version.parent), version.name, kind="GPU" if on_gpu else "CPU")
        config.update(complete.complete(place, config, host.command_line(), pb_utils.Logger))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session and hold its tensors against the configuration."""
        from accelkit.backends.onnxruntime import capture, gpu, run, session, signature

        config = json.loads(args["model_config"])
        self.profile = os.environ.get("ACCELKIT_PROFILE_DIR")
        self.place = session.Place(
            args["model_name"], args["model_repository"], args["model_version"], args["model_instance_name"],
            args["model_instance_kind"], int(args["model_instance_device_id"]),
        )  # fmt: skip
        host.check_warmup(self.place.model, config)
        self.session = session.open_session(self.place, config, host.command_line(), self.profile)
        signature.check(self.place.model, config, self.session)
        providers = self.session.get_provider_options()
        for line in gpu.described(self.place.model, self.place.device, providers):
            pb_utils.Logger.log_verbose(line)
        if gpu.captures(providers):
            self.execute = capture.Replayer(config, self.session, pb_utils, self.place).execute
        else:
            self.execute = run.Runner(config, self.session, session.run_options(config), pb_utils).execute
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Flush the profile, if one is written."""
        if self.profile is not None:
            from accelkit.backends.onnxruntime import session

            session.end_profile(self.place, self.session)
