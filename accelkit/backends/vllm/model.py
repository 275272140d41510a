"""Stand-in for Triton's backend `vllm`: loads, refuses and answers as that one does, on the real engine of vLLM."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.vllm import contract, keys, texts

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """One instance: one engine, which batches requests by itself."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Add the tensors that are not there, decoupled answers, and no batching of Triton's."""
        there = auto_complete_model_config.as_dict()
        for side, known, add in (
            ("input", keys.INPUTS, auto_complete_model_config.add_input),
            ("output", keys.OUTPUTS, auto_complete_model_config.add_output),
        ):
            names = {io["name"] for io in there[side]}
            for name, (kind, length) in known.items():
                if name not in names:
                    more = {"optional": True} if side == "input" and name != keys.TEXT else {}
                    add({"name": name, "data_type": f"TYPE_{kind}", "dims": [length], **more})
        auto_complete_model_config.set_model_transaction_policy({"decoupled": True})
        auto_complete_model_config.set_max_batch_size(0)
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Hold the configuration against model.json, and start the engine."""
        from accelkit.backends.vllm import settings

        config = json.loads(args["model_config"])
        host.check_warmup(args["model_name"], config)
        texts.mend(pb_utils)
        self.settings = settings.read(args, config)
        found = importlib.util.find_spec("vllm")
        if found is None or found.origin is None:  # a folder of that name is none
            raise Refused("vLLM is not here: it needs an NVIDIA GPU and a Python that has it, ACCELKIT_PYTHON_VLLM")
        from accelkit.backends.vllm.engine import Engine

        self.engine = Engine(self.settings)
        self.profile = os.environ.get("ACCELKIT_PROFILE_DIR")
        self.place = (args["model_name"], args["model_version"], args["model_instance_name"])
        self.lock, self.requests, self.ids = threading.Condition(), 0, 0
        self.running = 0

    def execute(self, requests: list[Any]) -> None:
        """Give every request to the engine; its answers come when they come."""
        dead = self.engine.unhealthy() if self.settings.health else None
        if dead is not None:
            pb_utils.Logger.log_error(f"[vllm] Engine is not healthy and model will be unloaded: {dead}")
            pb_utils.unload_model(self.place[0])
        for request in requests:
            sender = request.get_response_sender()
            try:
                if dead is not None:
                    raise Refused("Model is unavailable due to unhealthy vLLM engine")
                arrays = {
                    one.name(): texts.read(one, keys.INPUTS[one.name()][0] == "STRING") for one in request.inputs()
                }
                asked = contract.ask(arrays, request.parameters(), self.engine.types)
                name = uuid.uuid4().hex
                answers = self.engine.generate(asked.text, asked.sampling, name)
            except Refused as refused:
                self._fail(sender, str(refused))
                continue
            with self.lock:
                self.requests, self.running = self.requests + 1, self.running + 1
            self.engine.submit(self._follow(asked, answers, name, sender))

    async def _follow(self, asked: contract.Ask, answers: Any, name: str, sender: Any) -> None:
        """Send what the engine writes: part by part where that is asked for, else at the end."""
        told, output = contract.Told(), None
        try:
            async for output in answers:
                if sender.is_cancelled():
                    await self.engine.abort(name)
                    raise Refused("Request was cancelled")
                if asked.stream:
                    sender.send(self._response(output, asked, told), FINAL if output.finished else 0)
            if output is None:
                raise Refused("the engine wrote nothing")
            if not asked.stream:
                sender.send(self._response(output, asked, told), FINAL)
        except Refused as refused:
            self._fail(sender, str(refused))
        except Exception as error:  # noqa: BLE001 - the client has to hear of it, whatever it was
            self._fail(sender, f"Error generating stream: {' '.join(str(error).split())[:400]}")
        finally:
            with self.lock:
                self.ids += sum(len(one.token_ids) for one in output.outputs) if output is not None else 0
                self.running -= 1
                self.lock.notify_all()

    def _response(self, output: Any, asked: contract.Ask, told: contract.Told) -> Any:
        found = contract.answer(output, asked, told)
        return pb_utils.InferenceResponse([texts.tensor(pb_utils, name, one) for name, one in found.items()])

    def _fail(self, sender: Any, text: str) -> None:
        sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(text)), flags=FINAL)

    def finalize(self) -> None:
        """Wait for what runs, write what ran, if that is asked for, and end the engine."""
        with self.lock:
            self.lock.wait_for(lambda: self.running == 0, 60)
        if self.profile is not None:
            name, version, instance = self.place
            folder = Path(self.profile, name)
            folder.mkdir(parents=True, exist_ok=True)
            about = {"model": name, "version": version, "instance": instance, "process": os.getpid()}
            facts = {**about, **self.engine.facts(), "requests": self.requests, "ids": self.ids}
            (folder / f"{version}-{instance}.vllm").write_text(json.dumps(facts, indent=1))
        self.engine.stop()
