"""Fits in more dimensions than dense matrices are for: axes with structure, marginals on them.

A Gaussian by natural-gradient steps whose expected Hessian is measured by differences of
gradients, sparse or of low rank (`stanrovi.modes.structure`), so that a step costs a few
hundred gradients in any dimension; then the marginals along its axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stanrovi.families.axes import Axes
from stanrovi.families.product import Product
from stanrovi.modes.sparsity import SparseCurvature
from stanrovi.modes.structure import LowRankPart, Sparse, Structure, structure_at, structure_of
from stanrovi.target import Array
from stanrovi.vi.conditional import fit_conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.hubs import nodes_at_hubs
from stanrovi.vi.loop import Progress, Proposal, ascend
from stanrovi.vi.nodes import Nodes
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Batch, Pool
from stanrovi.vi.product import fit_product
from stanrovi.vi.steps import ProductSettings

_FIRST, _MOST = 16, 256  # draws of a look
_POINTS = 8  # at which the curvature is measured
_MAX_STEPS, _FEW_STEPS = 40, 8
_PLAIN = 1e-6  # share of squared products that a plain structure may leave
_VARIES = 1e-3  # such a share: a curvature that is another one elsewhere, as where some rule others
_FORWARD = 1.0  # share of the expectations of marginals taken under the target
_FULL_STEPS, _DAMPING = 3, 0.5
_STEADY = 0.5  # share of what a step promised that is as much: noise
_VECTORS = 8  # that say by how much the axes have changed
_NOISE_FACTOR = 1.5
_NOISE = 0.00125  # nats per dimension, growing as its root beyond ten


def fit_structured_gaussian(
    run: FitRun, start: Product, structure: Structure | None = None, most_steps: int = _MAX_STEPS
) -> tuple[Product, Pool, bool]:
    """Fit a Gaussian whose precision is sparse, or diagonal plus low rank.

    Parameters
    ----------
    run : FitRun
    start : Product
        A Gaussian to begin at.
    structure : Structure, optional
        Of the curvature, where it is known.
    most_steps : int

    Returns
    -------
    family : Product
    pool : Pool
        The evaluations made.
    converged : bool
    """
    if structure is None:
        with run.stage("gaussian"):
            scale = start.axes.precision_diagonal() ** -0.5
            structure = structure_at(run.target, start.center, scale, run.rng)
    pool = Pool()
    course = ascend(run, start, _NaturalGradient(run, structure, most_steps), pool)
    if course.last is None:
        return course.best.family, pool, False
    return course.last.family, pool, course.last.converged


@dataclass
class _NaturalGradient:
    """Natural-gradient steps with a structured curvature; see `stanrovi.vi.loop.Rule`.

    Attributes
    ----------
    promised : float
        Nats that the last step promised.
    n_averaged : int
        Steps with the most draws, of which a mean is taken.
    """

    run: FitRun
    structure: Structure
    most_steps: int
    promised: float = np.inf
    n_averaged: int = 0

    stage: ClassVar[str] = "gaussian"
    recovery: ClassVar[float] = 1.5

    @property
    def first_draws(self) -> int:
        return _FIRST

    def affords(self, step: int, spent: int) -> bool:
        return step < self.most_steps

    def base(self, run: FitRun, n: int) -> Array:
        """Draws in opposite pairs."""
        half = run.rng.standard_normal(((n + 1) // 2, run.target.dim))
        return np.concatenate([half, -half])

    def better_start(self, family: Product, batch: Batch, step: int) -> Product | None:
        rejected = batch.n_rejected / len(batch.x)
        if step >= self.most_steps // 2 or rejected <= 0.1:
            return None
        return Product.gaussian(family.center, family.axes.scaled(0.5))

    def overshot(self, new: Batch, best: Batch) -> bool:
        se = np.hypot(min(new.elbo_se, best.elbo_se), best.elbo_se)
        return not new.elbo > best.elbo - max(1.0, 4.0 * se)

    def propose(self, best: Progress, pool: Pool, n_draws: int, step: int) -> Proposal:
        family, batch = best.family, best.batch
        half = len(batch.x) // 2
        accepted = np.isfinite(batch.log_p)
        pairs = accepted[:half] & accepted[half : 2 * half]
        whitened = family.axes.apply_transposed(batch.gradient)
        pulls = (whitened[:half] + whitened[half : 2 * half])[pairs] / 2
        if len(pulls) < 2:
            return Proposal(family, n_draws, ended="Too many draws are rejected.")
        pull = pulls.mean(axis=0)
        noise = float(pulls.var(axis=0, ddof=1).sum()) / len(pulls) / 2
        share = 1.0 if step < _FULL_STEPS else _DAMPING
        damping = best.boldness * min(share, 1.0 / (1 + self.n_averaged))
        try:
            axes = self._axes(family, batch, damping)
        except np.linalg.LinAlgError:
            axes = family.axes
        move = axes.apply_transposed(family.axes.solve_transposed(pull[None]))[0]
        gain = 0.5 * float(move @ move)
        limit = max(3.0, 2.0 * np.sqrt(family.dim))
        size = float(np.linalg.norm(move))
        move = damping * move * min(1.0, limit / max(size, 1e-300))
        changed = self._change(family.axes, axes) / damping**2
        new = Product.gaussian(family.center + axes.apply(move), axes)
        small = _NOISE * np.sqrt(10 * family.dim)
        promised = max(gain - _NOISE_FACTOR * noise, 0.0) + changed
        steady = step >= _FULL_STEPS and promised > _STEADY * self.promised
        self.promised = promised
        if promised < small * 2:
            if noise < small or n_draws >= _MOST:
                return Proposal(new, n_draws, ended="settled", converged=True)
            n_draws *= 2
        elif steady and n_draws < _MOST:
            n_draws *= 2
        elif n_draws >= _MOST:
            # What it promises is noise of its own, of which little is left in a mean of steps.
            self.n_averaged += 1
            if steady and (noise + promised) / self.n_averaged < small * 2:
                return Proposal(new, n_draws, ended="settled", converged=True)
        return Proposal(new, n_draws)

    def _axes(self, family: Product, batch: Batch, damping: float) -> Axes:
        accepted = np.flatnonzero(np.isfinite(batch.log_p))
        half = len(batch.x) // 2
        n = max(_POINTS, half // 4)
        some = accepted[np.argsort(accepted % half, kind="stable")][:n]
        return self.structure.measured(
            self.run.target,
            batch.x[some],
            batch.gradient[some],
            family.axes,
            damping,
            self.run.rng,
        )

    def _change(self, before: Axes, after: Axes) -> float:
        """Nats by which a change of the axes counts: a quarter of its squared size."""
        vectors = self.run.rng.standard_normal((_VECTORS, before.dim))
        x = before.apply(vectors)
        there = before.apply_transposed(after.solve_transposed(after.solve(x)))
        return 0.25 * float(((there - vectors) ** 2).sum()) / _VECTORS


def _settings(flexible: bool) -> ProductSettings:
    return ProductSettings("fixed", alone=True, flexible=flexible, forward=_FORWARD)


def fit_high_dimensional(
    run: FitRun, places: Sequence[Product], start: Product, flexible: bool
) -> Outcome:
    """Fit a conditional family where hubs of a sparse curvature rule others, or `fit_marginals`.

    Parameters
    ----------
    run : FitRun
    places : sequence of Product
        Where to look for roots, in turns until there are some.
    start : Product
        Where to begin if there are none.
    flexible : bool
        Marginals of any shape, or Gaussian ones.

    Returns
    -------
    Outcome
        Its message says which.
    """
    settings = _settings(flexible)
    nodes, structure = _nodes_at(run, [*places, start])
    if nodes is None:
        gaussian, _, settled = fit_structured_gaussian(run, start, structure)
        run.family = gaussian
        if isinstance(structure, Sparse):
            nodes, _ = _nodes_at(run, [gaussian], structure.curvature)
        if nodes is None:
            outcome = _with_marginals(run, gaussian, settings, settled=settled)
            return replace(outcome, message=f"rovi, since nothing rules others. {outcome.message}")
    outcome, _ = fit_conditional(run, nodes, settings)
    reason = "structured, since parameters rule the spread of others. "
    return replace(outcome, message=reason + outcome.message)


def fit_by_structure(
    run: FitRun, places: Sequence[Product], start: Product, flexible: bool
) -> Outcome | None:
    """Fit as in many dimensions where the structure of the target is plain; None elsewhere.

    Plain is a sparse curvature whose roots are found, or that is diagonal plus low rank and no
    more. Costs a few hundred gradients where it is neither.

    Parameters
    ----------
    run : FitRun
    places : sequence of Product
        Where to look, in turns.
    start : Product
        Where to begin if there are no roots.
    flexible : bool
        Marginals of any shape, or Gaussian ones.
    """
    settings = _settings(flexible)
    nodes, structure = _nodes_at(run, places)
    if nodes is not None:
        return fit_conditional(run, nodes, settings)[0]
    if isinstance(structure, LowRankPart):
        with run.stage("roots"):
            if not _is_plain(run, structure, start):
                return None
    gaussian, _, settled = fit_structured_gaussian(run, start, structure, _FEW_STEPS)
    varies = isinstance(structure, LowRankPart) and structure.unexplained > _VARIES
    if not settled or varies:
        return None
    run.family = gaussian
    return _with_marginals(run, gaussian, settings, settled=True)


def _is_plain(run: FitRun, structure: LowRankPart, place: Product) -> bool:
    """Whether a curvature is diagonal plus low rank at a place, and hardly another one nearby."""
    center, nearby = place.center[None], place.from_base(run.base(_POINTS))
    for x, most in ((center, _PLAIN), (nearby, _VARIES)):
        try:
            _, gradient = run.target.log_density_gradient(x)
            structure.measured(run.target, x, gradient, place.axes, 1.0, run.rng)
        except np.linalg.LinAlgError:
            return False
        if not structure.unexplained < most:
            return False
    return True


def _nodes_at(
    run: FitRun, places: Sequence[Product], curvature: SparseCurvature | None = None
) -> tuple[Nodes | None, Structure]:
    """Look for roots in turns, until there are some that a conditional family can follow.

    Gives the structure of the curvature, too, as it is at the first place.
    """
    with run.stage("roots"):
        for place in places:
            nodes, curvature = nodes_at_hubs(run.target, place, run.rng, curvature)
            if nodes is not None and not nodes.too_many:
                return nodes, structure_of(curvature)
            if curvature is None:
                break  # what is not sparse at one place is so at none
    return None, structure_of(curvature)


def fit_marginals(run: FitRun, start: Product, flexible: bool) -> Outcome:
    """Fit marginals along the axes of a Gaussian with the structure of the target.

    Parameters
    ----------
    run : FitRun
    start : Product
        A Gaussian to begin at.
    flexible : bool
        Marginals of any shape, or Gaussian ones.

    Returns
    -------
    Outcome
    """
    settings = _settings(flexible)
    gaussian, _, settled = fit_structured_gaussian(run, start)
    run.family = gaussian
    return _with_marginals(run, gaussian, settings, settled=settled)


def _with_marginals(
    run: FitRun, gaussian: Product, settings: ProductSettings, *, settled: bool
) -> Outcome:
    outcome = fit_product(run, gaussian, settings).outcome()
    if settled:
        return outcome
    message = f"The Gaussian with which it began did not settle. {outcome.message}"
    return replace(outcome, status="max_iterations", message=message)
