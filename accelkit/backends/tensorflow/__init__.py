"""Stand-in for Triton's C++ backend `tensorflow`."""
