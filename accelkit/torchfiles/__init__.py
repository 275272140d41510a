"""Files of PyTorch made from a network and its weights: `python -m accelkit.torchfiles`, which needs PyTorch and NumPy alone."""

PACKAGES = (2, 8)
"""The first PyTorch whose loader of AOTInductor's packages takes the GPU that they are for."""
