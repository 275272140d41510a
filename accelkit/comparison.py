"""Every path of one model in one run: build, serve, prove, then measure the proven ones, interleaved."""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import builders, interpreters, machine, paths, repository, toolchain
from accelkit.budget import Budget, budget
from accelkit.errors import AccelkitError, ConfigError, MeasureError
from accelkit.measure import bench, compared, evidence, parity
from accelkit.measure.bench import Candidate, Load
from accelkit.measure.result import CONTROL, IN_PROCESS, Result, write_raw
from accelkit.models import MODELS, batches, named
from accelkit.models.files import digest
from accelkit.serving import Server

if TYPE_CHECKING:
    from accelkit.models import Model

PROFILED = 3
LARGEST = 1024
"""Batch up to which a network is measured; its configs offer less unless they are told."""


@dataclass
class Entry:
    """What is known of one path in one precision so far."""

    path: paths.Path
    precision: str
    served: str = ""
    model: Model | None = None
    """The model with its tensors named as they are served."""
    status: str = "measured"
    reason: str | None = None
    seconds: float = 0.0
    parts: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its row is called."""
        return paths.label(self.path.NAME, self.precision)

    def end(self, status: str, reason: str) -> None:
        """Take the path out of the run."""
        self.status, self.reason = status, " ".join(reason.split())


def compare(
    model: Model,
    names: Iterable[str] | None = None,
    *,
    baseline: str | None = None,
    load: Load | None = None,
    out: Path = Path("build/raw"),
    progress: bool = True,
    limits: Budget | None = None,
    in_process: Mapping[str, Callable[[], bench.Run]] | None = None,
    settings: Mapping[str, int] | None = None,
) -> list[Result]:
    """Return one Result for every path named, as PATH or PATH:PRECISION (None: all), the baseline always first.

    `baseline` is the path, PATH or PATH:PRECISION, that the others are compared with; PATH alone is its fp32;
    None is the one of its kind of model.
    Each is built, served alone with profiles on (evidence), checked for parity, and only then measured: all in one
    server, and beside it one for each path that has an interpreter of its own; the order rotates, the baseline comes twice
    a repeat. A path that is not here, fails or is rejected has its reason and no speed. The raw exports go to
    `out`/raw-MODEL.json.gz, the inputs of the load to `out`/inputs-MODEL.json. `in_process` measures the rows of these labels
    without a server, in the same run. `settings`, such as instances, go into the config of each path that takes them.
    """
    load, limits, here = load or Load(), limits or budget(), machine.probe()
    say: Callable[[str], object] = (lambda text: print(text, flush=True)) if progress else (lambda text: None)
    entries = _entries(model, names, baseline or paths.baseline(model))
    largest = LARGEST if model.kind == "network" and model.max_batch > 1 else max(1, model.max_batch)
    if load.batch > largest:
        raise ConfigError(f"batch {load.batch} is more than {model.name} takes: give at most {largest}")
    version = None
    with tempfile.TemporaryDirectory(prefix="accelkit-compare-") as folder:
        store = Path(folder, "repository")
        for entry in entries:
            if reason := paths.unavailable(entry.path, here, model) or paths.apart(entry.path):
                entry.end("unavailable", reason)
                continue
            say(f"{entry.name}: building and proving")
            with _guarded(entry):
                _prepare(entry, model, store, Path(folder, "profile", entry.name), load, **settings or {})
            if entry.status != "measured":
                say(f"{entry.name}: {entry.status}: {entry.reason}")
        if live := _live(entries):
            with ExitStack() as stack:
                at = _serve(live, store, stack)
                version = at[live[0].name].version
                for entry in live:
                    with _guarded(entry):
                        _prove(at[entry.name], model, entry, load, limits, say)
                runs = _measure(at, model, entries, load, out, limits, say, in_process or {})
            if runs:
                raw = out / f"raw-{model.name}.json.gz"
                _conclude(entries, runs, load, raw.name)
                write_raw(raw, load, runs)
    origin = where(version)
    return [_result(entry, model, origin) for entry in entries]


def compare_all(models: Sequence[Model], names: Iterable[str] | None = None, **options: Any) -> list[Result]:
    """Return the rows of `compare` for each model, one after the other; of paths named, those that the model can take."""
    rows: list[Result] = []
    for model in models:
        rows += compare(model, names if names is None else _takes(model, names, models), **options)
    return rows


def _takes(model: Model, names: Iterable[str], models: Sequence[Model]) -> list[str]:
    """The specs without those whose precision only other models can be had in."""
    elsewhere = {precision for other in models for precision in other.precisions} - set(model.precisions)
    return [spec for spec in names if spec.partition(":")[2] not in elsewhere]


def _entries(model: Model, names: Iterable[str] | None, baseline: str) -> list[Entry]:
    """Every path and precision once, the baseline first; of a path that is not here one row says so."""
    here, found = machine.probe(), dict[str, Entry]()
    first = paths.one(baseline, model)
    for spec in [f"{first[0].NAME}:{first[1]}", *(paths.names() if names is None else names)]:
        able = paths.chosen(spec, model)
        if ":" not in spec:
            able = [one for one in able if paths.worthwhile(*one, here)]
        for path, precision in able[:1] if paths.unavailable(able[0][0], here, model) else able:
            entry = Entry(path, precision)
            found.setdefault(entry.name, entry)
    return list(found.values())


def _live(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.status == "measured"]


def _serve(entries: Sequence[Entry], store: Path, stack: ExitStack) -> dict[str, Server]:
    """A server for each path, by its row's name: one for all, and one for those of each interpreter that only some have."""
    groups: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(interpreters.own(entry.path).items()), []).append(entry)
    at: dict[str, Server] = {}
    for own, group in groups.items():
        server = Server(store, models=[entry.served for entry in group], interpreters=dict(own))
        at |= dict.fromkeys([entry.name for entry in group], stack.enter_context(server))
    return at


@contextmanager
def _guarded(entry: Entry) -> Iterator[None]:
    try:
        yield
    except AccelkitError as error:
        entry.end("failed", str(error))


def _prepare(entry: Entry, model: Model, store: Path, profile: Path, load: Load, **settings: int) -> None:
    """Build, place and serve alone with the profile on; read the evidence."""
    path = entry.path
    fitted = paths.fitted(path, machine.probe(), load.batch, model.max_batch, **settings)
    config = path.config(model, precision=entry.precision, **fitted)
    entry.served, entry.model = config.name, paths.as_served(model, config)
    entry.provenance = {"code": code(path, model), "config": digest(repository.text(config).encode()), "raw": None}
    entry.provenance["builders"] = built_by(path, model, entry.precision)
    placed = paths.place(path, model, store, entry.precision, **fitted)
    entry.cost = {"build_s": round(placed.seconds, 3), "size_mb": round(placed.size_mb, 3)}
    inputs = next(batches(model, model.samples("test", 4).inputs, min(4, load.batch)))
    with Server(store, models=[entry.served], profile=profile, interpreters=interpreters.own(path)) as server:
        for _ in range(PROFILED):
            server.infer(entry.served, named(entry.model.inputs, inputs))
    try:
        found = evidence.READERS[path.EVIDENCE](profile)
    except MeasureError as error:
        return entry.end("rejected", str(error))
    entry.parts["evidence"] = found.as_dict()
    entry.parts["precision"] = {"requested": entry.precision, "observed": found.observed}


def _measure(
    at: Mapping[str, Server],
    model: Model,
    entries: list[Entry],
    load: Load,
    out: Path,
    limits: Budget,
    say: Callable[[str], object],
    in_process: Mapping[str, Callable[[], bench.Run]],
) -> dict[str, list[bench.Run]]:
    """The interleaved runs of the paths that are proven; none without the baseline, which is the first entry."""
    able, base = _live(entries), entries[0]
    again = f"{base.name} {CONTROL}"
    runs: dict[str, list[bench.Run]] = {}
    broken: dict[str, str] = {}
    if base in able:
        data = {entry.name: _inputs_file(model, entry, out) for entry in able}
        measures = {
            entry.name: bench.served(at[entry.name], entry.served, load, data[entry.name], entry.seconds)
            for entry in able
        }
        candidates = [Candidate(name, measure) for name, measure in measures.items()]
        candidates.insert(1, Candidate(again, measures[base.name]))
        candidates += [Candidate(f"{name} {IN_PROCESS}", in_process[name]) for name in measures if name in in_process]
        runs = bench.interleave(candidates, limits.repeats, say, broken)
        for name, reason in broken.items():
            say(f"{name}: {reason}")
        for entry in able:
            entry.provenance["command"] = bench.command(
                entry.served, "127.0.0.1:8001", load, data[entry.name].name, entry.seconds
            )
            if entry.name in broken:
                entry.end("failed", broken[entry.name])
    if base.name in runs and again in runs:
        return runs
    for entry in _live(entries):
        entry.end("failed", f"the baseline gives no number to compare with: {base.reason or broken[again]}")
    return {}


def _inputs_file(model: Model, entry: Entry, out: Path) -> Path:
    """The inputs of the load under the names that a path is served by: one file for all that keep the model's own."""
    served = entry.model or model
    own = f"-{served.inputs[0].name}" if served.inputs != model.inputs else ""
    file = out / f"inputs-{model.name}{own}.json"
    return bench.inputs_file(served, file)


def _prove(
    server: Server, model: Model, entry: Entry, load: Load, limits: Budget, say: Callable[[str], object]
) -> None:
    model = entry.model or model
    entry.seconds, first = bench.seconds_for(server, entry.served, model, load, limits.window_s)
    entry.cost["first_inference_ms"] = round(first, 2)
    infer, seen = parity.served(server, entry.served, model), entry.parts["precision"]["observed"]
    rule = parity.held_to(entry.precision, seen)
    verdict = parity.check(model, infer, rule, limits.samples, min(16, load.batch))
    entry.parts["parity"] = verdict.as_dict()
    entry.cost["memory_mb"] = memory_mb(server, entry.served)
    say(f"{entry.name}: parity {'passed' if verdict.passed else 'FAILED: ' + str(verdict.reason)}")
    if verdict.reason:
        entry.end("rejected", verdict.reason + (f"; it ran in {seen}" if seen != entry.precision else ""))


def _conclude(entries: list[Entry], runs: dict[str, list[bench.Run]], load: Load, raw: str) -> None:
    rates = {name: [run.throughput for run in made] for name, made in runs.items()}
    base = entries[0].name
    again = f"{base} {CONTROL}"
    for entry in _live(entries):
        verdict = compared.versus(base, rates[base], rates[again], rates[again if entry is entries[0] else entry.name])
        own = runs.get(f"{entry.name} {IN_PROCESS}")
        entry.parts |= {"speed": compared.speed(runs[entry.name], load, own), "versus": verdict.as_dict()}
        entry.provenance["raw"] = raw


def _result(entry: Entry, model: Model, origin: dict[str, Any]) -> Result:
    parts = {"precision": {"requested": entry.precision, "observed": None}, **entry.parts}
    return Result(
        model.name, model.variant, entry.path.NAME, entry.status, entry.reason,
        cost=entry.cost or None, why=_why(entry, model), where=origin, provenance=entry.provenance, **parts,
    )  # fmt: skip


def _why(entry: Entry, model: Model) -> str | None:
    """Cause, evidence and next command of a row that is rejected or slower."""
    nodes = ", ".join(f"{count} {kind}" for kind, count in entry.parts.get("evidence", {}).get("nodes", {}).items())
    spec = f"{entry.path.NAME}:{entry.precision}"
    again = f"bench {spec} --model {model.name} --variant {model.variant}"
    again = again if model.name in MODELS else f"compare {model.onnx()} --path {spec}"
    proof = f"what ran: {nodes or 'nothing seen'}; next: accelkit {again} --batch 1"
    if entry.status == "rejected":
        return f"{entry.reason}; {proof}"
    versus = entry.parts.get("versus", {})
    return f"{versus['ratio']:.2f} times the baseline; {proof}" if versus.get("verdict") == "slower" else None


def code(path: paths.Path, model: Model) -> str:
    """Hash of what ran: the path's recipe, its stand-in backend and the model's own code and weights."""
    backend = sorted((Path(__file__).parent / "backends" / path.BACKEND).glob("*.py"))
    return digest(Path(path.__file__), *backend, model.code_hash.encode())


def built_by(path: paths.Path, model: Model, precision: str) -> str:
    """Hash of the modules that built what ran, beside those of `code`."""
    return digest(*builders.sources(Path(path.__file__), precision, model.name))


def memory_mb(server: Server, served: str) -> float | None:
    """Resident memory in MB of the processes of a model's instances in an embedded server and their children; None elsewhere."""
    above: dict[int, int] = {}
    held: dict[int, int] = {}
    instances = set()
    for process in Path("/proc").glob("[0-9]*") if server.mode == "embedded" else ():
        with suppress(OSError):  # a process that ended meanwhile
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            instance = any(re.fullmatch(rf"{re.escape(served)}(_\d+)+", word) for word in words)
            number = int(process.name)
            above[number], held[number] = int(status["PPid"]), int(status.get("VmRSS", "0").split()[0])
            if instance and above[number] == server.pid:
                instances.add(number)
    total = sum(size for number, size in held.items() if instances & {number, above[number]})
    return round(total / 1024, 1) or None


def where(version: str | None) -> dict[str, Any]:
    """Return the where part of a Result: this machine, the embedded server's version, the packages' versions, today.

    Packages of an interpreter other than the kit's are named with whose it is, such as "tensorrt of onnxruntime".
    """
    here = machine.probe()
    facts = {key: value for key, value in here.as_dict().items() if key != "runtimes"}
    analyzer = toolchain.analyzer(here)["version"]
    used = {name: here.runtimes[name] for name in machine.RUNTIMES if name in here.runtimes}
    shared = {"numpy", "protobuf", "tritonclient"}
    for path in map(paths.get, paths.names()):
        own = interpreters.name(path.NAME, path.BACKEND)
        with suppress(ConfigError):  # an interpreter that cannot be asked has run nothing
            found = interpreters.packages(own) if interpreters.named(own) else {}
            used |= {
                f"{name} of {own}": found[name] for name in machine.RUNTIMES if name in found and name not in shared
            }
    return {
        "machine": {"line": here.line(), "best_isa": here.best_isa(), **facts},
        "gpus": len(here.gpus),
        "server": {"mode": "embedded", "version": version},
        "versions": used | {"perf_analyzer": analyzer},
        "date": datetime.date.today().isoformat(),
    }
