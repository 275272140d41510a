"""Files of PyTorch made from a network and its weights: `python -m accelkit.torchfiles`, which needs PyTorch and NumPy alone."""
