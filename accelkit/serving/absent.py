"""What stands in for the file of a Python model that is not there: the stub would end, and the server wait for it for ever."""

import os
from typing import Any, NoReturn

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Refuses to load and names the file."""

    @staticmethod
    def auto_complete_config(given: Any) -> NoReturn:
        """Say so before the server fills anything in."""
        raise pb_utils.TritonModelException(f"Python model file not found in '{os.environ['ABSENT_MODEL_FILE']}'")

    initialize = auto_complete_config
