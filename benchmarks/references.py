"""Posteriors with reference draws, and the distance of other draws to them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import wasserstein_distance

import stanrovi as sr
from stanrovi.target import Array

FOLDER = Path(__file__).parent / "posteriors"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.stan")))


@dataclass(frozen=True)
class Posterior:
    """A model with draws to be believed.

    Attributes
    ----------
    name : str
    model : Model
    reference : mapping of str to ndarray, shape (n,)
        Scalar quantities under Stan's names.
    """

    name: str
    model: sr.Model
    reference: Mapping[str, Array]

    def worst_w1(self, draws: sr.Draws) -> float:
        """Largest Wasserstein-1 distance of any marginal, in sds of the reference."""
        variables = tuple(dict.fromkeys(name.split("[")[0] for name in self.reference))
        scalars = draws.scalars(variables)
        return max(
            wasserstein_distance(scalars[name].ravel(), truth) / truth.std()
            for name, truth in self.reference.items()
        )

    def noise(self, n: int = 4000, repeats: int = 20) -> float:
        """Median of what `worst_w1` is for n draws of the reference itself."""
        rng = np.random.default_rng(0)
        table = np.column_stack(list(self.reference.values()))
        rest = len(table) - n
        worst = []
        for _ in range(repeats):
            rows = rng.permutation(table)
            distances = [
                wasserstein_distance(a, b) for a, b in zip(rows[:n].T, rows[n:].T, strict=True)
            ]
            # Rescaled from sizes (n, rest) to (n, all of the reference).
            scale = np.sqrt((1 / n + 1 / len(table)) / (1 / n + 1 / rest))
            worst.append(max(np.array(distances) / table.std(axis=0)) * scale)
        return float(np.median(worst))


def load(name: str) -> Posterior:
    """One of the posteriors in `FOLDER`."""
    with gzip.open(FOLDER / f"{name}.reference.csv.gz", "rt", encoding="utf-8") as file:
        header = next(csv.reader(file))
        values = np.loadtxt(file, delimiter=",")
    model = sr.Model(FOLDER / f"{name}.stan", FOLDER / f"{name}.data.json")
    return Posterior(name, model, dict(zip(header, values.T, strict=True)))
