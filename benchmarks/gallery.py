"""Run every example and show what it prints and draws; writes docs/examples.md.

    python benchmarks/gallery.py

Takes a minute, and needs the wheel of prophet.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "examples.md"
IMAGES = ROOT / "docs" / "images"
# The scripts in the order of the page, with what their pictures show.
PICTURES = {
    "eight_schools": "Intervals of the eight effects: estimated alone they are wide; fit and NUTS "
    "pull them together, and agree",
    "mode_collapse": "Draws on contours of two modes: mean field leaves the smaller one as they "
    "move apart, RoVI keeps both",
    "label_switching": "Histograms of three means over the velocities of galaxies: as fitted each "
    "mean is at all three clusters, relabelled each is at one",
    "forecast": "Twelve years of monthly passengers; the bands of the fit and of CmdStan's NUTS "
    "for the last two lie on each other",
    "hierarchy": "Spread between counties: the fit is the same in both forms; chains of NUTS "
    "scatter around it in the centred form more than in the other",
    "suspect": "Histograms of the logarithm of tau by fit, sample and NUTS",
}
HEAD = """# Gallery of examples

Six scripts of at most 60 lines on real data, with what they print and draw. Each stands in
[examples/](../examples/README.md) with its data and runs from any folder; `--output DIR` draws the
picture. (`python benchmarks/gallery.py` writes this page.)
"""


def section(name: str, alt: str) -> str:
    """Run an example: its own words, what it printed, and its picture."""
    script = ROOT / "examples" / f"{name}.py"
    title, _, rest = (ast.get_docstring(ast.parse(script.read_text("utf-8"))) or "").partition("\n")
    words = rest.partition("[--output DIR]")[2].strip()
    printed = subprocess.run(
        [sys.executable, script, "--output", IMAGES], check=True, capture_output=True, text=True
    ).stdout
    return f"""## {title.rstrip(".")}

{words}

```console
$ python examples/{name}.py
{printed.rstrip()}
```

![{alt}](images/example_{name}.png)

[examples/{name}.py](../examples/{name}.py)
"""


def main() -> None:
    sections = [section(name, alt) for name, alt in PICTURES.items()]
    own = (
        "Densities written in Python, without Stan: [own_density.py](../examples/own_density.py).\n"
    )
    PAGE.write_text("\n".join([HEAD, *sections, own]), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
