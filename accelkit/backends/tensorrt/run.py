"""Requests through the contexts of one instance: into page-locked memory, through the GPU in one stream, and back.

What a batch of one size needs is made once, when it first comes: from then on a request costs one copy into the staging
memory, one launch and one wait. Where a CUDA graph was captured it holds the copies too. Outputs leave as views of the
staging memory: the server copies them before the next requests come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import buffers, contexts, cuda, keys
from accelkit.backends.tensorrt import graphs as rule
from accelkit.backends.tensorrt.contexts import Profile, Shape
from accelkit.backends.tensorrt.plan import Place, Plan
from accelkit.backends.tensorrt.ready import Graph, Key, Ready, flat, shapes_of
from accelkit.backends.tensorrt.tensors import Tensor, text

_REMEMBERED = 256  # batch sizes and shapes


class Runner:
    """Runs requests of one instance."""

    def __init__(self, place: Place, config: Mapping[str, Any], plan: Plan, known: Mapping[str, Tensor], pb: Any):
        self._pb, self._log, self._instance, self._known = pb, pb.Logger, place.instance, known
        self._largest = int(config.get("max_batch_size") or 0)
        priority = {"PRIORITY_MAX": -1, "PRIORITY_MIN": 1}.get(keys.PRIORITY.text(config) or "", 0)
        busy_wait, separate = bool(keys.BUSY_WAIT.boolean(config)), bool(keys.OUTPUT_STREAM.boolean(config))
        pinned = {
            True: keys.INPUT_PINNED.boolean(config) is not False,
            False: keys.OUTPUT_PINNED.boolean(config) is not False,
        }
        self.stream = cuda.stream(priority)
        self._handle = int(self.stream)
        self._out_stream = cuda.stream(priority) if separate else self.stream
        self._computed, self._done = cuda.event(busy_wait), cuda.event(busy_wait)
        self.profiles = contexts.open_profiles(place, config, plan, known, self.stream, self._log)
        self._sets = [buffers.allocate(place.instance, known, self.profiles, pinned) for _ in range(1 + separate)]
        self._inputs = [entry["name"] for entry in config["input"]]
        self._outputs = [entry["name"] for entry in config["output"]]
        # Memory that is not page-locked cannot be copied within a graph, nor by a stream that does not belong to it.
        self._whole = all(pinned.values()) and not separate
        self._ready: dict[tuple[Any, ...], Ready] = {}
        self._graphs: dict[tuple[int, int], list[Graph]] = {}
        self._turn, self.ran = 0, {"graph": 0, "enqueue": 0}
        self.last: Ready | None = None
        for spec in rule.specs(config):
            for profile in self.profiles:
                self._capture(profile, spec)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order; all gathered requests fail together."""
        try:
            feeds = [{tensor.name(): np.from_dlpack(tensor) for tensor in one.inputs()} for one in requests]
            rows = [len(feed[self._inputs[0]]) if self._largest else 1 for feed in feeds]
            total, first = sum(rows), feeds[0]
            shapes = tuple(
                (total, *first[name].shape[1:]) if self._largest else first[name].shape for name in self._inputs
            )
            ready = self._prepared((total, shapes))
            self._fill(ready, feeds, rows)
            self._run(ready)
            if len(requests) == 1:
                whole = (
                    {name: array[:total] for name, array in ready.outputs.items()} if self._largest else ready.outputs
                )
                return [self._response(requests[0], whole)]
            responses, end = [], 0
            for request, count in zip(requests, rows):
                start, end = end, end + count
                responses.append(
                    self._response(request, {name: array[start:end] for name, array in ready.outputs.items()})
                )
            return responses
        except Exception as error:
            reason = str(error)
            return [self._pb.InferenceResponse(error=self._pb.TritonError(reason)) for _ in requests]

    @property
    def graphs(self) -> int:
        """How many CUDA graphs were captured."""
        return sum(map(len, self._graphs.values()))

    def again(self, ready: Ready) -> None:
        """Run what ran last once more without its graph, as a profiler needs it."""
        ready.profile.set(ready.shapes)
        self._enqueue(ready)
        cuda.synchronize(self.stream)

    def _fill(self, ready: Ready, feeds: list[dict[str, np.ndarray]], rows: list[int]) -> None:
        for name, place in ready.inputs.items():
            if not self._largest:
                np.copyto(place, feeds[0][name])
                continue
            end = 0
            for feed, count in zip(feeds, rows):
                start, end = end, end + count
                np.copyto(place[start:end], feed[name])

    def _run(self, ready: Ready) -> None:
        if ready.graph is not None:
            self.ran["graph"] += 1
        else:
            self.ran["enqueue"] += 1
            ready.profile.set(ready.shapes)
        if ready.graph is not None and self._whole:
            cuda.launch(ready.graph, self.stream)
        else:
            self._copy_in(ready)
            if ready.graph is not None:
                cuda.launch(ready.graph, self.stream)
            else:
                self._enqueue(ready)
            if self._out_stream is not self.stream:
                cuda.record(self._computed, self.stream)
                cuda.follow(self._out_stream, self._computed)
            self._copy_out(ready)
        cuda.record(self._done, self._out_stream)
        cuda.wait(self._done)
        self.last = ready

    def _copy_in(self, ready: Ready) -> None:
        for device, address, size in ready.copies_in:
            cuda.to_device(device, address, size, self.stream)

    def _copy_out(self, ready: Ready) -> None:
        for device, address, size in ready.copies_out:
            cuda.to_host(address, device, size, self._out_stream)

    def _enqueue(self, ready: Ready) -> None:
        buffers.point(ready.profile.context, self._sets[ready.turn])
        if not ready.profile.context.execute_async_v3(self._handle):
            raise Refused(f"unable to enqueue for inference {self._instance}")

    def _prepared(self, key: Key) -> Ready:
        self._turn = (self._turn + 1) % len(self._sets)
        found = self._ready.get((*key, self._turn))
        if found is None:
            if len(self._ready) >= _REMEMBERED:
                self._ready.clear()
            shapes = dict(zip(self._inputs, key[1]))
            profile = contexts.choose(self.profiles, shapes, self._log)
            for name, shape in shapes.items():
                if wrong := profile.takes(name, shape):
                    raise Refused(
                        f"request specifies invalid shape for input '{name}' for {self._instance}. Error details: {wrong}"
                    )
            graph = self._graph(profile, key, self._turn)
            computed = dict(zip(self._inputs, graph.key[1])) if graph else shapes
            found = self._make(profile, computed, graph.ready if graph else None, self._turn)
            self._ready[(*key, self._turn)] = found
        return found

    def _make(self, profile: Profile, shapes: dict[str, Shape], graph: Any, turn: int) -> Ready:
        """What an execution of these shapes needs; the context has them from now on."""
        profile.set(shapes)
        own = self._sets[turn]
        out = {name: tuple(int(size) for size in profile.context.get_tensor_shape(name)) for name in self._known}
        made_in = {name: own[name] for name in self._inputs}
        made_out = {name: own[name] for name in self._outputs}
        return Ready(
            profile, shapes, graph, turn,
            {name: buffer.view(shapes[name]) for name, buffer in made_in.items()},
            {name: buffer.view(out[name]) for name, buffer in made_out.items()},
            [(buffer.device, buffer.address, buffer.size(shapes[name])) for name, buffer in made_in.items()],
            [(buffer.device, buffer.address, buffer.size(out[name])) for name, buffer in made_out.items()],
        )  # fmt: skip

    def _graph(self, profile: Profile, key: Key, turn: int) -> Graph | None:
        """The graph of exactly this batch and these shapes, else the least that takes them."""
        captured = self._graphs.get((profile.index, turn), [])
        exact = next((graph for graph in captured if graph.key == key), None)
        if exact:
            return exact
        wanted = flat(key)
        fitting = (g for g in captured if all(a <= b <= c for a, b, c in zip(flat(g.least), wanted, flat(g.key))))
        return min(fitting, key=lambda graph: flat(graph.key), default=None)

    def _capture(self, profile: Profile, spec: rule.Spec) -> None:
        """Capture one graph for every set of buffers; one that cannot be is logged, as the official backend does."""
        try:
            shapes, least = shapes_of(profile, spec, self._inputs)
            for name, shape in shapes.items():
                if profile.takes(name, shape):
                    raise Refused(
                        f"trt failed to set input shape to {text(shape)} for input {name} for {self._instance}"
                    )
        except Refused as error:
            self._log.log_error(f"Failed to set cuda graph shape for {self._instance}: {error}")
            return
        key = (spec.batch, tuple(shapes[name] for name in self._inputs))
        for turn in range(len(self._sets)):
            try:
                ready = self._make(profile, shapes, None, turn)
                self._enqueue(ready)
                cuda.synchronize(self.stream)
                graph = cuda.captured(self.stream, lambda ready=ready: self._whole_or_part(ready))
            except Refused as error:
                self._log.log_error(f"unable to record CUDA graph for {self._instance}: {error}")
                return
            found = Graph(graph, key, (spec.least or 1, tuple(least[name] for name in self._inputs)))
            self._graphs.setdefault((profile.index, turn), []).append(found)
        self._log.log_verbose(f"captured CUDA graph for {self._instance}, batch size {spec.batch}")

    def _whole_or_part(self, ready: Ready) -> None:
        if self._whole:
            self._copy_in(ready)
        self._enqueue(ready)
        if self._whole:
            self._copy_out(ready)

    def _response(self, request: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        make, asked = self._pb.Tensor.from_dlpack, request.requested_output_names()
        return self._pb.InferenceResponse(
            [make(name, host.capsule(array)) for name, array in arrays.items() if not asked or name in asked]
        )
