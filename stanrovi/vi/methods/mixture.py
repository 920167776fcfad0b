"""Mixtures of rotated products or conditional families, one component a basin.

The ELBO of a mixture ``q = sum_k w_k q_k`` depends on component k through
``E_k[log p - log q]``, whose gradient is that of an ordinary fit of ``q_k`` to
the *localised* target ``p q_k / q``: the target times the share of the mixture
that component k answers for. So every component is fitted by the same product
fit as a single one. The weights come from importance sampling against the whole
mixture, not from the components' own evidence, which would count mass twice
where components overlap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import logsumexp

from stanrovi.families.conditional import Conditional
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.families.rotation import symmetric_root
from stanrovi.modes.search import SearchResult
from stanrovi.target import Array
from stanrovi.vi.conditional import fit_conditional, refit_conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.hierarchy import nodes_near
from stanrovi.vi.methods.rovi import fit_rovi
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Batch
from stanrovi.vi.product import fit_product
from stanrovi.vi.result import Status
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.steps import ProductSettings

_SWEEPS, _LOOKING = 3, 2  # in the first of them roots are looked for
_WEIGHT_DRAWS = 256  # per component
_CHECK_DRAWS = 512
_NEGLIGIBLE = 0.002
_SAME = 0.5  # nats of Jeffreys divergence below which two components are one


def fit_mixture(run: FitRun, search: SearchResult, settings: FamilySettings) -> Outcome:
    """Fit one rotated product per basin, with weights from the whole mixture.

    Parameters
    ----------
    run : FitRun
    search : SearchResult
        With fewer than two modes this is `fit_rovi`.
    settings : FamilySettings

    Returns
    -------
    Outcome
    """
    if len(search.modes) < 2:
        single = fit_rovi(run, search, settings)
        note = "One basin was found, so the mixture has one component. "
        return replace(single, message=note + single.message)
    weights = np.array([m.weight for m in search.modes])
    parts = tuple(Product.gaussian(m.position, symmetric_root(m.covariance)) for m in search.modes)
    mixture = Mixture(weights / weights.sum(), parts)
    notes: list[str] = []
    product = ProductSettings(
        flexible=settings.marginals == "flexible", max_gradients=max(1500, 12 * mixture.dim)
    )
    run.family, converged = mixture, False
    for sweep in range(_SWEEPS):
        before = mixture
        mixture, settled = _sweep(run, mixture, product, sweep=sweep)
        mixture = _without_duplicates(mixture, run.rng, notes)
        mixture = _without_tiny(_weighed(run, mixture), notes)
        run.family = mixture
        converged = settled and np.shape(before.weights) == np.shape(mixture.weights)
        if converged and sweep > 0 and np.abs(before.weights - mixture.weights).max() < 0.01:
            break
    message = " ".join([f"{len(mixture.components)} components.", *notes])
    status: Status = "converged" if converged else "max_iterations"
    return Outcome(mixture, status, message, _checked(run, mixture))


def _sweep(
    run: FitRun, mixture: Mixture, settings: ProductSettings, *, sweep: int
) -> tuple[Mixture, bool]:
    """Refit every component to its localised target."""
    settled = True
    for k in range(len(mixture.components)):
        part = mixture.components[k]
        share = (-1.0, mixture.log_density_gradient), (1.0, part.log_density_gradient)
        localised = run.target.composed(terms=share)
        local = FitRun(localised, run.rng, run.progress, run.trace, label="mixture")
        fit = _refitted(local, part, settings, sweep=sweep)
        settled = settled and fit.status == "converged"
        assert isinstance(fit.family, (Product, Conditional))
        parts = [*mixture.components]
        parts[k] = fit.family
        mixture = Mixture(mixture.weights, tuple(parts))
    return mixture, settled


def _refitted(
    run: FitRun, part: Product | Conditional, settings: ProductSettings, *, sweep: int
) -> Outcome:
    """Refit a component; as a conditional family where roots are found soon."""
    if isinstance(part, Conditional):
        refitted = refit_conditional(run, part, settings)[0]
        return refitted if _is_sound(refitted, run.rng) else replace(refitted, family=part)
    if sweep < _LOOKING:
        with run.stage("roots"):
            nodes = nodes_near(run.target, part)
        if nodes is not None and not nodes.too_many:
            conditional, _ = fit_conditional(run, nodes, settings)
            assert conditional.check is not None
            if conditional.check.divergence()[0] < _SAME and _is_sound(conditional, run.rng):
                return conditional
    pool = None
    if sweep == 0:
        gaussian, pool, _ = fit_gaussian(run, part)
        part = Product.gaussian(gaussian.center, symmetric_root(gaussian.covariance()))
    return fit_product(run, part, settings, pool).outcome()


def _is_sound(outcome: Outcome, rng: np.random.Generator) -> bool:
    """Whether numbers hold a family where its own draws are."""
    family = outcome.family
    return bool(np.isfinite(family.log_density(family.sample(_WEIGHT_DRAWS, rng))).all())


def _weighed(run: FitRun, mixture: Mixture) -> Mixture:
    """Weights by EM on importance weights of fresh draws, equally many per component."""
    x = np.concatenate([c.from_base(run.base(_WEIGHT_DRAWS)) for c in mixture.components])
    with run.target.stage("weights"):
        log_p, _ = run.target.log_density_gradient(x)
    log_parts = np.stack([c.log_density(x) for c in mixture.components], axis=1)
    total = logsumexp(log_parts, axis=1)
    told = np.isfinite(total)  # a component can be beyond numbers at draws of its own
    log_p, log_parts = log_p[told], log_parts[told]
    log_ratio = log_p - total[told]
    importance = np.exp(log_ratio - log_ratio.max())
    weights = mixture.weights
    for _ in range(200):
        joint = np.log(np.maximum(weights, 1e-300)) + log_parts
        responsibility = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        new = importance @ responsibility / importance.sum()
        if np.abs(new - weights).max() < 1e-6:
            break
        weights = new
    return Mixture(weights, mixture.components)


def _checked(run: FitRun, mixture: Mixture) -> Batch:
    """Evaluate the target at fresh draws of the whole mixture."""
    x = mixture.sample(max(_CHECK_DRAWS, 4 * mixture.dim), run.rng)
    with run.target.stage("check"):
        log_p, gradient = run.target.log_density_gradient(x)
    log_q = mixture.log_density(x)
    held = np.isfinite(log_q)  # else as good as rejected
    batch = Batch(x, gradient, np.where(held, log_p, -np.inf), np.where(held, log_q, 0.0))
    run.record("check", batch)
    return batch


def _without_duplicates(mixture: Mixture, rng: np.random.Generator, notes: list[str]) -> Mixture:
    """Merge components that drifted into one another."""
    parts, weights = list(mixture.components), list(mixture.weights)
    i = 0
    while i < len(parts):
        for j in range(len(parts) - 1, i, -1):
            if _jeffreys(parts[i], parts[j], rng) < _SAME:
                notes.append("Two components that had become one were merged.")
                weights[i] += weights.pop(j)
                parts.pop(j)
        i += 1
    return Mixture(np.array(weights), tuple(parts))


def _jeffreys(
    p: Product | Conditional, q: Product | Conditional, rng: np.random.Generator
) -> float:
    x, y = p.sample(200, rng), q.sample(200, rng)
    return _mean_gain(p, q, x) + _mean_gain(q, p, y)


def _mean_gain(p: Product | Conditional, q: Product | Conditional, x: Array) -> float:
    """Mean of ``log p - log q`` at draws of p, where numbers hold it."""
    log_p = p.log_density(x)
    held = np.isfinite(log_p)
    apart = log_p[held] - q.log_density(x[held])
    return float(apart.mean()) if held.any() and np.isfinite(apart).all() else np.inf


def _without_tiny(mixture: Mixture, notes: list[str]) -> Mixture:
    keep = mixture.weights > _NEGLIGIBLE
    if keep.all():
        return mixture
    notes.append(f"{int((~keep).sum())} components of negligible weight were dropped.")
    weights = mixture.weights[keep]
    parts = tuple(c for c, k in zip(mixture.components, keep, strict=True) if k)
    return Mixture(weights / weights.sum(), parts)
