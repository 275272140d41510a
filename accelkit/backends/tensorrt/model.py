"""Stand-in for Triton's C++ backend `tensorrt`: loads, refuses and answers as that one does."""

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
    """One instance: a copy of the engine, a context for each of its profiles, and one execution for all gathered requests."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what the configuration lacks from the plan; where nothing can be lacking the instance checks the rest."""
        config = auto_complete_model_config.as_dict()
        host.check_warmup(config["name"], config)
        group = (config.get("instance_group") or [{}])[0]
        if group.get("kind") != "KIND_GPU":
            return auto_complete_model_config
        from accelkit.backends.tensorrt import plan

        if plan.whole(config):
            return auto_complete_model_config
        from accelkit.backends.tensorrt import complete, cuda

        version = Path(pb_utils.get_model_dir())
        device = cuda.use(int((group.get("gpus") or [0])[0]))
        place = plan.Place(config["name"], str(version.parent), version.name, device=device.number)
        path = plan.locate(place, config, device.capability)
        try:
            loaded = plan.load(path, host.settings("tensorrt", host.command_line()), pb_utils)
        except Refused as error:
            pb_utils.Logger.log_error(str(error))
            raise Refused(f"unable to load plan file to auto complete config: {path}") from None
        config.update(complete.complete(place, config, loaded, pb_utils.Logger))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan, hold its tensors against the configuration, take memory and capture graphs."""
        from accelkit.backends.tensorrt import complete, cuda, keys, plan, report, run, tensors

        config, model = json.loads(args["model_config"]), args["model_name"]
        host.check_warmup(model, config)
        if (keys.MULTI_DEVICE.text(config) or "").lower() in ("true", "1"):
            lacks = "which this Python-based stand-in of the backend does not offer"
            raise Refused(f"model '{model}' has {keys.MULTI_DEVICE.name}, {lacks}")
        if args["model_instance_kind"] != "GPU":
            raise Refused(f"unable to load model '{model}', TensorRT backend supports only GPU device")
        device = cuda.use(int(args["model_instance_device_id"]))
        place = plan.Place(
            model, args["model_repository"], args["model_version"], args["model_instance_name"], "GPU", device.number
        )
        path, arguments = plan.locate(place, config, device.capability), host.command_line()
        if not path.is_file():
            raise Refused(f"unable to find '{path}' for model instance '{place.instance}'")
        loaded = plan.load(path, host.settings("tensorrt", arguments), pb_utils)
        known = tensors.tensors(loaded)
        if "--disable-auto-complete-config" not in arguments:
            complete.bounded(model, config, complete.largest_batch(model, config, loaded, known))
        tensors.check(model, place.instance, config, known)
        self.runner = run.Runner(place, config, loaded, known, pb_utils)
        self.execute = self.runner.execute
        folder, self.profile = os.environ.get("ACCELKIT_PROFILE_DIR"), None
        if folder is not None:
            file = Path(folder, model, f"{place.version}-{place.instance}.tensorrt")
            self.profile = lambda: report.write(file, place, loaded, self.runner)
        listed = "".join(f" {profile.name}[{profile.index}];" for profile in self.runner.profiles)
        pb_utils.Logger.log_info(
            f"Created instance {place.instance} on GPU {device.number} with optimization profile{listed} {self.runner.graphs} CUDA graphs"
        )
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Write the report, if one is asked for."""
        if self.profile is not None:
            self.profile()
