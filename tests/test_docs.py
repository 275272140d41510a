"""The documents: commands run or are held against their help, links lead somewhere, generated parts are fresh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest

from accelkit.cli import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "AGENTS.md", "notebooks/README.md", "docker/README.md"]
PRINTED = "<!-- test: printed by the block above -->"
SKIP = re.compile(r"<!-- test: skip because (.{10,}) -->")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Block:
    """One fenced block of a document; `skip` is why it is not run, `printed` what the document says that it prints."""

    document: str
    line: int
    language: str
    text: str
    skip: str | None
    printed: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: str, text: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    lines = text.splitlines()
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    assert len(fences) % 2 == 0, f"{document}: a fence is not closed"
    found = []
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        marker = SKIP.fullmatch(lines[start - 1]) if start else None
        code = "\n".join(lines[start + 1 : end]) + "\n"
        if start and lines[start - 1] == PRINTED:
            found[-1] = replace(found[-1], printed=code)
            continue
        found.append(Block(document, start + 1, lines[start][3:].strip(), code, marker[1] if marker else None))
    return found


BLOCKS = [block for name in DOCUMENTS for block in blocks_of(name, (ROOT / name).read_text(encoding="utf-8"))]
RUN = [block for block in BLOCKS if block.language in ("sh", "python") and not block.skip]
HELD = [block for block in BLOCKS if block.language == "sh"]


def copy_of_the_checkout(target: Path) -> Path:
    """Copy what git tracks, or will, into a repository of its own, so that what a command leaves behind is seen."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "copy"]):
        subprocess.run(["git", *command], cwd=target, check=True, capture_output=True)
    return target


def ran(command: list[str], where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and return what came of it; a copy of the package is not measured for coverage."""
    surroundings = {**os.environ, **environment}
    surroundings.pop("COVERAGE_PROCESS_START", None)
    return subprocess.run(
        command, cwd=where, env=surroundings, check=False, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout that the commands run in, one after the other, in the order of the documents."""
    return copy_of_the_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block_runs_and_leaves_no_stray_file(block, checkout):
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = ran([*command, block.text], checkout, PATH=f"{BIN}:{os.environ['PATH']}", PYTHONPATH=str(checkout))
    assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr and block.printed in done.stdout
    changed = ran(["git", "status", "--porcelain"], checkout)
    assert not changed.stdout, f"{block} changed the checkout:\n{changed.stdout}"


def test_the_readme_has_blocks_that_run():
    languages = {block.language for block in RUN if block.document == "README.md"}
    assert languages == {"sh", "python"} and any(block.printed for block in RUN)
    assert all(block.language in ("sh", "python", "text") for block in BLOCKS), (
        "a block in a language that no test reads"
    )


@pytest.mark.parametrize("block", HELD, ids=str)
def test_block_names_only_commands_and_options_that_exist(block):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for line in block.text.replace("\\\n", " ").splitlines():
        words = re.sub(r"\s#.*", "", re.sub(r"^(\w+=\S+\s+)*", "", line)).split()
        if words[:1] == ["make"]:
            assert set(words[1:]) and set(words[1:]) <= targets, f"{block}: no target of the Makefile: {line}"
        elif words[:1] == ["accelkit"]:
            hold(words[1:], block)
        elif words[:1] == ["python"] and words[1:2] != ["-m"]:
            assert (ROOT / words[1]).exists(), f"{block}: no such script: {line}"


def hold(words: list[str], where: object) -> None:
    """Assert that `accelkit WORDS` names a command that exists and only options that it has."""
    command: click.Command = cli
    options: set[str] = {"-h", "--help"}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in options, f"{where}: {command.name} has no option {word}"
        elif isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
        else:
            assert not (isinstance(command, click.Group) and command is cli), f"{where}: no command {word}"
        options |= {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_inside_sentences_exist(document):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", text):
        words = code.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, f"{document}: {code}"
        elif words[0] == "accelkit" and words[1:2] not in ([], ["COMMAND"]):
            for part in code.split(", "):
                hold(part.split()[1:], document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_named_files_exist(document):
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), f"{document} links to {target}, which does not exist"
    for name in re.findall(r"`((?:accelkit|docker|docs|tests|notebooks|constraints)/[\w./-]*\w/?)`", text):
        if re.search(r"NAME|BACKEND|NN_", name):
            continue
        assert (ROOT / name).exists(), f"{document} names {name}, which does not exist"


def test_the_notice_names_a_model_card_that_is_there():
    named = re.findall(r"\baccelkit/\S+\.md\b", (ROOT / "NOTICE").read_text(encoding="utf-8"))
    assert named and all("licen" in (ROOT / name).read_text(encoding="utf-8").lower() for name in named)


def test_generated_parts_are_what_the_code_says():
    done = ran([sys.executable, "docs/render.py", "--check"], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_lists_exactly_the_lessons_that_exist():
    listed = re.findall(r"^\| \[(\d\d_\w+)\]\(", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert listed and listed == sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def test_every_picture_has_words_beside_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
    assert len(pictures) >= 2 and all(len(words) > 30 for words, _ in pictures)
    twin = r"<!-- result -->\n```text\n.*\S.*\n```\n<!-- /result -->"
    assert re.search(twin, text, flags=re.DOTALL), "the result has no text twin"


def test_the_checks_see_what_is_wrong():
    broken = blocks_of(
        "broken.md",
        "```sh\naccelkit fly --high\n```\n<!-- test: skip because it is slow to run -->\n```sh\nmake x\n```\n",
    )
    assert [block.skip for block in broken] == [None, "it is slow to run"]
    with pytest.raises(AssertionError, match="no command fly"):
        hold(["fly"], "broken.md")
    with pytest.raises(AssertionError, match="no option --high"):
        hold(["doctor", "--high"], "broken.md")
    with pytest.raises(AssertionError, match="not closed"):
        blocks_of("broken.md", "```sh\n")
