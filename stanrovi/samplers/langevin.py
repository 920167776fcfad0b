"""Langevin Monte Carlo, the comparator of Sheng, Wu and Gonzalez-Sanz (arXiv:2510.17063).

The Langevin diffusion, discretised with step h,

    x' = x + h grad log p(x) + sqrt(2 h) xi,    xi ~ N(0, I),

unadjusted (LMC) or as the proposal of a Metropolis test (MALA). All chains move
together, one batch of gradients a step. There is no preconditioning, as in the
paper: where scales differ by orders of magnitude it mixes slowly, and R-hat says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stanrovi.errors import DensityError, UsageError
from stanrovi.samplers.starts import uniform
from stanrovi.samplers.step_size import DualAveraging
from stanrovi.target import Array, Target

LangevinMethod = Literal["lmc", "mala"]

# Acceptance that warm-up aims at. MALA: the optimal one of Roberts and Rosenthal (1998). LMC:
# the step whose proposals a Metropolis test would accept 99 times in 100, so that leaving the
# test out costs little: 3% of the standard deviation of a Gaussian in the plane, less beyond.
_ACCEPTANCE = {"lmc": 0.99, "mala": 0.574}
_MAX_DOUBLINGS = 100


@dataclass(frozen=True)
class LangevinSettings:
    """Length of a run, under Stan's names.

    Attributes
    ----------
    chains : int
    iter_warmup : int
        Steps that choose the step size and are thrown away.
    iter_sampling : int
        Steps after warm-up, ``thin`` for each draw kept.
    thin : int
    radius : float
        Chains start uniformly in a cube of this half-width, as Stan's do.
    """

    chains: int = 4
    iter_warmup: int = 2000
    iter_sampling: int = 20_000
    thin: int = 10
    radius: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("chains", 1), ("iter_warmup", 1), ("thin", 1), ("radius", 0)):
            if not getattr(self, name) >= least:
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.iter_sampling < self.thin:
            raise UsageError(
                f"iter_sampling must be at least thin ({self.thin}), got {self.iter_sampling}"
            )


@dataclass(frozen=True)
class LangevinRun:
    """A Langevin run.

    Attributes
    ----------
    method : {"lmc", "mala"}
    draws : ndarray, shape (chain, draw, dim)
        Draws after warm-up, unconstrained space.
    log_density : ndarray, shape (chain, draw)
        At the draws, up to a constant.
    acceptance : ndarray, shape (chain,)
        Mean acceptance probability after warm-up; for LMC what a Metropolis
        test would have accepted, a measure of its bias.
    step_size : ndarray, shape (chain,)
        The h of each chain.
    n_gradients, n_rejections : int
        Evaluations with warm-up, and how many the target rejected.
    """

    method: LangevinMethod
    draws: Array
    log_density: Array
    acceptance: Array
    step_size: Array
    n_gradients: int
    n_rejections: int


def run_langevin(
    target: Target,
    rng: np.random.Generator,
    method: LangevinMethod = "lmc",
    settings: LangevinSettings | None = None,
    *,
    start: Array | None = None,
) -> LangevinRun:
    """Sample by Langevin Monte Carlo.

    Parameters
    ----------
    target : Target
        Log density on unconstrained space.
    rng : numpy.random.Generator
    method : {"lmc", "mala"}
        Unadjusted, or with a Metropolis test.
    settings : LangevinSettings, optional
    start : ndarray, shape (chains, dim), optional
        Where the chains begin, instead of at random.

    Returns
    -------
    LangevinRun

    Raises
    ------
    UsageError
        For an unknown method, or a start of the wrong shape.
    DensityError
        If the density is not finite where a chain starts.
    """
    if method not in _ACCEPTANCE:
        raise UsageError(f"method must be one of {', '.join(_ACCEPTANCE)}, got {method!r}")
    settings = settings or LangevinSettings()
    before = target.n_gradients, target.n_rejections
    with target.stage("langevin"):
        state = _start(target, rng, settings, start)
        tuning = DualAveraging(_first_step(target, rng, state), _ACCEPTANCE[method])
        for _ in range(settings.iter_warmup):
            # A test during warm-up, also for LMC: a step still too long must not blow up.
            state, accepted = _step(target, rng, state, tuning.step, adjusted=True)
            tuning.update(accepted)
        step = tuning.final_step
        n_draws = settings.iter_sampling // settings.thin
        draws = np.empty((settings.chains, n_draws, target.dim))
        log_density = np.empty((settings.chains, n_draws))
        total = np.zeros(settings.chains)
        for i in range(n_draws):
            for _ in range(settings.thin):
                state, accepted = _step(target, rng, state, step, adjusted=method == "mala")
                total += accepted
            draws[:, i], log_density[:, i] = state.x, state.log_density
    return LangevinRun(
        method=method,
        draws=draws,
        log_density=log_density,
        acceptance=total / (n_draws * settings.thin),
        step_size=step,
        n_gradients=target.n_gradients - before[0],
        n_rejections=target.n_rejections - before[1],
    )


@dataclass(frozen=True)
class _State:
    """All chains: points (n, dim), log densities (n,) and gradients (n, dim) there."""

    x: Array
    log_density: Array
    gradient: Array

    def replaced(self, other: _State, rows: NDArray[np.bool_]) -> _State:
        """Take the other state's rows where told."""
        return _State(
            np.where(rows[:, None], other.x, self.x),
            np.where(rows, other.log_density, self.log_density),
            np.where(rows[:, None], other.gradient, self.gradient),
        )


def _step(
    target: Target, rng: np.random.Generator, state: _State, h: Array, *, adjusted: bool
) -> tuple[_State, Array]:
    """Move every chain once; also the probability of a Metropolis test to accept.

    A proposal that the target rejects is never taken, tested or not.
    """
    step = h[:, None]
    x = state.x + step * state.gradient + np.sqrt(2 * step) * rng.standard_normal(state.x.shape)
    proposed = _State(x, *target.log_density_gradient(x))
    finite = np.isfinite(proposed.log_density)
    forward = ((proposed.x - state.x - step * state.gradient) ** 2).sum(axis=1)
    backward = ((state.x - proposed.x - step * proposed.gradient) ** 2).sum(axis=1)
    log_ratio = proposed.log_density - state.log_density + (forward - backward) / (4 * h)
    accepted = np.where(finite, np.exp(np.minimum(log_ratio, 0.0)), 0.0)
    taken = rng.random(len(h)) < accepted if adjusted else finite
    return state.replaced(proposed, taken), accepted


def _start(
    target: Target, rng: np.random.Generator, settings: LangevinSettings, start: Array | None
) -> _State:
    shape = (settings.chains, target.dim)
    if start is not None:
        x = np.asarray(start, dtype=np.float64)
        if x.shape != shape:
            raise UsageError(f"start must have shape (chains, dim) = {shape}, got {x.shape}")
        state = _State(x, *target.log_density_gradient(x))
    else:
        found = uniform(target, rng, shape, settings.radius)
        state = _State(found.x, found.log_p, found.gradient)
    lost = np.flatnonzero(~np.isfinite(state.log_density))
    if len(lost):
        raise DensityError(
            f"The log density is not finite where chains {(lost + 1).tolist()} start; give "
            "start points inside the support, or a smaller radius."
        )
    return state


def _first_step(target: Target, rng: np.random.Generator, state: _State) -> Array:
    """Double or halve every chain's step until its acceptance crosses one half."""
    h = np.ones(len(state.x))
    _, accepted = _step(target, rng, state, h, adjusted=True)
    grows = accepted > 0.5
    moving = np.ones(len(h), dtype=bool)
    for _ in range(_MAX_DOUBLINGS):
        h = np.where(moving, np.where(grows, 2 * h, h / 2), h)
        _, accepted = _step(target, rng, state, h, adjusted=True)
        moving &= (accepted > 0.5) == grows
        if not moving.any():
            break
    return h
