"""The program of one rank: `python -m accelkit.backends.fastertransformer.rank JSON`, started by the instance.

It loads its part, then does what comes through a pipe: ("start", rows), ("step",) for one more id of every row, ("end",),
("facts",), ("ping",). Its standard input says whether the instance lives: when that closes, the rank ends, whatever it is doing.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def _outlive_nobody() -> None:
    """End this process when standard input closes: the instance has ended, cleanly or not."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class Rank:
    """The part of one rank and the batch that it works on."""

    def __init__(self, told: dict[str, Any]):
        import torch

        from accelkit.backends.fastertransformer.links import Links
        from accelkit.backends.fastertransformer.network import Network
        from accelkit.models.gpt import checkpoint

        torch.set_grad_enabled(False)
        rank, world = told["rank"], told["ranks"] * told["stages"]
        cuda = torch.cuda.is_available()
        # The process of a GPU has little to compute by itself.
        torch.set_num_threads(min(4, told["threads"]) if cuda else told["threads"])
        if cuda and torch.cuda.device_count() % world:
            there = torch.cuda.device_count()
            raise ValueError(
                f"Number of visible GPUs must be evenly divisble by TP * PP: there are {there} for {world}"
            )
        device = (
            torch.device("cuda", (told["first_device"] + rank) % torch.cuda.device_count())
            if cuda
            else torch.device("cpu")
        )
        if cuda:
            torch.cuda.set_device(device)
        directory = Path(told["directory"])
        header = checkpoint.header(directory)
        header = checkpoint.Header(**{**vars(header), "ranks": told["ranks"]})
        self.links = Links(rank, told["ranks"], told["stages"], told["store"], cuda)
        self.network = Network(header, directory, told["data_type"], self.links, device)
        self.speaks = rank == world - told["ranks"]
        kind = str(self.network.layers[0]["mlp.c_fc.weight"].dtype).removeprefix("torch.")
        self.about = {
            "rank": rank, "process": os.getpid(), "device": str(device), "stage": self.links.stage, "place": self.links.place,
            "layers": len(self.network.layers), "dtype": kind, "transport": "nccl" if cuda else "gloo",
            # str: its own class would make the instance import PyTorch.
            "torch": str(torch.__version__), **self.network.holds(), "allocated": torch.cuda.memory_allocated() if cuda else None,
        }  # fmt: skip
        self.steps = self.ids = self.cache = 0

    def start(self, rows: Any) -> Any:
        """Take a batch: its prompts through the network at once; the first ids."""
        import torch

        from accelkit.backends.fastertransformer.sampling import Chooser

        self.chooser = Chooser(rows)
        width = max(len(row.ids) for row in rows)
        reach = max(len(row.ids) + row.count for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows], device=self.network.device)
        self.place = torch.tensor([len(row.ids) for row in rows], device=self.network.device)
        self.network.begin(len(rows), reach)
        self.cache = max(self.cache, self.network.cached())
        places = torch.arange(width, device=self.network.device).expand(len(rows), width)
        return self._next(self.network.forward(ids, places, self.place - 1))

    def step(self) -> Any:
        """One more id for every row."""
        import torch

        # Rows that are complete go on at their last place; nobody looks at what they say.
        places = self.place.clamp(max=self.network.reach - 1)
        logits = self.network.forward(self.last[:, None], places[:, None], torch.zeros_like(self.place))
        self.place = self.place + 1
        return self._next(logits)

    def end(self) -> None:
        """Let go of the batch."""
        self.network.end()

    def ping(self) -> int:
        """Bytes that are free on this rank's GPU; -1 on a CPU, whose memory the instance sees."""
        import torch

        return torch.cuda.mem_get_info()[0] if self.about["transport"] == "nccl" else -1

    def facts(self) -> dict[str, Any]:
        """What this rank holds and has said so far."""
        return {**self.about, "steps": self.steps, "ids": self.ids, "cache": self.cache, **self.links.facts()}

    def _next(self, logits: Any) -> Any:
        import torch

        rows, chances = len(self.chooser.rows), None
        if logits is not None:
            ids, chances = self.chooser.choose(logits)
        else:
            ids = torch.empty(rows, dtype=torch.int64, device=self.network.device)
        self.last = self.links.tell(ids)
        self.steps, self.ids = self.steps + 1, self.ids + rows
        return (self.last.tolist(), chances.tolist()) if self.speaks and chances is not None else None


def main() -> None:
    """Serve one instance until it ends."""
    told = json.loads(sys.argv[1])
    _outlive_nobody()
    pipe = Connection(told["pipe"])
    try:
        rank = Rank(told)
        gc.freeze()  # PyTorch's many objects live until the end: no look at them between two ids
        pipe.send(("ready", rank.about))
        while True:
            name, *arguments = pipe.recv()
            answer = getattr(rank, name)(*arguments)
            if answer is not None:
                pipe.send((name, answer))
    except EOFError:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it was, the instance has to know
        lines = str(error).strip().splitlines() or [type(error).__name__]
        pipe.send(("failed", " ".join(lines[0].split())[:400]))
        os._exit(1)


if __name__ == "__main__":
    main()
