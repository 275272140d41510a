"""The processes of one instance: started together, told together, and ended together when one of them ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from accelkit.backends.fastertransformer import memory
from accelkit.backends.fastertransformer.settings import Settings
from accelkit.backends.key import Refused

ROOT = Path(__file__).resolve().parents[3]
START_S, GRACE_S = 300, 1.0


class Lost(Exception):
    """A rank has ended or failed; the text says which and why, and all of them are gone."""


class Ranks:
    """The ranks of an instance, ready; Refused when one cannot load its part."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pipes: list[Connection] = []
        # NCCL connects when a group first speaks, long after the ranks are ready. So what they find each other by is a file
        # without a name: every rank holds it open, and it goes away with the last of them, however that ends.
        store = os.memfd_create("accelkit-ranks")
        try:
            for rank in range(settings.world):
                self._start(rank, store)
            self.about = [facts for _, facts in self._answers(range(settings.world), START_S)]
        except Lost as lost:
            raise Refused(str(lost)) from None
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(store)

    def _start(self, rank: int, store: int) -> None:
        ours, theirs = Pipe()
        threads = max(1, len(os.sched_getaffinity(0)) // self.settings.world)
        told = {
            **self.settings.told(),
            "rank": rank,
            "store": f"/proc/self/fd/{store}",
            "pipe": theirs.fileno(),
            "threads": threads,
        }
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "NCCL_LAUNCH_MODE": "GROUP"}
        command = [shutil.which("python3") or sys.executable, "-m", f"{__package__}.rank", json.dumps(told)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno(), store], env=environment)
        theirs.close()
        self.processes.append(process)
        self.pipes.append(ours)

    def room(self) -> int | None:
        """Bytes that are free for all of them together, as the one with the least has it; None when one is not there any more."""
        try:
            self.tell("ping")
            found = [free for _, free in self._answers(range(len(self.pipes)), START_S)]
        except Lost:
            return None
        if not found:
            return None
        return memory.free() if min(found) < 0 else min(found) * len(found)

    def tell(self, *words: Any) -> None:
        """Send all of them the same; Lost when one is no longer there."""
        for rank, pipe in enumerate(self.pipes):
            try:
                pipe.send(words)
            except (OSError, ValueError):
                self._give_up(rank, None)

    def facts(self) -> list[dict[str, Any]]:
        """What every rank holds and has said so far."""
        self.tell("facts")
        return [facts for _, facts in self._answers(range(len(self.pipes)), START_S)]

    def spoken(self) -> tuple[list[int], list[float]]:
        """The next id of every row with its log probability, after "start" or "step".

        A rank may compute as long as it must; one that waits for another fails after links.PATIENCE_S, which ends the wait here.
        """
        speaker = len(self.pipes) - self.settings.ranks
        return self._answers([speaker], None)[0][1]

    def _answers(self, ranks: Any, seconds: float | None) -> list[Any]:
        """One answer of each of these ranks, while all are watched."""
        wanted, found = set(ranks), dict[int, Any]()
        deadline = time.monotonic() + seconds if seconds else None
        while wanted:
            left = None if deadline is None else deadline - time.monotonic()
            ready = wait(self.pipes, left)
            if not ready:
                self._give_up(min(wanted), f"has not answered for {seconds:.0f} s")
            for rank, pipe in enumerate(self.pipes):
                if pipe not in ready:
                    continue
                try:
                    word, value = pipe.recv()
                except (EOFError, OSError):
                    self._give_up(rank, None)
                if word == "failed":
                    self._give_up(rank, f"failed: {value}")
                found[rank] = (word, value)
                wanted.discard(rank)
        return [found[rank] for rank in ranks]

    def _give_up(self, rank: int, reason: str | None) -> NoReturn:
        """End all ranks; Lost names the one that ended first by a signal, else the one that said something."""
        deadline = time.monotonic() + GRACE_S
        killed: list[int] = []
        while not killed and time.monotonic() < deadline:
            killed = [one for one, process in enumerate(self.processes) if (process.poll() or 0) < 0]
            time.sleep(0.02)
        if killed:
            rank = killed[0]
            number = -(self.processes[rank].returncode or 0)
            with suppress(ValueError):
                reason = f"was ended by signal {number} ({signal.Signals(number).name})"
        process = self.processes[rank]
        who = f"rank {rank} of {len(self.processes)} (process {process.pid})"
        self.stop()
        raise Lost(f"{who} {reason or f'ended with code {process.returncode}'}")

    def stop(self) -> None:
        """End them all and wait for it; no effect when that has been done."""
        processes, self.processes = self.processes, []
        for pipe in self.pipes:
            pipe.close()
        self.pipes = []
        deadline = time.monotonic() + GRACE_S
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
