"""Small models for these tests, and what a server holds."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / folder) for folder in ("fixtures", "serving")]
