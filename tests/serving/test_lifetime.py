"""A server ends with the process that started it, however that one ends, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import processes
import pytest
import small

STARTER = """
import json, sys
from pathlib import Path
from accelkit.serving import Server
server = Server(Path(sys.argv[1])).start()
facts = {"pid": server.pid, "directory": str(server.log.parent), "addresses": [server.http, server.grpc, server.metrics]}
print(json.dumps(facts), flush=True)
"""
WAIT = "import time; time.sleep(600)"


@pytest.fixture
def repository(tmp_path):
    """A repository with one model of two instances."""
    small.add(tmp_path, "tiny", small.config(dims=[10]).replace("count: 1", "count: 2"), small.tiny())
    return tmp_path


def facts_of(line: str) -> dict:
    """What the starter printed of its server, with what it holds now."""
    facts = json.loads(line)
    facts["regions"] = processes.regions(facts["directory"])
    facts["tree"] = processes.tree(facts["directory"])
    assert len(facts["tree"]) >= 4 and any(region.exists() for region in facts["regions"])
    return facts


def assert_gone(facts: dict, seconds: float = 5) -> None:
    """Nothing of the server is left in time."""
    assert processes.within(seconds, lambda: not any(map(processes.alive, facts["tree"]))), facts["tree"]
    assert processes.within(1, lambda: not Path(facts["directory"]).exists())
    assert not any(region.exists() for region in facts["regions"])
    assert not any(processes.listening(address) for address in facts["addresses"])


def start(repository: Path, *more: str) -> tuple[subprocess.Popen, dict]:
    """A Python process with a server, and the facts of that one."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", STARTER + "\n".join(more), str(repository)],
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, facts_of(process.stdout.readline())


def test_a_starter_that_just_ends(repository):
    process, facts = start(repository)
    assert process.wait(30) == 0
    process.stdout.close()
    assert_gone(facts)


def test_a_starter_that_is_killed(repository):
    process, facts = start(repository, WAIT)
    os.kill(process.pid, signal.SIGKILL)
    assert_gone(facts)
    process.stdout.close()
    process.wait()


def test_a_starter_that_is_killed_while_its_forked_child_lives(repository):
    process, facts = start(repository, "import os", "if child := os.fork():", "    print(child, flush=True)", WAIT)
    child = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    try:
        assert_gone(facts)
        assert processes.alive(child)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def test_a_supervisor_that_is_killed(repository):
    process, facts = start(repository, "import time; time.sleep(4)")
    supervisor = int(Path(f"/proc/{facts['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    assert processes.within(5, lambda: not any(map(processes.alive, facts["tree"])))
    assert process.wait(30) == 0, "the starter itself ends without an error"
    process.stdout.close()
    assert_gone(facts)


def test_a_server_that_dies_is_noticed_and_cleared_away(repository):
    check = """
import os, signal
import numpy as np
os.kill(server.pid, signal.SIGKILL)
try:
    server.infer("tiny", {"input.1": np.zeros((1, 1, 32, 100), "f4")})
except Exception as error:
    print(type(error).__name__, flush=True)
import time; time.sleep(600)
"""
    process, facts = start(repository, check)
    assert process.stdout.readline().strip() == "ServerError"
    assert_gone(facts)
    process.kill()
    process.stdout.close()
    process.wait()


def test_a_directory_of_a_dead_server_goes_with_the_next_start(repository):
    process, facts = start(repository, WAIT)
    supervisor = int(Path(f"/proc/{facts['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (process.pid, supervisor):
        os.kill(pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert processes.within(5, lambda: not any(map(processes.alive, facts["tree"])))
    directory = Path(facts["directory"])
    assert directory.exists()
    long_ago = time.time() - 3600
    os.utime(directory, (long_ago, long_ago))
    process, after = start(repository)
    process.wait(30)
    process.stdout.close()
    assert not directory.exists() and not any(region.exists() for region in facts["regions"])
    assert_gone(after)


def test_a_notebook_kernel_that_is_interrupted_restarted_and_killed(repository):
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_module.start_new_kernel(kernel_name="python3")

    def run(code: str) -> str:
        printed: list[str] = []
        client.execute_interactive(
            code, timeout=120, output_hook=lambda message: printed.append(message["content"].get("text", ""))
        )
        return "".join(printed)

    cell = STARTER.replace("sys.argv[1]", repr(str(repository)))
    try:
        facts = facts_of(run(cell))
        client.execute("import time; time.sleep(60)", stop_on_error=False)  # or what comes next may be dropped
        time.sleep(1)
        manager.interrupt_kernel()
        client.get_shell_msg(timeout=60)
        assert run("print(server.ready('tiny'))").strip() == "True", (
            "an interrupt of the cell must not reach the server"
        )
        manager.restart_kernel(now=True)
        assert_gone(facts)
        client.wait_for_ready(timeout=60)
        facts = facts_of(run(cell))
        os.kill(manager.provisioner.process.pid, signal.SIGKILL)
        assert_gone(facts)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
