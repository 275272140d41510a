"""What the kit's programs share, most of them run by another interpreter: one line of JSON, or one line of error and exit code 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelkit.errors import AccelkitError, ConfigError, ModelError

PREFIX = "accelkit: error: "


class Parser(argparse.ArgumentParser):
    """A parser that raises ConfigError for a wrong use, ModelError where the first path of a command, what it reads, is not there."""

    reads = False

    def error(self, message: str) -> Any:
        """Raise it, with where the right use stands."""
        raise ConfigError(f"{message}: see {self.prog} --help")

    def add_argument(self, *names: Any, **options: Any) -> Any:
        """Add it, with the look at what is to be read."""
        if options.get("type") is Path and not names[0].startswith("-") and not self.reads:
            self.reads, options["type"] = True, self._there
        return super().add_argument(*names, **options)

    def _there(self, text: str) -> Path:
        if not Path(text).exists():
            raise ModelError(f"{text}: is not there, and `{self.prog}` reads it: correct the path")
        return Path(text)


def reason(error: Exception) -> str:
    """What a user is told of an error; of one of the file system that is the file and what is wrong with it."""
    if not isinstance(error, OSError):
        return str(error)
    return (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error))


def run(answer: Callable[[list[str]], dict[str, Any] | str], arguments: list[str]) -> int:
    """Print what `answer` makes of the arguments, a text as it is, or the reason for nothing; return the exit code."""
    try:
        found = answer(arguments)
        print(found if isinstance(found, str) else json.dumps(found))
    except (AccelkitError, OSError) as error:
        print(f"{PREFIX}{' '.join(reason(error).split())}", file=sys.stderr)
        return AccelkitError.exit_code
    return 0
