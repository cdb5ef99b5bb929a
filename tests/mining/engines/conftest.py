"""The folder's own modules can be imported by their names, here and in the processes that the tests start."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
