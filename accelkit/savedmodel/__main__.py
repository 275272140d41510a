"""`python -m accelkit.savedmodel`: write, show, convert or export a SavedModel: one line of JSON, or of error and exit code 2."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelkit import program
from accelkit.savedmodel import api, converting, exporting, network, reading


def parser() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    top = program.Parser(prog="python -m accelkit.savedmodel", description="SavedModels of TensorFlow.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=program.Parser)
    write = commands.add_parser("write", help="the recogniser in Keras, from an .npz of its weights")
    write.add_argument("weights", type=Path, metavar="NPZ")
    write.add_argument("target", type=Path, metavar="DIR")
    write.add_argument("--source", default="input.1", metavar="NAME", help="what requests call the input")
    write.add_argument("--result", default="logits", metavar="NAME", help="what requests call the output")
    write.add_argument("--keras", type=Path, metavar="FILE.keras", help="also write it in Keras' own format")
    show = commands.add_parser("show", help="tags, signatures and segments of TensorRT; needs no TensorFlow")
    show.add_argument("directory", type=Path, metavar="DIR")
    convert = commands.add_parser("convert", help="put engines of TensorRT into a SavedModel; needs a GPU")
    convert.add_argument("source", type=Path, metavar="DIR")
    convert.add_argument("target", type=Path, metavar="NEW_DIR")
    convert.add_argument("--precision", choices=converting.PRECISIONS, default="fp32")
    convert.add_argument("--batch", dest="batches", type=int, action="append", default=[], metavar="N")
    convert.add_argument("--minimum-segment-size", type=int, default=3, metavar="NODES")
    convert.add_argument("--workspace", dest="workspace_mb", type=int, default=1024, metavar="MIB")
    convert.add_argument("--implicit", action="store_true", help="an engine for each batch, without dynamic shapes")
    convert.add_argument("--profiles", choices=converting.PROFILES, default=converting.PROFILES[0])
    convert.add_argument("--no-engines", dest="engines", action="store_false", help="build at the first requests")
    convert.add_argument("--signature", default=reading.DEFAULT, metavar="NAME")
    export = commands.add_parser("onnx", help="an ONNX file of a SavedModel; needs the package tf2onnx")
    export.add_argument("source", type=Path, metavar="DIR")
    export.add_argument("target", type=Path, metavar="FILE.onnx")
    export.add_argument("--opset", type=int, default=exporting.OPSET)
    export.add_argument("--signature", default=reading.DEFAULT, metavar="NAME")
    loads = commands.add_parser("libraries", help="which libraries of CUDA and TensorRT load here, or why not")
    loads.add_argument("--log", action="store_true", help="also TensorFlow's own log while it looks for them")
    return top


def answer(words: list[str]) -> dict[str, Any]:
    """Do what the arguments say and return what the command prints."""
    given = vars(parser().parse_args(words))
    command = given.pop("command")
    if command == "write":
        return network.write(**given)
    if command == "convert":
        return converting.convert(converting.Order(**{**given, "batches": tuple(given["batches"])}))
    if command == "onnx":
        return exporting.onnx(**given)
    if command == "libraries":
        return {"libraries": api.libraries(), "log": api.log() if given["log"] else []}
    return {
        "graphs": [
            {
                "tags": list(graph.tags),
                "signatures": {
                    name: asdict(found) for name, found in graph.signatures.items() if name not in reading.INTERNAL
                },
                "segments": reading.segments(graph),
            }
            for graph in reading.graphs(given["directory"])
        ]
    }


def main(arguments: list[str]) -> int:
    """Print the answer, or the reason for none."""
    return program.run(answer, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
