"""The few calls of CUDA's driver that an instance makes; a failed one is Refused with the driver's own words."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.backends.key import Refused

try:
    from cuda.bindings import driver
except ImportError:
    driver = None  # type: ignore[assignment]


class Failed(Refused):
    """A call of the driver failed; the text is its own."""


def call(function: Any, *arguments: Any) -> Any:
    """What a call returns beside its status: nothing, one value or a tuple."""
    status, *rest = function(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise Failed(_text(status))
    return rest[0] if len(rest) == 1 else tuple(rest)


def _text(status: Any) -> str:
    known, text = driver.cuGetErrorString(status)
    return text.decode() if known == driver.CUresult.CUDA_SUCCESS and text else str(status)


@dataclass(frozen=True)
class Device:
    """One GPU whose primary context is this thread's: its number and compute capability."""

    number: int
    capability: str


def use(number: int) -> Device:
    """Make a GPU this process's; Refused says why there is none."""
    if driver is None:
        raise Refused("the backend needs the package cuda-bindings in its interpreter: make setup HARDWARE=gpu")
    try:
        call(driver.cuInit, 0)
        device = call(driver.cuDeviceGet, number)
        call(driver.cuCtxSetCurrent, call(driver.cuDevicePrimaryCtxRetain, device))
        kinds = driver.CUdevice_attribute
        major, minor = (
            call(driver.cuDeviceGetAttribute, getattr(kinds, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}"), device)
            for part in ("MAJOR", "MINOR")
        )
    except (Failed, RuntimeError) as error:  # RuntimeError: there is no driver to call
        raise Refused(f"unable to set CUDA device to GPU {number} : {error}") from None
    return Device(number, f"{major}.{minor}")


def stream(priority: int) -> Any:
    """A stream that does not wait for the default one; priority -1 is the driver's highest, 1 its lowest."""
    flags = int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
    if priority == 0:
        return call(driver.cuStreamCreate, flags)
    lowest, highest = call(driver.cuCtxGetStreamPriorityRange)
    value = highest if priority < 0 else lowest
    return call(driver.cuStreamCreateWithPriority, flags, value)


def event(busy_wait: bool) -> Any:
    """An event without time stamps whose waiter spins or sleeps."""
    flags = driver.CUevent_flags
    waiting = flags.CU_EVENT_DEFAULT if busy_wait else flags.CU_EVENT_BLOCKING_SYNC
    return call(driver.cuEventCreate, int(flags.CU_EVENT_DISABLE_TIMING) | int(waiting))


def device_memory(size: int) -> int:
    """The address of cleared memory of the GPU."""
    found = call(driver.cuMemAlloc, max(1, size))
    call(driver.cuMemsetD8, found, 0, max(1, size))
    return int(found)


def host_memory(size: int, pinned: bool) -> np.ndarray:
    """Bytes [size] of the host, page-locked or not."""
    if not pinned:
        return np.zeros(max(1, size), np.uint8)
    address = int(call(driver.cuMemHostAlloc, max(1, size), 0))
    memory: Any = (ctypes.c_uint8 * max(1, size)).from_address(address)
    array = np.frombuffer(memory, np.uint8)
    array[:] = 0
    return array


def to_device(target: int, source: int, size: int, stream: Any) -> None:
    """Copy from the host, when the stream comes to it."""
    call(driver.cuMemcpyHtoDAsync, target, source, size, stream)


def to_host(target: int, source: int, size: int, stream: Any) -> None:
    """Copy to the host, when the stream comes to it."""
    call(driver.cuMemcpyDtoHAsync, target, source, size, stream)


def record(event: Any, stream: Any) -> None:
    """Let an event come after what is in a stream."""
    call(driver.cuEventRecord, event, stream)


def follow(stream: Any, event: Any) -> None:
    """Let a stream wait for an event."""
    call(driver.cuStreamWaitEvent, stream, event, 0)


def wait(event: Any) -> None:
    """Wait for an event."""
    call(driver.cuEventSynchronize, event)


def synchronize(stream: Any) -> None:
    """Wait for all that is in a stream."""
    call(driver.cuStreamSynchronize, stream)


def captured(stream: Any, work: Any) -> Any:
    """A graph, ready to be launched, of what `work` puts into a stream; nothing of it runs now."""
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    call(driver.cuStreamBeginCapture, stream, mode)
    try:
        work()
    except Exception:
        driver.cuStreamEndCapture(stream)
        raise
    graph = call(driver.cuStreamEndCapture, stream)
    ready = call(driver.cuGraphInstantiate, graph, 0)
    call(driver.cuGraphDestroy, graph)
    return ready


def launch(graph: Any, stream: Any) -> None:
    """Run a graph when the stream comes to it."""
    call(driver.cuGraphLaunch, graph, stream)
