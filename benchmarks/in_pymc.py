"""A Stan model's density in PyMC, for its ADVI and Pathfinder; imported only where PyMC 6 is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from peers import KHAT_LIMIT, N_DRAWS, Answer, Counted
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

import stanrovi as sr
from stanrovi.target import Array


class Slope(Op):
    """Gradient of a function."""

    def __init__(self, function: Callable[[Array], tuple[float, Array]]) -> None:
        self.function = function

    def make_node(self, x: Any) -> Apply:
        """See PyTensor's `Op`."""
        return Apply(self, [x], [pt.dvector()])

    def perform(self, node: Apply, inputs: Any, outputs: Any) -> None:
        """See PyTensor's `Op`."""
        outputs[0][0] = self.function(inputs[0])[1].copy()


class Value(Op):
    """A function with its gradient."""

    def __init__(self, function: Callable[[Array], tuple[float, Array]]) -> None:
        self.function, self.slope = function, Slope(function)

    def make_node(self, x: Any) -> Apply:
        """See PyTensor's `Op`."""
        return Apply(self, [x], [pt.dscalar()])

    def perform(self, node: Apply, inputs: Any, outputs: Any) -> None:
        """See PyTensor's `Op`."""
        outputs[0][0] = np.asarray(self.function(inputs[0])[0])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """See PyTensor's `Op`."""
        return [cotangents[0] * self.slope(inputs[0])]


@contextmanager
def _in_pymc(model: sr.Model) -> Iterator[Counted]:
    """Make a PyMC model whose only variable x has the density of a Stan model."""
    counted = Counted(model)
    with warnings.catch_warnings(), pm.Model():
        warnings.simplefilter("ignore")  # that the density is no code of PyMC's
        x = pm.Flat("x", shape=model.dim)
        pm.Potential("density", Value(counted)(x))
        yield counted


def pymc_advi(model: sr.Model, seed: int, method: str) -> Answer:
    """ADVI of PyMC (``advi`` or ``fullrank_advi``): 10,000 steps of one draw, no stop rule."""
    with _in_pymc(model) as counted:
        fitted = pm.fit(method=method, random_seed=seed, progressbar=False)
        draws = fitted.sample(N_DRAWS, random_seed=seed, return_inferencedata=False)
    return Answer(np.asarray(draws["x"])[None], counted.n, None)


def pymc_pathfinder(model: sr.Model, seed: int) -> Answer:
    """Pathfinder of pymc-extras: four paths, resampled by smoothed weights, with their k-hat."""
    import pymc_extras

    with _in_pymc(model) as counted:
        found = pymc_extras.fit_pathfinder(random_seed=seed, progressbar=False, parallel=False)
    khat = float(found["pathfinder"]["pareto_k"])
    return Answer(np.asarray(found["posterior"]["x"]), counted.n, not khat <= KHAT_LIMIT)
