"""Python-based Triton backends that stand in, under the official names, for the C++ ones which no wheel carries."""
