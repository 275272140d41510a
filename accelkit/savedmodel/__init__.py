"""SavedModels of TensorFlow: written, read, converted; `python -m accelkit.savedmodel` runs where TensorFlow is."""
