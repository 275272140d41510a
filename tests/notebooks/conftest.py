"""One execution of every lesson and of its solution, shared by all tests of that lesson."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from accelkit import lessons
from accelkit.errors import LessonError
from accelkit.lessons import execution, form


@dataclass(frozen=True)
class Ran:
    """Where an executed lesson and its solution lie, the lesson's summary, and what went wrong in the solution."""

    out: Path
    summary: dict[str, Any]
    failure: str | None


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Execute a lesson, then its solution, once."""

    @cache
    def execute(name: str) -> Ran:
        out = tmp_path_factory.mktemp(name)
        summary = lessons.run([name], out=out, progress=False)
        source = form.solution(form.lesson(name))
        try:
            execution.execute(source, out / source.name, out / "solutions")
        except LessonError as error:
            return Ran(out, summary, str(error))
        return Ran(out, summary, None)

    return execute
