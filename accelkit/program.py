"""What the kit's programs share that another interpreter runs: one line of JSON, or one line of error and exit code 2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from accelkit.errors import AccelkitError, ConfigError


class Parser(argparse.ArgumentParser):
    """A parser that raises ConfigError for a wrong use."""

    def error(self, message: str) -> Any:
        """Raise it, with where the right use stands."""
        raise ConfigError(f"{message}: see {self.prog} --help")


def run(answer: Callable[[list[str]], dict[str, Any] | str], arguments: list[str]) -> int:
    """Print what `answer` makes of the arguments, a text as it is, or the reason for nothing; return the exit code."""
    try:
        found = answer(arguments)
        print(found if isinstance(found, str) else json.dumps(found))
    except AccelkitError as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0
