"""python -m accelkit.lessons run | check | record | format [--check] [NAME ...]: what the Makefile and authors call."""

from __future__ import annotations

import argparse
import sys

from accelkit import lessons
from accelkit.errors import AccelkitError
from accelkit.program import PREFIX


def main() -> int:
    """Do one thing with the lessons named (default: all); 1 when one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m accelkit.lessons", description=__doc__)
    parser.add_argument("action", choices=["run", "check", "record", "format"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true", help="format: change nothing, only say what would change")
    asked = parser.parse_args()
    if asked.action == "format":
        problems = lessons.format_all(fix=not asked.check)
    elif asked.action == "check":
        executed = {name: lessons.OUT / f"{name}.ipynb" for name in asked.names or lessons.names()}
        problems = [f"{name}: {line}" for name, path in executed.items() for line in lessons.check(name, path)]
    else:
        problems = []
        lessons.command(asked.names, execute=asked.action == "run", record=asked.action == "record")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AccelkitError as failure:
        print(f"{PREFIX}{failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
