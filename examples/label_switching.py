"""Label switching: the modes of a mixture, all of them, and draws in one labelling.

    python examples/label_switching.py [--output DIR]

Velocities of 82 galaxies as a mixture of three normals (data/galaxies.stan). The labels carry no
information, so every mode is there six times; a chain of NUTS stays in one or two of them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

DATA = Path(__file__).parent / "data"


def main(output: Path | None = None) -> None:
    model = sr.Model(DATA / "galaxies.stan", DATA / "galaxies.data.json")
    fit = sr.fit(model, seed=1)
    print(f"{fit.verdict.name}: {fit.verdict.reasons[0]}\n\nmode  weight  mu, thousand km/s")
    centres = model.constrain(np.array([mode.position for mode in fit.modes]), seed=1)["mu"]
    for k, (mode, mu) in enumerate(zip(fit.modes, centres, strict=True), 1):
        print(f"{k:4}  {mode.mass:6.3f}  {mu.round(1)}")

    nuts = sr.nuts(model, engine="stanli", seed=1)
    print(f"\nNUTS: {nuts.check.reason}\n")
    relabelled = sr.relabel(fit, model)
    print(relabelled.reason)
    print(relabelled.summary().round(2).to_string())

    if output is not None:
        draw(fit, relabelled).savefig(output / "example_label_switching.png", dpi=110)


def draw(fit: sr.Fit, relabelled) -> Figure:
    """Means before and after relabelling, over the velocities."""
    y = json.loads((DATA / "galaxies.data.json").read_text())["y"]
    figure = Figure(figsize=(7, 3), layout="constrained")
    titles = ("as fitted: every mean is everywhere", "relabelled")
    for axis, run, title in zip(figure.subplots(1, 2), (fit, relabelled), titles, strict=True):
        mu = run.stan_variable("mu")
        axis.hist(mu, bins=np.linspace(7, 36, 80), density=True, histtype="step", label="123")
        axis.plot(y, np.full(len(y), -0.03), "k|", label="galaxies")
        axis.set(xlabel="velocity, thousand km/s", yticks=[], title=title)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
