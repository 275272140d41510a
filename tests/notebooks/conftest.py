"""One execution of every lesson and every solution, shared by all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accelkit import lessons
from accelkit.errors import LessonError
from accelkit.lessons import execution, form


@dataclass(frozen=True)
class Tour:
    """Where the executed lessons lie, their summary, and what went wrong in each solution."""

    out: Path
    summary: dict[str, Any]
    solutions: dict[str, str | None]


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """Execute every lesson, then every solution, once."""
    out = tmp_path_factory.mktemp("tour")
    summary = lessons.run(out=out, progress=False)
    failures: dict[str, str | None] = {}
    for name in lessons.names():
        source = form.solution(form.lesson(name))
        try:
            execution.execute(source, out / source.name, out / "solutions")
            failures[name] = None
        except LessonError as error:
            failures[name] = str(error)
    return Tour(out, summary, failures)
