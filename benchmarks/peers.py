"""Other people's methods, and their algorithms, on the posterior of a Stan model.

Each takes a model and a seed, runs with its own defaults, and gives draws on unconstrained space.
"""

from __future__ import annotations

import re
import tempfile
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from advi import Family, advi

import stanrovi as sr
from stanrovi.errors import SamplerError
from stanrovi.stan.program import Program
from stanrovi.target import Array

N_DRAWS = 4000
KHAT_LIMIT = 0.7  # where Vehtari, Simpson, Gelman, Yao and Gabry (2024) draw it
NUTPIE_CHAINS = 4


@dataclass(frozen=True)
class Answer:
    """Draws with what they cost.

    Attributes
    ----------
    x : ndarray, shape (chain, draw, dim)
        Unconstrained space.
    n_gradients : float
        Points at which the log density was evaluated; NaN if the method does not tell.
    doubted : bool or None
        Whether the method itself doubts its answer; None if it does not say.
    """

    x: Array
    n_gradients: float
    doubted: bool | None


class Counted:
    """A model's log density at one point, counted; threads take turns."""

    def __init__(self, model: sr.Model) -> None:
        self._model = model
        self._turn = threading.Lock()
        self._last: tuple[bytes, float, Array] = (b"", 0.0, np.empty(0))
        self.n = 0

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Value and gradient (dim,) at x (dim,); a point asked for twice in a row counts once."""
        with self._turn:
            point = np.ascontiguousarray(x, dtype=np.float64)
            key = point.tobytes()
            if key != self._last[0]:
                value, gradient = self._model.log_density_gradient(point[None])
                self._last = key, float(value[0]), gradient[0]
                self.n += 1
            return self._last[1:]


def stan_advi(model: sr.Model, seed: int, family: Family) -> Answer:
    """ADVI as CmdStan has it, in NumPy over the same density."""
    constant = dropped_constant(model)
    run = advi(model, family, seed=seed, n_draws=N_DRAWS, constant=constant)
    return Answer(run.x[None], run.n_gradients, not run.converged)


_DISCRETE = re.compile("bernoulli|binomial|categorical|poisson|geometric|ordered_|multinomial")
_TILDE = re.compile(r"^([ \t]*)([^\n~/]+?)\s*~\s*(\w+)\((.*?)\);", re.M | re.S)


def dropped_constant(model: sr.Model) -> float:
    """Find what Stan drops from the ~ statements of a program, and ADVI does not.

    By the same program with every ``y ~ f(a)`` written out.
    """
    assert isinstance(model.source, Program)
    text = _TILDE.sub(_written_out, model.source.text)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.stan"
        file.write_text(text, encoding="utf-8")
        whole = sr.Model(file, model.data)
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (20, model.dim))
        apart = whole.log_density_gradient(x)[0] - model.log_density_gradient(x)[0]
    apart = apart[np.isfinite(apart)]
    if not len(apart) or np.ptp(apart) > 1e-6 * (1 + abs(apart[0])):
        raise SamplerError(f"the constant that {model.name} drops is not to be found")
    return float(apart[0])


def _written_out(found: re.Match[str]) -> str:
    indent, left, name, arguments = found.groups()
    suffix = "lpmf" if _DISCRETE.search(name) else "lpdf"
    given = f" | {arguments}" if arguments.strip() else ""
    return f"{indent}target += {name}_{suffix}({left}{given});"


def has(package: str) -> bool:
    """Whether a package is installed."""
    return find_spec(package) is not None


def nutpie(model: sr.Model, seed: int) -> Answer:
    """NUTS of nutpie, whose warm-up is shorter than Stan's, over a Python function."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    counted = Counted(model)

    def log_density(x: Array) -> tuple[float, Array]:
        value, gradient = counted(x)
        if not np.isfinite(value):
            raise RejectedError
        return value, gradient

    compiled = from_pyfunc(
        model.dim,
        lambda: log_density,
        lambda *_: lambda x: {"x": x},
        [np.dtype(np.float64)],
        [(model.dim,)],
        ["x"],
    )
    trace = nutpie.sample(compiled, chains=NUTPIE_CHAINS, cores=1, seed=seed, progress_bar=False)
    return Answer(np.asarray(trace["posterior"]["x"]), counted.n, None)


class RejectedError(ValueError):
    """A point that the program rejects; nutpie takes the step for divergent."""

    is_recoverable = True
