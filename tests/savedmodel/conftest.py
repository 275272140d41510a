"""The bytes of made-up SavedModels for these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))
