"""``python tests/robustness/hostile``: run the hostile inputs, print what failed and the table."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile.report import main

if __name__ == "__main__":
    main()
