"""Stand-in for Triton's C++ backend `fil`, on the engine that the official one runs on a CPU: Treelite's GTIL."""
