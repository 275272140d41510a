"""What ranks say to each other, and how much of it: gloo between processes on a CPU, NCCL between GPUs."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import torch
from torch import distributed

PATIENCE_S = 300
"""How long a rank waits for another before it fails."""
_TCP_INFO, _ACKNOWLEDGED = 11, 120
"""Linux' tcp(7): the option, and where tcpi_bytes_acked stands in its answer."""


class Links:
    """The groups of one rank; every call is counted, with the bytes that it is about."""

    def __init__(self, rank: int, ranks: int, stages: int, store: str, cuda: bool):
        if not cuda:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        patience = timedelta(seconds=PATIENCE_S)
        distributed.init_process_group(
            "nccl" if cuda else "gloo", init_method=f"file://{store}", rank=rank, world_size=ranks * stages,
            timeout=patience,
        )  # fmt: skip
        self.stage, self.place, self.ranks, self.stages = rank // ranks, rank % ranks, ranks, stages
        # Every process makes every group, in one order. A group has a timeout of its own: by default up to half an hour.
        beside = [[stage * ranks + one for one in range(ranks)] for stage in range(stages)]
        along = [[stage * ranks + one for stage in range(stages)] for one in range(ranks)]
        groups = [distributed.new_group(members, timeout=patience) for members in (*beside, *along)]
        self._beside, self._along = groups[self.stage], groups[stages + self.place]
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._before = sent()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks of a layer: an all-reduce, of which a layer needs two."""
        if self.ranks > 1:
            self._count("all_reduce", values)
            distributed.all_reduce(values, group=self._beside)
        return values

    def join(self, values: torch.Tensor) -> torch.Tensor:
        """The ranks' parts of the last dimension, side by side: an all-gather, for the logits."""
        if self.ranks == 1:
            return values
        values = values.contiguous()
        self._count("all_gather", values)
        parts = [torch.empty_like(values) for _ in range(self.ranks)]
        distributed.all_gather(parts, values, group=self._beside)
        return torch.cat(parts, dim=-1)

    def receive(self, like: torch.Tensor) -> torch.Tensor:
        """What the stage before sent, of the shape of `like`."""
        distributed.recv(like, (self.stage - 1) * self.ranks + self.place)
        return like

    def send(self, values: torch.Tensor) -> None:
        """Hand on to the same place of the next stage."""
        self._count("send", values)
        distributed.send(values.contiguous(), (self.stage + 1) * self.ranks + self.place)

    def tell(self, values: torch.Tensor) -> torch.Tensor:
        """What the last stage holds, on all stages: a broadcast, of the ids that were chosen."""
        if self.stages > 1:
            if self.stage == self.stages - 1:
                self._count("broadcast", values)
            distributed.broadcast(values, (self.stages - 1) * self.ranks + self.place, group=self._along)
        return values

    def facts(self) -> dict[str, object]:
        """Calls and bytes by kind so far, and the bytes that TCP brought to other processes since the groups were made."""
        return {"calls": dict(self.calls), "bytes": dict(self.bytes), "wire": max(0, sent() - self._before)}

    def close(self) -> None:
        """End the groups."""
        with suppress(RuntimeError):
            distributed.destroy_process_group()

    def _count(self, kind: str, values: torch.Tensor) -> None:
        self.calls[kind] += 1
        self.bytes[kind] += values.numel() * values.element_size()


def sent() -> int:
    """Bytes that this process's TCP connections have brought to their other ends; 0 where the system does not say."""
    total = 0
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError, struct.error):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.type == socket.SOCK_STREAM and one.family in (socket.AF_INET, socket.AF_INET6):
                    total += struct.unpack_from("Q", one.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256), _ACKNOWLEDGED)[
                        0
                    ]
    return total
