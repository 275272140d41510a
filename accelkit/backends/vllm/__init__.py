"""Stand-in for Triton's Python-based backend `vllm`, which no wheel carries: the engine of vLLM behind the official tensors."""
