"""What configs of TensorRT-LLM may say: keys and tensors alone, because its libraries come in NVIDIA's image only."""
