"""What a fit returns: one frozen record for every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stanrovi.target import Array

if TYPE_CHECKING:
    from stanrovi.families import Family

Status = Literal["converged", "max_iterations", "budget", "fallback"]
VerdictName = Literal["ok", "suspect", "collapsed", "family cannot hold these modes"]


@dataclass(frozen=True)
class Mode:
    """One basin of the log density.

    Attributes
    ----------
    position : ndarray, shape (dim,)
        Location of the mode, unconstrained space.
    log_density : float
        Log density there, up to a constant.
    covariance : ndarray, shape (dim, dim)
        Inverse of minus the Hessian there.
    weight : float
        Share of the local evidence (Laplace, refined where draws allow it).
    mass : float
        Share of the fit's draws that fall in this basin; NaN before a fit.
    """

    position: Array
    log_density: float
    covariance: Array
    weight: float
    mass: float = float("nan")


@dataclass(frozen=True)
class TracePoint:
    """One step of a fit: the ELBO estimate of the current approximation.

    Attributes
    ----------
    stage : str
        ``"gaussian"``, ``"product"``, ...; ``"mixture"`` for a step of one
        component, whose ELBO is that of its share of the target.
    n_gradients : int
        Gradients spent when the estimate was made.
    elbo : float
        Estimate, up to the constant that Stan drops (nats).
    elbo_se : float
        Its Monte Carlo standard error.
    """

    stage: str
    n_gradients: int
    elbo: float
    elbo_se: float


@dataclass(frozen=True)
class Verdict:
    """Whether a fit may be trusted, with the evidence.

    Attributes
    ----------
    name : {"ok", "suspect", "collapsed", "family cannot hold these modes"}
    reasons : tuple of str
        One sentence for each piece of evidence.
    """

    name: VerdictName
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FitResult:
    """A variational fit.

    Attributes
    ----------
    method : str
        As asked for: ``"auto"`` also where it chose another.
    status : {"converged", "max_iterations", "budget", "fallback"}
        ``"fallback"``: a simpler family was returned because the richer one
        was not better on fresh draws.
    message : str
        One sentence that explains the status.
    family : Family
        The fitted distribution on unconstrained space.
    draws : ndarray, shape (n, dim)
        Draws from ``family``, unconstrained space: quasi-random, in random order.
    log_p, log_q : ndarray, shape (n,)
        Target (up to a constant) and family log density at the draws.
        ``log_p`` is -inf where the target rejects the draw.
    elbo, elbo_se : float
        ELBO on draws that no fitting step has seen (``draws``, and more of the
        same where they are few), with its standard error (nats, up to the
        constant that Stan drops).
    khat : float
        Pareto shape of the importance ratios at the same draws; 0 where they
        are constant, NaN where nearly all are rejected.
    trace : tuple of TracePoint
    n_gradients, n_rejections : int
        Log density evaluations spent on the fit (``draws`` not included), and
        how many of them the target rejected.
    gradients_by_stage : mapping of str to int
        Sums to ``n_gradients`` plus the evaluations at ``draws``.
    seconds, density_seconds : float
        Wall time of the fit, and the part spent inside the log density.
    dim, seed : int
    modes : tuple of Mode
        Basins found by the mode search, heaviest first.
    verdict : Verdict
    warnings : tuple of str
    """

    method: str
    status: Status
    message: str
    family: Family
    draws: Array
    log_p: Array
    log_q: Array
    elbo: float
    elbo_se: float
    khat: float
    trace: tuple[TracePoint, ...]
    n_gradients: int
    n_rejections: int
    gradients_by_stage: Mapping[str, int]
    seconds: float
    density_seconds: float
    dim: int
    seed: int
    modes: tuple[Mode, ...]
    verdict: Verdict
    warnings: tuple[str, ...]
