"""Stand-in for Triton's C++ backend `fastertransformer`: GPT checkpoints of its layout, cut over processes on torch.distributed."""
