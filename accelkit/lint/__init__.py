"""Lint config.pbtxt files: what will not load, and what loads without the effect that its author expects, by era."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import paths, repository
from accelkit.backends.key import ERAS
from accelkit.errors import ConfigError
from accelkit.lint.rules import RULES
from accelkit.lint.subject import Subject
from accelkit.models import MODELS

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

SEVERITIES = ("error", "warning", "info")
NOT_BUILT = "not-built"
"""The rule that finds something in nearly every config of a fresh checkout."""
OTHERS = "configs"
"""The folder of a model's further configurations."""


@dataclass(frozen=True)
class Finding:
    """One thing found: where, how bad, by which rule, what it is, why it matters, how to put it right, in which eras."""

    place: str
    severity: str
    rule: str
    what: str
    why: str
    fix: str
    eras: tuple[str, ...]

    def line(self, asked: Sequence[str] = ERAS) -> str:
        """Return it as one line; its eras are named when they are not all that were asked for."""
        only = f" (era {', '.join(self.eras)})" if self.eras != tuple(asked) else ""
        return f"{self.place}: {self.severity} {self.rule}: {self.what}{only}; {self.why}; fix: {self.fix}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "eras": list(self.eras)}


def check(
    config: ModelConfig, *, eras: Sequence[str] = ERAS, directory: Path | None = None, where: str = "", text: str = ""
) -> list[Finding]:
    """Return what the rules find in a configuration; `where` is its file and `text` the file's text, for line numbers."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for era in eras:
        subject = Subject(config, era, directory)
        for rule in RULES:
            if era in rule.eras and (not rule.backends or subject.backend in rule.backends):
                for token, what in rule.find(subject):
                    found.setdefault((rule.name, what), (token, []))[1].append(era)
    by_name = {rule.name: rule for rule in RULES}
    findings = [
        Finding(_place(where or config.name, text, token), rule.severity, name, what, rule.why, fix, tuple(seen))
        for (name, what), (token, seen) in found.items()
        for rule in [by_name[name]]
        for fix in [_recipe(rule.fix, directory) if directory and name == NOT_BUILT else rule.fix]
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def named(text: str) -> tuple[str, ...]:
    """Return the eras that a file says it is for, in a comment such as `# ... one era (legacy)`; all where it names none."""
    found = re.search(r"^#.*\beras? \(([\w, ]+)\)", text, re.MULTILINE)
    return tuple(era for era in ERAS if found and era in found[1].split(", ")) or ERAS


def file(path: Path, eras: Sequence[str] | None = None) -> list[Finding]:
    """Return the findings in a config.pbtxt, for the eras that it names by default.

    One that cannot be read or does not parse is a finding. A file beside it in configs/ is for a server that is started
    with --model-config-name; named after an era it is for that.
    """
    text, fix = "", "let the linter read it, as text in UTF-8"
    try:
        text = repository.content(path)
        fix = "correct it at the line and column that are named"
        config = repository.parse(text, path)
    except ConfigError as error:
        place, _, reason = str(error).partition(": ")
        eras = named(text) if eras is None else eras
        return [Finding(place, "error", "syntax", reason, "the server cannot read the file", fix, tuple(eras))]
    eras = named(text) if eras is None else eras
    directory = path.absolute().parent
    if directory.name == OTHERS:
        directory, eras = directory.parent, [era for era in eras if path.stem not in ERAS or era == path.stem]
    return check(config, eras=eras, directory=directory, where=str(path), text=text)


def configs(targets: Iterable[Path]) -> list[Path]:
    """Return the config files that are meant: files, models' directories, repositories; ConfigError for what is none."""
    files: list[Path] = []
    for target in targets:
        if target.is_file():
            files.append(target)
        elif (target / repository.FILE).is_file():
            files.append(target / repository.FILE)
        elif below := sorted(target.glob(f"[!.]*/{repository.FILE}")):
            files += below
        else:
            raise ConfigError(f"{target}: no {repository.FILE} there: name a file, a model's directory or a repository")
    others = {file: sorted(file.parent.glob(f"{OTHERS}/*.pbtxt")) for file in files if file.parent.name != OTHERS}
    return list(dict.fromkeys(each for file in files for each in (file, *others.get(file, ()))))


def _recipe(fix: str, directory: Path) -> str:
    """The advice to build with the path, the precision and the model that a directory of the kit is named after."""
    below = directory.parent.is_relative_to(Path.cwd())
    fix += f" --repository {directory.parent.relative_to(Path.cwd()) if below else directory.parent}"
    for model in MODELS:
        for name in paths.names():
            head = f"{model}_{name.replace('-', '_')}"
            precision = directory.name.removeprefix(f"{head}_")
            if directory.name == head or precision in paths.get(name).PRECISIONS:
                spec = name if directory.name == head else f"{name}:{precision}"
                return fix.replace("PATH", spec if model == MODELS[0] else f"{spec} --model {model}")
    return fix


def _place(where: str, text: str, token: str) -> str:
    """The file with the line of the first appearance of a word outside comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if token and token in line.partition("#")[0]:
            return f"{where}:{number}"
    return where
