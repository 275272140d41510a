"""Run the command line as `python -m accelkit`."""

from accelkit.cli import main

main()
