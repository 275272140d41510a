"""vLLM's own engine in a thread with an event loop, as vLLM wants it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.vllm import keys
from accelkit.backends.vllm.settings import Settings

START_S = 3600
"""Seconds that the engine may take to read weights and capture its graphs."""


class Engine:
    """The running engine; Refused, in one line, when it does not come up."""

    def __init__(self, settings: Settings):
        # What the server has already done with CUDA in this process is of no use in a fork of it.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        if settings.device is not None:  # vLLM takes the first GPU that it sees
            os.environ["CUDA_VISIBLE_DEVICES"] = str(settings.device)
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs

        self._sampling = SamplingParams
        self.types = dict(SamplingParams.__annotations__)
        try:
            arguments = AsyncEngineArgs(**settings.arguments)
        except (TypeError, ValueError) as error:
            raise Refused(f"{keys.ARGUMENTS}: {_line(error)}") from None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._engine = self.submit(self._start(arguments)).result(START_S)
        except Exception as error:  # noqa: BLE001 - whatever vLLM raises is why it does not come up
            self._end()
            raise Refused(f"the engine of vLLM does not come up: {_line(error)}") from None

    async def _start(self, arguments: Any) -> Any:
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(arguments)

    def submit(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the engine's loop; its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def generate(self, text: str, sampling: dict[str, Any], name: str) -> AsyncIterator[Any]:
        """Everything that the engine has written so far, again and again until it is complete; Refused for bad parameters."""
        try:
            chosen = self._sampling(**sampling)
        except (TypeError, ValueError) as error:
            raise Refused(f"{keys.SAMPLING}: {_line(error)}") from None
        return self._engine.generate(text, chosen, name)

    async def abort(self, name: str) -> None:
        """Give a request up."""
        await self._engine.abort(name)

    def unhealthy(self) -> str | None:
        """What is wrong with the engine; None when it lives."""
        try:
            self.submit(self._engine.check_health()).result()
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine is dead
            return _line(error)
        return None

    def facts(self) -> dict[str, Any]:
        """What the engine says of itself."""
        import vllm

        held, model = self._engine.vllm_config.parallel_config, self._engine.model_config
        return {
            "vllm": vllm.__version__, "dtype": str(model.dtype).removeprefix("torch."),
            "tensor_para": held.tensor_parallel_size, "pipeline_para": held.pipeline_parallel_size,
        }  # fmt: skip

    def stop(self) -> None:
        """End the engine, its processes and the loop."""
        self._engine.shutdown()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:400]
