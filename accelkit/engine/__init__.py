"""Plans of TensorRT: built, described and refitted under the interpreter that has TensorRT, whichever version it is."""
