"""Stand-in for Triton's C++ backend `fastertransformer`: loads, refuses and answers as that one does for a GPT."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from accelkit.backends import host
from accelkit.backends.key import Refused


class TritonPythonModel:
    """One instance: tensor_para_size times pipeline_para_size processes, each with its part of the checkpoint."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete nothing, as the official backend: the checkpoint does not say enough."""
        name = auto_complete_model_config.as_dict()["name"]
        pb_utils.Logger.log_warn(
            f"skipping model configuration auto-complete for '{name}': not supported for fastertransformer backend"
        )
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Hold the configuration against the checkpoint, and start the ranks."""
        from accelkit.backends.fastertransformer import memory, run, settings

        config = json.loads(args["model_config"])
        host.check_warmup(args["model_name"], config)
        self.settings = settings.read(args, config)
        memory.hold("the weights of all ranks take", memory.weights(self.settings), memory.free())
        if importlib.util.find_spec("torch") is None:
            raise Refused("torch is not here: pip install 'accelkit[torch]'")
        from accelkit.backends.fastertransformer.ranks import Ranks

        self.runner = run.Runner(config, self.settings, Ranks(self.settings), pb_utils)
        self.execute = self.runner.execute
        self.profile = os.environ.get("ACCELKIT_PROFILE_DIR")
        self.place = (args["model_name"], args["model_version"], args["model_instance_name"])
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()

    def finalize(self) -> None:
        """Write what ran, if that is asked for, and end the ranks."""
        from accelkit.backends.fastertransformer import settings

        if self.profile is not None:
            name, version, instance = self.place
            folder = Path(self.profile, name)
            folder.mkdir(parents=True, exist_ok=True)
            about = {"model": name, "version": version, "instance": instance, "process": os.getpid()}
            facts = {**about, **settings.facts(self.settings), **self.runner.facts()}
            (folder / f"{version}-{instance}.transformer").write_text(json.dumps(facts, indent=1))
        self.runner.stop()
