"""Requests through the ranks: those that were gathered run as one batch, one id for every row at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelkit.backends import host
from accelkit.backends.fastertransformer import contract, memory
from accelkit.backends.fastertransformer.contract import Ask, Row
from accelkit.backends.fastertransformer.ranks import Lost, Ranks
from accelkit.backends.fastertransformer.settings import Settings
from accelkit.backends.key import Refused


@dataclass
class Told:
    """What came so far for one request: new ids of every row with their log probabilities, and which rows are complete."""

    request: Any
    ask: Ask
    ids: list[list[int]] = field(init=False)
    over: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        rows, count = self.ask.rows, max(row.count for row in self.ask.rows)
        self.ids, self.over = [[] for _ in rows], [False for _ in rows]
        # The prompt, the new ids, and the end as padding.
        self._written = np.empty((len(rows), 1, self.ask.width + count), np.uint32)
        self._chances = np.zeros((len(rows), 1, count), np.float32)
        for written, row in zip(self._written[:, 0], rows):
            written[:], written[: len(row.ids)] = row.end, row.ids

    def add(self, ids: list[int], chances: list[float]) -> None:
        """Take one more id for every row that is not complete."""
        for number, (row, fresh, index, chance) in enumerate(zip(self.ask.rows, self.ids, ids, chances)):
            if not self.over[number]:
                self._written[number, 0, len(row.ids) + len(fresh)] = index
                self._chances[number, 0, len(fresh)] = chance
                fresh.append(index)
                self.over[number] = contract.over(row, fresh)

    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs as they are now."""
        rows, ids, chances = self.ask.rows, self._written.copy(), self._chances.copy()
        lengths = [[len(row.ids) + len(fresh)] for row, fresh in zip(rows, self.ids)]
        found: dict[str, np.ndarray] = {
            contract.OUTPUT: ids, contract.LENGTH: np.array(lengths, np.uint32),
            contract.INPUT_LENGTHS: np.array([[len(row.ids)] for row in rows], np.int32),
        }  # fmt: skip
        if self.ask.log_probs:
            found |= {contract.CUMULATIVE: chances.sum(axis=2), contract.LOG_PROBS: chances}
        return found


class Runner:
    """Runs requests of one model and counts what it ran."""

    def __init__(self, config: dict[str, Any], settings: Settings, ranks: Ranks, pb: Any):
        self._settings, self._ranks, self._pb = settings, ranks, pb
        self._outputs = [io["name"] for io in config["output"]]
        self.requests = self.batches = self.restarts = 0

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """One response for each request, in order; none when decoupled, where every id is sent when it is there."""
        answers: dict[int, Any] = {}
        asked = []
        for request in requests:
            try:
                asked.append(Told(request, self._ask(request)))
            except Refused as refused:
                answers[id(request)] = self._failure(str(refused))
        for number, group in enumerate(self._groups(asked, answers)):
            try:
                if number:  # the first one's were there just now
                    self._there()
                self._run(group)
                answers |= {id(one.request): self._response(one) for one in group if id(one.request) not in answers}
            except (Lost, Refused) as lost:
                text = f"the request was given up: {lost}; the ranks start anew with the next request"
                answers |= {id(one.request): self._failure(text) for one in group}
        if not self._settings.decoupled:
            return [answers[id(request)] for request in requests]
        final = self._pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        for request in requests:
            sender, answer = request.get_response_sender(), answers[id(request)]
            # What was complete has been sent id by id.
            sender.send(*([answer] if answer.has_error() else []), flags=final)
        return None

    def _ask(self, request: Any) -> Ask:
        arrays = {tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()}
        header = self._settings.header
        return contract.ask(arrays, header.sizes, header.sizes.end)

    def _groups(self, asked: list[Told], answers: dict[int, Any]) -> list[list[Told]]:
        """Requests that fit into memory together; those that do not fit alone are answered with that."""
        groups: list[list[Told]] = []
        try:
            room = self._there() if asked else 0
        except Refused as refused:
            answers |= {id(one.request): self._failure(str(refused)) for one in asked}
            return []
        for one in asked:
            together = [row for told in (groups[-1] if groups else []) for row in told.ask.rows]
            if groups and memory.batch(self._settings, [*together, *one.ask.rows]) <= memory.SHARE * room:
                groups[-1].append(one)
                continue
            try:
                what = f"the key-value cache and the activations of {len(one.ask.rows)} rows take"
                memory.hold(what, memory.batch(self._settings, one.ask.rows), room)
                groups.append([one])
            except Refused as refused:
                answers[id(one.request)] = self._failure(str(refused))
        return groups

    def _there(self) -> int:
        """Bytes that a batch may take of, after ranks that are not there any more were started anew; Refused when they cannot be."""
        room = self._ranks.room()
        if room is None:
            self._ranks, self.restarts = Ranks(self._settings), self.restarts + 1
            room = self._ranks.room() or 0
        return room

    def _run(self, group: list[Told]) -> None:
        rows: list[Row] = [row for told in group for row in told.ask.rows]
        self.requests, self.batches = self.requests + len(group), self.batches + 1
        self._ranks.tell("start", rows)
        left = group
        while left:
            ids, chances = self._ranks.spoken()
            fresh, start = [told for told in group if not all(told.over)], 0
            for told in group:
                end = start + len(told.ask.rows)
                told.add(ids[start:end], chances[start:end])
                start = end
            left = [told for told in group if not all(told.over) and not told.request.is_cancelled()]
            if left:  # the ranks go on while what is there is sent
                self._ranks.tell("step")
            for told in fresh if self._settings.decoupled else ():
                told.request.get_response_sender().send(self._response(told))
        self._ranks.tell("end")

    def _response(self, told: Told) -> Any:
        make = self._pb.Tensor.from_dlpack
        found = told.outputs()
        asked = told.request.requested_output_names()
        names = [name for name in self._outputs if name in found and name in asked]
        return self._pb.InferenceResponse([make(name, host.capsule(found[name])) for name in names])

    def _failure(self, text: str) -> Any:
        return self._pb.InferenceResponse(error=self._pb.TritonError(text))

    def stop(self) -> None:
        """End the ranks."""
        self._ranks.stop()

    def facts(self) -> dict[str, Any]:
        """What ran so far, and what each rank holds and has said."""
        held = self._ranks.facts() if self._ranks.room() is not None else []
        return {"requests": self.requests, "batches": self.batches, "restarts": self.restarts, "ranks": held}
