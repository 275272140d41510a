"""Take one model down every acceleration path of Triton Inference Server, and prove which of them help on this machine."""
