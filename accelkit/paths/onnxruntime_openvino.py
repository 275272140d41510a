"""The baseline's file and config with one line more: OpenVINO before ONNX Runtime's CPU provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelkit.paths import onnxruntime_cpu, served_name
from accelkit.paths.onnxruntime_cpu import build

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

__all__ = ["BACKEND", "EVIDENCE", "GPU", "NAME", "NEEDS", "PRECISIONS", "REDUCED", "build", "config", "unavailable"]
NAME = "onnxruntime-openvino"
BACKEND = "onnxruntime"
NEEDS = "an x86 CPU and the OpenVINO provider of ONNX Runtime"
PRECISIONS = ("fp32", "int8")
EVIDENCE = "onnxruntime-openvino"
GPU = False
REDUCED = "bf16"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing, such as a CPU that the plugin serves, or that OpenVINO has no operator for trees."""
    if model is not None and model.kind == "forest":
        return f"needs {NEEDS} and a neural network: OpenVINO has no operator for trees, every node would fall back"
    if machine.arch != "x86_64":
        return f"needs {NEEDS}; missing here: the provider's package exists for x86 only, this is {machine.arch}"
    if machine.vendor not in ("GenuineIntel", ""):
        lacking = "its CPU device, which the plugin of this version offers on Intel processors only"
        elsewhere = "NVIDIA's image has the provider built in, which does not ask"
        return f"needs {NEEDS}; missing here: {lacking}, this is {machine.cpu}; {elsewhere}"
    packages = (("onnxruntime", "onnxruntime-gpu"), ("onnxruntime-ep-openvino",))
    if all(any(name in machine.runtimes for name in names) for names in packages):
        return None
    return f"needs {NEEDS}; missing here: pip install 'accelkit[cpu]'"


def config(model: Model, *, precision: str = "fp32", name: str | None = None, **settings: Any) -> ModelConfig:
    """Return the baseline's ModelConfig for these settings with the accelerator in it.

    ONNX Runtime's settings for threads and arena reach only the nodes that OpenVINO leaves to the CPU provider.
    """
    name = name or served_name(model, NAME, precision)
    made = onnxruntime_cpu.config(model, precision=precision, name=name, **settings)
    made.optimization.execution_accelerators.cpu_execution_accelerator.add(name="openvino")
    return made
