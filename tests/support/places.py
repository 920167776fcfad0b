"""Where things are in the tree."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SCHEMAS = ROOT / "docs" / "schemas"
EXAMPLES = ROOT / "examples"
POSTERIORS = ROOT / "benchmarks" / "posteriors"
HIERARCHIES = ROOT / "benchmarks" / "hierarchies"
