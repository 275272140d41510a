"""What the paths without a recipe of their own need: backend, needs, whether an NVIDIA GPU, packages."""

from __future__ import annotations

_GPU = "an NVIDIA GPU"
PLANNED: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "onnxruntime-cuda": (
        "onnxruntime", f"{_GPU} and ONNX Runtime with its CUDA provider (CUDA 13 and cuDNN 9)", True, ("onnxruntime-gpu",)),
    "onnxruntime-tensorrt": (
        "onnxruntime", f"{_GPU}, ONNX Runtime with its TensorRT provider and the TensorRT libraries", True,
        ("onnxruntime-gpu", "tensorrt")),
    "onnxruntime-openvino": (
        "onnxruntime", "an x86 CPU and the OpenVINO provider of ONNX Runtime", False, ("onnxruntime-ep-openvino",)),
    "openvino": ("openvino", "an x86 CPU, OpenVINO, and NNCF for its INT8 form", False, ("openvino", "nncf")),
    "tensorrt": (
        "tensorrt", f"{_GPU} and a plan built with the TensorRT version of the server that loads it", True, ("tensorrt",)),
    "torch-tensorrt": (
        "pytorch", f"{_GPU} and PyTorch, Torch-TensorRT and TensorRT in the server's versions", True,
        ("torch", "torch-tensorrt")),
    "tf-tensorrt": (
        "tensorflow", f"{_GPU}, TensorFlow up to 2.17 built with TensorRT, and a server of the legacy era", True,
        ("tensorflow",)),
    "fil": (
        "fil", "a tree ensemble (XGBoost, LightGBM or a Treelite checkpoint), not a neural network", False, ("treelite",)),
    "fastertransformer": (
        "fastertransformer", f"{_GPU}, a GPT checkpoint split for it, and a backend that no NVIDIA image has shipped", True,
        ()),
    "vllm": ("vllm", f"{_GPU}, vLLM and a transformer language model", True, ("vllm",)),
    "tensorrt-llm": (
        "tensorrtllm", f"{_GPU}, a transformer language model and NVIDIA's trtllm-python-py3 image", True,
        ("tensorrt-llm",)),
    "pytorch": ("pytorch", "PyTorch and a TorchScript or AOTInductor file of the model", False, ("torch",)),
    "tensorflow": (
        "tensorflow", "TensorFlow, a SavedModel, and a server of the legacy era", False, ("tensorflow",)),
}  # fmt: skip
