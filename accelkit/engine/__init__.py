"""Plans of TensorRT: built, described and refitted under the interpreter that has TensorRT, in any of its versions 8.6 to 11."""
