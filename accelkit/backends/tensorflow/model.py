"""Stand-in for Triton's C++ backend `tensorflow`: loads, refuses and answers as that one does."""

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
    """One instance: a session of its own, and one execution for all requests that were gathered."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what the configuration lacks from the signature; TensorFlow itself is not loaded for that."""
        from accelkit.backends.tensorflow import complete, keys, settings, signature

        config = auto_complete_model_config.as_dict()
        model = config["name"]
        host.check_warmup(model, config)
        wanted = settings.read(model, config)
        version = Path(pb_utils.get_model_dir())
        path = host.model_file(str(version.parent), version.name, config, keys.FILES[keys.SAVED_MODEL])
        if wanted.graphdef or not path.exists():
            return auto_complete_model_config
        try:
            chosen = signature.choose(model, path, wanted, pb_utils.Logger)
        except Refused as error:
            raise Refused(
                f"unable to auto-complete model configuration for '{model}', failed to load model: {error}"
            ) from None
        command = host.settings("tensorflow", host.command_line())
        config.update(complete.complete(model, config, chosen, command, pb_utils.Logger))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model into a session as the configuration asks, and hold the two against each other."""
        from dataclasses import replace

        from accelkit.backends.tensorflow import keys, opening, report, run, settings, signature

        config, model = json.loads(args["model_config"]), args["model_name"]
        host.check_warmup(model, config)
        opening.load_libraries(config)
        wanted = settings.read(model, config)
        signature.check_types(model, config)
        kind, instance, version = args["model_instance_kind"], args["model_instance_name"], args["model_version"]
        default = keys.FILES[keys.GRAPH_DEF if wanted.graphdef else keys.SAVED_MODEL]
        path = host.model_file(args["model_repository"], version, config, default)
        if not path.exists():
            raise Refused(f"unable to find '{path}' for model instance '{instance}'")
        device = {"CPU": -1, "MODEL": None}.get(kind, int(args["model_instance_device_id"]))
        engine, mixed = settings.accelerated(config, kind != "CPU", pb_utils.Logger)
        wanted = replace(wanted, engine=engine, mixed=mixed)
        command = host.settings("tensorflow", host.command_line())
        found = opening.opened(model, path, config, wanted, command, device, pb_utils.Logger)
        opening.initialize(found, wanted, [path.parent, path.parent.parent])
        self.runner = run.Runner(model, config, found, pb_utils)
        self.execute = self.runner.execute
        folder, self.profile = os.environ.get("ACCELKIT_PROFILE_DIR"), None
        if folder is not None:
            file = Path(folder, model, f"{version}-{instance}.tensorflow")
            self.profile = lambda: report.write(file, self.runner)
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Write the report, if one is asked for."""
        if self.profile is not None:
            self.profile()
