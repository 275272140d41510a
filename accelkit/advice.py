"""Which acceleration path to try first: the decision tree of advice.toml, walked by one pure function."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit.errors import ConfigError
from accelkit.versions import tomllib

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
QUESTIONS: dict[str, Any] = TABLE["questions"]


@dataclass(frozen=True)
class Advice:
    """A path to try first: why, what to see before believing it, what to beware of, how to shape load, what next."""

    path: str
    why: str
    evidence: str
    beware: str
    shape: str
    lesson: str
    trail: tuple[tuple[str, str], ...]

    @property
    def next(self) -> str:
        """Return the lesson to read, if this kit has it yet, and the command to run."""
        from accelkit import lessons

        if self.lesson not in lessons.names():
            return f"this version of the kit does not build {self.path} yet; `accelkit paths` says what it needs"
        return f"lesson {self.lesson}, then `accelkit compare`"


def advise(kind: str = "network", *, gpus: int = 0, isa: tuple[str, ...] = (), **answers: str) -> Advice:
    """Walk the tree: `gpus` and `isa` come from the machine; framework, engine, operators and goal from you.

    A question without an answer takes its first one. Raises ConfigError for an unknown question or answer.
    """
    return walk({"kind": kind, **known(gpus, isa), **answers})


def known(gpus: int, isa: tuple[str, ...]) -> dict[str, str]:
    """Return the answers that a machine gives: has it a GPU, and a CPU that multiplies 8-bit integers fast."""
    from accelkit.machine import int8

    return {"gpu": "yes" if gpus else "no", "int8": "yes" if int8(isa) else "no"}


def walk(given: Mapping[str, str]) -> Advice:
    """Walk the tree with answers by question, as `advise` does."""
    for question, answer in given.items():
        if question not in QUESTIONS:
            raise ConfigError(f"advise: there is no question {question!r}: choose from {', '.join(QUESTIONS)}")
        if answer not in QUESTIONS[question]["answers"]:
            raise ConfigError(f"advise: {question}={answer!r}: choose from {', '.join(QUESTIONS[question]['answers'])}")
    given = {question: given.get(question, next(iter(about["answers"]))) for question, about in QUESTIONS.items()}
    node, trail = TABLE["tree"], []
    while not isinstance(node, str):
        about = QUESTIONS[node["ask"]]
        trail.append((about["ask"], about["answers"][given[node["ask"]]]))
        node = node[given[node["ask"]]]
    return Advice(path=node, shape=TABLE["goals"][given["goal"]], trail=tuple(trail), **TABLE["leaves"][node])


def text(advice: Advice) -> str:
    """Return an advice as lines of text."""
    lines = [f"{question:<38} {answer}" for question, answer in advice.trail]
    said = {"Try first": advice.path, "Why": advice.why, "Believe it when": advice.evidence, "Beware": advice.beware}
    said |= {"Shape": advice.shape, "Next": advice.next}
    wrapped = (textwrap.fill(f"{title + ':':<16} {said[title]}", 100, subsequent_indent=" " * 17) for title in said)
    return "\n".join([*lines, "", *wrapped])


def tree(node: Mapping[str, Any] = TABLE["tree"], indent: str = "") -> str:
    """Return the whole decision tree as text."""
    about = QUESTIONS[node["ask"]]
    lines = [f"{indent}{about['ask']}"]
    for number, (answer, label) in enumerate(about["answers"].items(), 1):
        corner, follow = ("└─ ", "   ") if number == len(about["answers"]) else ("├─ ", "│  ")
        leaf = isinstance(node[answer], str)
        lines.append(f"{indent}{corner}{label} → {node[answer]}" if leaf else f"{indent}{corner}{label}")
        lines += [] if leaf else [tree(node[answer], indent + follow)]
    return "\n".join(lines)
