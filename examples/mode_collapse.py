"""Mode collapse: mean field keeps one of two modes, a rotation keeps both (arXiv:2510.17063).

    python examples/mode_collapse.py [--output DIR]

The target is `w N((-m, -m), I) + (1 - w) N((m, m), I)`, bundled as model bimodal_gaussian, with
w = 0.3. The whole study is docs/results/mode_collapse.md.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

DISTANCES, WEIGHT = (1.0, 2.0, 3.0), 0.3


def main(output: Path | None = None) -> None:
    figure = Figure(figsize=(7, 5), layout="constrained")
    rows = figure.subplots(2, 3, sharex="col", sharey="col")
    print("   m  method  at (-m, -m)  KL, nats  verdict")
    for column, m in zip(rows.T, DISTANCES, strict=True):
        model = sr.Model("bimodal_gaussian", {"m": m, "w": WEIGHT})
        for axis, method in zip(column, ("mfvi", "rovi"), strict=True):
            fit = sr.fit(model, method=method, seed=1)
            x = fit.stan_variable("x")
            # The density is normalised, so minus the ELBO is the divergence from fit to target.
            share, kl = (x.sum(axis=1) < 0).mean(), max(-fit.result.elbo, 0)
            print(f"{m:4g}  {method}    {share:11.2f}  {kl:8.3f}  {fit.verdict.name}")
            draw(axis, x, m)
            axis.set_title(f"{method}, m = {m:g}: {fit.verdict.name}", fontsize=9)
    bound = sr.find_modes(model, seed=1).original.bound
    print(
        f"\nKnown before any fit of m = 3: mean field leaves the smaller mode at most {bound:.2g}."
    )
    if output is not None:
        figure.savefig(output / "example_mode_collapse.png", dpi=90)


def draw(axis, x: np.ndarray, m: float) -> None:
    """Draw points on the contours of the target."""
    grid = np.linspace(-m - 3.5, m + 3.5, 150)
    first, second = (np.exp(-0.5 * (grid - c) ** 2) for c in (-m, m))
    density = WEIGHT * np.outer(first, first) + (1 - WEIGHT) * np.outer(second, second)
    axis.contour(grid, grid, density, levels=(0.01, 0.1, 0.25), colors="0.5", linewidths=0.7)
    axis.scatter(*x[:400].T, s=3, alpha=0.5, linewidths=0)
    axis.set_aspect("equal")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
