"""The command line: every command prints what a person reads, or JSON where a program may read it."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelkit.errors import AccelkitError, ConfigError
from accelkit.program import PREFIX, reason

if TYPE_CHECKING:
    from accelkit.models import Model

BUILD = Path("build")
SHOWN = 8  # files of a model that are named


class Folder(click.Path):
    """The path of a folder, be it there or not; one of a file, or below a file, is refused before anything is done."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return it as a path."""
        path = Path(value)
        if file := next((one for one in (path, *path.parents) if one.exists() and not one.is_dir()), None):
            self.fail(f"{file} is a file: name a folder", param, ctx)
        return path


FILE = click.Path(path_type=Path, dir_okay=False)


def folder_option(name: str, default: Path, text: str, kind: click.Path | None = None) -> Callable:
    """Return an option that takes the path of a folder, or of another kind."""
    return click.option(name, type=kind or Folder(), default=default, show_default=True, help=text)


def bundle(*options: Callable) -> Callable:
    """Return one decorator that adds these options, in this order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
variant_option = click.option("--variant", help="Variant of the model  [default: the model's smallest].")
model_option = bundle(
    click.option("--model", "model_name", default="text_recognition", show_default=True, help="Model to use."),
    variant_option,
)
repository_option = folder_option("--repository", Path("model_repository"), "Model repository.")
load_option = bundle(
    click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Rows in one request."),
    click.option("--concurrency", type=click.IntRange(1), default=2, show_default=True, help="Requests in flight."),
    click.option(
        "--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True, help="Protocol."
    ),
)
PORTS, PORT = ("http", "grpc", "metrics"), click.IntRange(1, 65535)
port_options = bundle(
    *(click.option(f"--{name}-port", type=PORT, help="Fixed port  [default: a free one].") for name in PORTS)
)


def show(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="accelkit")
def cli() -> None:
    """Take one model down every acceleration path of Triton Inference Server and prove which of them help here."""


@cli.command()
@json_option
@click.option("--repair", is_flag=True, help="Fetch the server and the load generator again.")
def doctor(as_json: bool, repair: bool) -> None:
    """Check this machine; the output is what a bug report needs."""
    from accelkit import doctor as module
    from accelkit import machine, recorded, toolchain

    if repair:
        toolchain.repair()
    found = machine.probe()
    checks = module.checks(found)
    if as_json:
        origin, expected = recorded.expect(found)
        expectations = {"record": origin, "paths": [vars(row) for row in expected]}
        show({"machine": found.as_dict(), "checks": [vars(check) for check in checks], "expect": expectations})
    else:
        click.echo(f"{module.text(found, checks)}\n\n{recorded.text(found)}")
    if any(check.state == "missing" for check in checks):
        sys.exit(2)


@cli.command()
@json_option
def paths(as_json: bool) -> None:
    """List the acceleration paths and say which of them this machine can take."""
    from accelkit import machine
    from accelkit import paths as module

    found = machine.probe()
    rows: list[dict[str, Any]] = [
        {
            "path": path.NAME,
            "backend": path.BACKEND,
            "precisions": path.PRECISIONS,
            "needs": path.NEEDS,
            "unavailable": path.unavailable(found),
        }
        for path in map(module.get, module.names())
    ]
    if as_json:
        return show(rows)
    width = max(len(row["path"]) for row in rows)
    for row in rows:
        state = f"not here: {row['unavailable']}" if row["unavailable"] else f"ready: {', '.join(row['precisions'])}"
        click.echo(f"{row['path']:<{width}}  {state}")


@cli.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models and their variants, or import a checkpoint of your own."""
    if context.invoked_subcommand:
        return
    from accelkit import models as module

    if as_json:
        return show({name: list(variants) for name, variants in module.names().items()})
    for name, variants in module.names().items():
        click.echo(f"{name}: {', '.join(variants)}")


@models.command("import")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="Name of the new variant  [default: the file's name].")
def models_import(checkpoint: Path, name: str | None) -> None:
    """Import a text recognition CHECKPOINT (.pth or .safetensors) as a variant of its own."""
    from accelkit.models.text_recognition.import_checkpoint import import_checkpoint

    name = name or checkpoint.stem
    stored = import_checkpoint(checkpoint, name)
    click.echo(f"imported as variant {name} ({stored}); use it with --variant {name}")


@cli.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--path", "path_name", default="onnxruntime-cpu", show_default=True, help="Acceleration path to serve through."
)
@variant_option
@click.option("--url", help="gRPC address of a running server instead of a server of our own.")
@click.option("--http-port", type=PORT, help="That server's HTTP port  [default: the one below its gRPC port].")
@json_option
def recognize(images: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Read the word in each picture IMAGES through a real Triton server."""
    from accelkit.recognize import recognize as run

    words = zip(images, run(images, **options), strict=True)
    if as_json:
        return show([{"image": str(image), "word": word} for image, word in words])
    for image, word in words:
        click.echo(f"{image}: {word}")


@cli.command()
@click.argument("path_name", metavar="PATH")
@model_option
@repository_option
@json_option
def build(path_name: str, model_name: str, variant: str | None, repository: Path, as_json: bool) -> None:
    """Build the model for PATH and put it into a model repository with its config.pbtxt."""
    from accelkit import models as model_table
    from accelkit import paths as path_table

    model = model_table.get(model_name, variant)
    path, precision = path_table.one(path_name, model)
    built = path_table.place(path, model, repository, precision)
    if as_json:
        files = [str(file) for file in built.files]
        return show({**vars(built), "directory": str(built.directory), "files": files})
    names = ", ".join(file.name for file in built.files[:SHOWN])
    names += f" and {len(built.files) - SHOWN} more" if len(built.files) > SHOWN else ""
    click.echo(f"{built.directory}: {names} ({built.size_mb:.1f} MB in {built.seconds:.1f} s)")


@cli.command()
@repository_option
@click.option(
    "--mode",
    type=click.Choice(["embedded", "container"]),
    default="embedded",
    show_default=True,
    help="Server out of the wheel, or NVIDIA's image.",
)
@port_options
def serve(repository: Path, mode: str, **ports: int | None) -> None:
    """Serve a model repository in the foreground until Ctrl-C."""
    from accelkit.serving.foreground import serve as run

    run(repository, mode=mode, echo=click.echo, **ports)


def measure(
    models: Sequence[Model],
    names: list[str] | None,
    out: Path,
    as_json: bool,
    record: str | None = None,
    baseline: str | None = None,
    **load: Any,
) -> None:
    """Compare the named paths of each model, keep the results and print the rows."""
    from accelkit import comparison, machine, paths, recorded, report
    from accelkit.measure import bench as module
    from accelkit.measure import result

    here = machine.probe()
    asked = {spec: paths.get(spec.partition(":")[0]) for spec in names or []}
    reasons = {path.NAME: [paths.unavailable(path, here, model) for model in models] for path in asked.values()}
    if reasons and all(all(found) for found in reasons.values()):
        name, found = next(iter(reasons.items()))
        raise ConfigError(f"nothing to measure: path {name} is unavailable: {found[0]}")

    with result.new_run(out, functools.partial(click.echo, err=True)) as run:
        given = {"baseline": baseline, "load": module.Load(**load), "out": run, "progress": not as_json}
        results = recorded.with_gpus(comparison.compare_all(models, names, **given))
        result.write(run / result.FILE, results)
    if record:
        recorded.keep(record, [row for row in results if not row.recorded], out)
    if as_json:
        return show([row.as_dict() for row in results])
    click.echo(report.table(results))


@cli.command()
@click.argument("path_name", metavar="PATH")
@model_option
@load_option
@folder_option("--out", BUILD / "bench", "Folder for the result and the raw exports.")
@json_option
def bench(path_name: str, model_name: str, variant: str | None, **options: Any) -> None:
    """Prove a PATH right, then measure it with perf_analyzer against the baseline.

    PATH:PRECISION is one precision of it, PATH alone all that it can build the model in. When the run is done, what an earlier
    one left in --out moves to a folder beside it that bears that run's date.
    """
    from accelkit import models

    measure([models.get(model_name, variant)], [path_name], **options)


own_options = bundle(
    click.option("--inputs", type=click.Path(path_type=Path), help="Samples for it: an .npz, [N, ...] by input name."),
    click.option("--shape", "shapes", multiple=True, help="Free dimensions of an input of it, as NAME:128x3."),
    click.option("--model", "model_name", help="Model of the kit to use instead."),
    variant_option,
)


def own(
    file: Path | None, inputs: Path | None, shapes: Sequence[str], model_name: str | None, variant: str | None
) -> Any:
    """Return the model of an ONNX file, or None where the options say that a model of the kit is meant."""
    if file is None and (inputs or shapes):
        raise ConfigError("--inputs and --shape belong to an ONNX file of your own: name it")
    if file is not None and (model_name or variant):
        raise ConfigError(f"{file} is the model: leave --model and --variant out")
    if file is None:
        return None
    from accelkit.models import onnx_file

    return onnx_file.load(file, inputs, dict(map(_shape, shapes)))


@cli.command()
@click.argument("file", metavar="[MODEL.onnx]", required=False, type=click.Path(path_type=Path))
@own_options
@click.option(
    "--path",
    "names",
    multiple=True,
    help="PATH (in every precision) or PATH:PRECISION; repeat for several  [default: all].",
)
@click.option(
    "--baseline", help="PATH or PATH:PRECISION to compare with  [default: onnxruntime-cpu; fastertransformer for gpt]."
)
@load_option
@folder_option("--out", BUILD / "compare", "Folder for the results and the raw exports.")
@click.option("--record", metavar="NAME", help="Keep what was measured as notebooks/recorded/NAME.json too.")
@json_option
def compare(
    file: Path | None,
    inputs: Path | None,
    shapes: tuple[str, ...],
    names: tuple[str, ...],
    model_name: str | None,
    variant: str | None,
    **options: Any,
) -> None:
    """Prove and measure every path in one interleaved run, for every model of the kit or the one that --model names.

    A path that is not here has its reason in its row. With an ONNX file of your own, its outputs on every path are held
    against those of the CPU in FP32; without --inputs they are made at random. When the run is done, what an earlier one
    left in --out moves to a folder beside it that bears that run's date, such as build/compare-2026-11-30_14-05-09.
    """
    from accelkit import models

    model = own(file, inputs, shapes, model_name, variant)
    if variant and model_name is None:
        raise ConfigError(f"--variant {variant} needs --model: say whose variant it is")
    every = [model_name] if model_name else models.names()
    chosen = [model] if model else [models.get(name, variant) for name in every]
    measure(chosen, list(names) or None, **options)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return name and dimensions of NAME:128x3."""
    name, _, dims = text.rpartition(":")
    if not name or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", dims):
        raise ConfigError(f"--shape {text}: write it as NAME:128x3, without the batch")
    return name, tuple(map(int, dims.split("x")))


@cli.command()
@click.argument("path_name", metavar="PATH")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--onnx", "file", type=click.Path(path_type=Path), help="An ONNX file of your own as the model.")
@own_options
@folder_option("--results", BUILD / "compare" / "results.json", "Results that the path `best` is taken from.", FILE)
def export(
    path_name: str, folder: Path, results: Path, model_name: str | None, variant: str | None, **options: Any
) -> None:
    """Write PATH (or PATH:PRECISION, or `best`) as a project in DIR: model repository, client, test, compose file, README.

    The model is text_recognition, unless --model or --onnx says otherwise. `best` is the fastest path that was proven and
    measured here; which one that is, and by what numbers, is printed.
    """
    from accelkit import export as module
    from accelkit import models

    model = own(model_name=model_name, variant=variant, **options) or models.get(
        model_name or models.MODELS[0], variant
    )
    made = module.export(model, path_name, folder, results, click.echo)
    click.echo(f"{made}: {', '.join(sorted(file.name for file in made.iterdir()))}; read {made / 'README.md'} first")


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--run", "execute", is_flag=True, help="Execute the lessons and check them.")
@click.option("--record", is_flag=True, help="Execute the lessons and write them back with their outputs.")
@folder_option("--out", BUILD / "tour", "Folder for the executed lessons.")
@json_option
def lessons(names: tuple[str, ...], execute: bool, record: bool, out: Path, as_json: bool) -> None:
    """List the lessons NAMES (all if none is named), execute them, or record them anew.

    A lesson is named by its name or its number.
    """
    from accelkit import lessons as module

    module.command(list(names), execute=execute, record=record, out=out, as_json=as_json, echo=click.echo)


@cli.command()
@click.argument("targets", nargs=-1, metavar="[TARGETS]...", type=click.Path(path_type=Path))
@repository_option
@click.option(
    "--era",
    type=click.Choice(["legacy", "bridge", "current"]),
    help="Era of the server  [default: those that a file names].",
)
@click.option("--verbose", is_flag=True, help="Name each config whose model is not built, as for a file among TARGETS.")
@json_option
def lint(targets: tuple[Path, ...], repository: Path, era: str | None, verbose: bool, as_json: bool) -> None:
    """Say what in config.pbtxt files will not load, or loads without the effect that you expect.

    TARGETS are config files, models' directories or repositories; without one it is the whole model repository. Exit
    code 0 means nothing or only warnings, 1 that errors were found, 2 that there is nothing to lint.
    """
    from accelkit import lint as module
    from accelkit import paths

    eras = (era,) if era else None
    files = module.configs(targets or [repository])
    found = [finding for file in files for finding in module.file(file, eras)]
    if as_json:
        show([finding.as_dict() for finding in found])
    whole = verbose or any(target.is_file() for target in targets)
    unbuilt = [] if whole else [finding for finding in found if finding.rule == module.NOT_BUILT]
    for finding in [] if as_json else found:
        if finding not in unbuilt:
            click.echo(finding.line(eras or module.ERAS))
    if not as_json:
        counts = [sum(finding.severity == kind for finding in found) for kind in ("error", "warning", "info")]
        click.echo("configs: {}, errors: {}, warnings: {}, remarks: {}".format(len(files), *counts), err=True)
    if unbuilt and not as_json:
        one = max(unbuilt, key=lambda finding: paths.BASELINE in finding.fix)
        said = f"{len(unbuilt)} of the remarks are models not built yet, such as {one.place} ({one.fix})"
        click.echo(f"{said}; --verbose names all", err=True)
    if any(finding.severity == "error" for finding in found):
        sys.exit(1)


@cli.command()
@folder_option("--out", BUILD, "Folder for everything that is made.")
def tour(out: Path) -> None:
    """Run everything: set-up check, models, every lesson, the comparison and the report."""
    from accelkit.tour import run

    sys.exit(run(out, echo=click.echo))


@cli.command()
@folder_option("--results", BUILD / "compare" / "results.json", "Results to show.", FILE)
@folder_option("--summary", BUILD / "tour" / "summary.json", "Summary of the lessons, if there is one.", FILE)
@folder_option("--out", BUILD / "report" / "index.html", "HTML file to write.", FILE)
def report(results: Path, summary: Path, out: Path) -> None:
    """Write the HTML report of the last comparison and print its table."""
    from accelkit import report as module
    from accelkit.measure import result as results_module

    if not results.exists():
        raise ConfigError(f"no results at {results}: run `accelkit compare` first, or name a file with --results")
    rows = results_module.read(results)
    try:
        lessons = json.loads(summary.read_text())["lessons"] if summary.exists() else []
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"{summary} holds no summary of the lessons: run `accelkit tour`, or delete it") from None
    click.echo(module.table(rows))
    click.echo(f"report: {module.html(rows, {'lessons': lessons}, out)}")


def main() -> None:
    """Run the command line: a user's error is one line and exit code 2, never a traceback."""
    try:
        sys.exit(cli(prog_name="accelkit", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"{PREFIX}{error.format_message()} (see --help)", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("accelkit: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (AccelkitError, OSError) as error:
        click.echo(f"{PREFIX}{reason(error)}", err=True)
        sys.exit(AccelkitError.exit_code)
