"""Errors that a user can act on: one line that says what went wrong, where, and what to do.

AccelkitError
├── MissingPackage    an optional package is needed; the message says how to install it
├── ToolchainError    tritonserver, perf_analyzer or libpython cannot be had or is damaged
├── ModelError        a model, a checkpoint, an image or a data file is unusable
├── ConfigError       a config.pbtxt, a repository or an option is wrong
├── ServerError       a server did not start, failed to load a model, or died; carries the tail of its log
├── RequestError      a server refused a request
├── MeasureError      a measurement could not be made or is not to be believed
└── LessonError       a lesson failed or is not in the form that lessons have
"""

from __future__ import annotations

import os
from pathlib import Path


class AccelkitError(Exception):
    """Base of every error that is the user's to fix; the command line prints it and exits with 2."""

    exit_code = 2


class MissingPackage(AccelkitError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        how = "make setup HARDWARE=gpu" if extra == "gpu" else f"pip install 'accelkit[{extra}]'"
        super().__init__(f"{purpose} needs the package {package}, which is not installed: {how}")
        self.package = package


class ToolchainError(AccelkitError):
    """The pinned tritonserver or perf_analyzer cannot be had on this machine, or its copy is damaged."""


class ModelError(AccelkitError):
    """A model, checkpoint, image or data file is unusable."""


class ConfigError(AccelkitError):
    """A config.pbtxt, a model repository or an option is wrong."""


class ServerError(AccelkitError):
    """A server did not start, failed to load a model, or died; `why` is the server's own reason, without what it is about."""

    def __init__(self, message: str, log_tail: str = "", why: str = ""):
        super().__init__(message)
        self.log_tail, self.why = log_tail, why or message


class RequestError(AccelkitError):
    """A server refused a request."""


class MeasureError(AccelkitError):
    """A measurement could not be made or is not to be believed."""


class LessonError(AccelkitError):
    """A lesson failed, or is not in the form that lessons have."""


def need_file(path: Path, wanted: str) -> None:
    """Raise ModelError in words where a path is no file that can be read; `wanted` says what to name instead."""
    found = "is a directory" if path.is_dir() else "may not be read" if path.exists() else "is not there"
    if path.is_dir() or not os.access(path, os.R_OK):
        raise ModelError(f"{path}: {found}: name {wanted}")
