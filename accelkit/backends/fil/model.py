"""Stand-in for Triton's C++ backend `fil`: loads, refuses and answers as that one does on a CPU."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import triton_python_backend_utils as pb_utils

from accelkit.backends import host


class TritonPythonModel:
    """One instance: one forest, and one prediction for all requests that the batcher gathered."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the forest and hold it against the configuration."""
        from accelkit.backends.fil import settings

        config = json.loads(args["model_config"])
        host.check_warmup(args["model_name"], config)
        self.settings = settings.read(config, args["model_instance_kind"], pb_utils.Logger.log_warn)
        from accelkit.backends.fil import forest, run  # and with them Treelite, which a wrong configuration needs not

        self.file = forest.locate(args["model_repository"], args["model_version"], config, self.settings)
        self.runner = run.Runner(forest.Forest(self.file, self.settings), pb_utils)
        self.execute = self.runner.execute
        self.profile = os.environ.get("ACCELKIT_PROFILE_DIR")
        self.place = (args["model_name"], args["model_version"], args["model_instance_name"])
        # What lives now lives until the end, and requests make no cycles: the collector need not look at them.
        gc.collect()
        gc.freeze()
        gc.disable()

    def finalize(self) -> None:
        """Write what ran, if that is asked for."""
        if self.profile is not None:
            name, version, instance = self.place
            folder = Path(self.profile, name)
            folder.mkdir(parents=True, exist_ok=True)
            about = {"model": name, "version": version, "instance": instance, "process": os.getpid()}
            facts = {**about, **self.runner.facts(), "file": self.file.name}
            (folder / f"{version}-{instance}.forest").write_text(json.dumps(facts, indent=1))
