"""`python -m accelkit.engine`: build, describe or refit a plan: one line of JSON, or one line of error and exit code 2.

The command `flags` prints a command line of trtexec and comments instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from accelkit import program
from accelkit.engine import api, building, describing, flags, refitting


def parser() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    top = program.Parser(prog="python -m accelkit.engine", description="Plans of TensorRT.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=program.Parser)
    build = commands.add_parser("build", help="a plan from an ONNX file")
    build.add_argument("onnx", type=Path)
    build.add_argument("plan", type=Path)
    build.add_argument("--precision", choices=list(building.PRECISIONS), default="fp32")
    build.add_argument("--profile", dest="profiles", action="append", default=[], metavar="MIN:OPT:MAX")
    build.add_argument("--static", type=int, metavar="BATCH", help="fix the batch instead of giving profiles")
    build.add_argument("--timing-cache", type=Path, metavar="FILE")
    build.add_argument("--tactics", choices=building.TACTICS, default="auto", help="where kernels may come from")
    build.add_argument("--version-compatible", action="store_true")
    build.add_argument("--hardware", default="none", help="none, ampere_plus or same_compute_capability")
    build.add_argument("--refit", action="store_true", help="weights can be replaced later")
    build.add_argument("--strongly-typed", action="store_true", help="the file's types are kept as they are")
    build.add_argument("--workspace", dest="workspace_mb", type=int, metavar="MIB")
    build.add_argument("--level", type=int, choices=range(6), help="the builder's optimization level")
    show = commands.add_parser("show", help="what a plan is")
    show.add_argument("plan", type=Path)
    show.add_argument("--layers", action="store_true")
    show.add_argument("--version-compatible", action="store_true", help="the plan brings host code along")
    refit = commands.add_parser("refit", help="other weights into a plan that was built with --refit")
    refit.add_argument("plan", type=Path)
    refit.add_argument("source", type=Path, metavar="NPZ")
    refit.add_argument("out", type=Path)
    for command in (build, show, refit):
        command.add_argument(
            "--plugin", dest="plugins", type=Path, action="append", default=[], metavar="LIB.so",
            help="a library with operators that TensorRT lacks",
        )  # fmt: skip
    weights = commands.add_parser("weights", help="an ONNX file's weights, for refit; needs the package onnx")
    weights.add_argument("onnx_file", type=Path, metavar="ONNX")
    weights.add_argument("out", type=Path, metavar="NPZ")
    moved = commands.add_parser("flags", help="a command line of trtexec for a newer TensorRT, with notes")
    moved.add_argument("--from", dest="from_version", choices=flags.VERSIONS, required=True)
    moved.add_argument("--to", dest="to_version", choices=flags.VERSIONS, required=True)
    moved.add_argument("line", nargs="*", metavar="-- trtexec --FLAG=VALUE")
    return top


def answer(arguments: list[str]) -> dict[str, Any] | str:
    """Do what the arguments say and return what the command prints, text as it is."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command")
    if command == "build":
        return building.build(
            building.Order(**{**given, **{name: tuple(given[name]) for name in ("profiles", "plugins")}})
        )
    if command == "flags":
        return flags.text(**given)
    if command == "weights":
        return refitting.weights(**given)
    trt, log = api.load(), api.logger()
    api.need_gpu()
    api.register_plugins(trt, log, given.pop("plugins"))
    if command == "refit":
        return refitting.refit(trt, log, **given)
    found = describing.plan(trt, log, given["plan"], given["version_compatible"])
    if given["layers"]:
        engine = describing.read(trt, log, given["plan"], given["version_compatible"])
        found["inspector"] = describing.layers(trt, engine)
    return {"tensorrt": trt.__version__, **found}


def main(arguments: list[str]) -> int:
    """Print the answer, or the reason for none."""
    return program.run(answer, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
