"""Mixtures of rotated products or conditional families, one component a basin.

The ELBO of a mixture ``q = sum_k w_k q_k`` depends on component k through
``E_k[log p - log q]``, whose gradient is that of an ordinary fit of ``q_k`` to
the *localised* target ``p q_k / q``: the target times the share of the mixture
that component k answers for. So every component is fitted by the same product
fit as a single one, and those that a symmetry of the target takes to one another share one
fit. The weights come from importance sampling against the whole
mixture, not from the components' own evidence, which would count mass twice
where components overlap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stanrovi.families.axes import DENSE_LIMIT
from stanrovi.families.conditional import Conditional
from stanrovi.families.mixture import Mixture
from stanrovi.families.product import Product
from stanrovi.families.rotation import symmetric_root
from stanrovi.modes.found import SearchResult
from stanrovi.modes.search import MOST_ORBITS
from stanrovi.vi.components import (
    CROWD,
    Part,
    mixture_of,
    normalised,
    parts_at,
    weighed,
    without_duplicates,
)
from stanrovi.vi.conditional import fit_conditional, refit_conditional
from stanrovi.vi.fit_run import FitRun
from stanrovi.vi.gaussian import fit_gaussian
from stanrovi.vi.hierarchy import nodes_near
from stanrovi.vi.high_dimension import fit_high_dimensional
from stanrovi.vi.methods.rovi import fit_rovi
from stanrovi.vi.outcome import Outcome
from stanrovi.vi.pool import Batch
from stanrovi.vi.product import fit_product
from stanrovi.vi.result import Status
from stanrovi.vi.settings import FamilySettings
from stanrovi.vi.steps import ProductSettings

_SWEEPS, _LOOKING = 3, 2  # in the first of them roots are looked for
_SOUND_DRAWS = 256
_CHECK_DRAWS = 512
_LOCAL_DRAWS = 256
_APART = 1e-3  # share of others up to which a component has its draws to itself
_UNFELT, _REACH = 1e-6, 4  # share of a crowd's component at draws, moved away so many times
_NEGLIGIBLE = 0.002
# Before any fit: draws of each local Gaussian, and the weight by them below which none is made.
_FIRST_DRAWS, _HOPELESS = 64, 1e-4
_PRECISION, _MORE_DRAWS = 0.004, 1024  # of the weights; draws a component, where they are not
_MOST_PAIRS = 20_000_000  # of draws and components, in memory at once
_GOOD = 0.5  # nats of Jeffreys divergence below which a conditional component is taken


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
    notes: list[str] = []
    begun = parts_at(search.modes)
    parts, se = weighed(run, begun, draws=_FIRST_DRAWS)
    parts = _without_tiny(parts, notes, _HOPELESS)
    endless = len(begun) >= MOST_ORBITS
    if endless:
        notes.append(
            f"The search ended at {len(begun)} modes, with no end of them in sight: their local "
            "Gaussians were weighed, and not refitted."
        )
    product = ProductSettings(
        flexible=settings.marginals == "flexible", max_gradients=max(1500, 12 * run.target.dim)
    )
    run.family, converged = mixture_of(parts), False
    for sweep in range(0 if endless else _SWEEPS):
        before = parts
        parts = _sweep(run, parts, product, sweep=sweep)
        parts = without_duplicates(parts, run.rng, notes)
        parts, se = weighed(run, parts)
        parts = _without_tiny(parts, notes)
        run.family = mixture_of(parts)
        converged = all(part.settled for part in parts) and len(before) == len(parts)
        still = _moved(before, parts) < 0.01 if converged else False
        alone = all(_stands_alone(parts, k, run.rng) for k in range(len(parts)))
        if converged and (alone or (sweep > 0 and still)):
            break
    if se > _PRECISION and not endless:
        parts, _ = weighed(run, parts, draws=min(_MORE_DRAWS, _MOST_PAIRS // len(parts) ** 2))
    mixture = mixture_of(parts)
    message = " ".join([f"{len(mixture.components)} components{_shared(parts)}.", *notes])
    status: Status = "converged" if converged else "max_iterations"
    return Outcome(mixture, status, message, _checked(run, mixture))


def _shared(parts: list[Part]) -> str:
    if not any(part.images for part in parts):
        return ""
    return f", images of {len(parts)} by symmetries of the density"


def _moved(before: list[Part], after: list[Part]) -> float:
    return max(abs(a.weight - b.weight) for a, b in zip(before, after, strict=True))


def _sweep(run: FitRun, parts: list[Part], settings: ProductSettings, *, sweep: int) -> list[Part]:
    """Refit every component to its localised target, but those that are settled and alone."""
    for k, part in enumerate(parts):
        if part.settled and _stands_alone(parts, k, run.rng):
            continue
        mixture = _felt_by(part, mixture_of(parts))
        terms = (-1.0, mixture.log_density_gradient), (1.0, part.family.log_density_gradient)
        localised = run.target.composed(terms=terms)
        local = FitRun(localised, run.rng, run.progress, run.trace, label="mixture")
        share = min(1.0, 2 * part.weight * len(parts))
        fit = _refitted(local, part.family, replace(settings, share=share), sweep=sweep)
        assert isinstance(fit.family, (Product, Conditional))
        parts = [*parts]
        parts[k] = replace(part, family=fit.family, settled=fit.status == "converged")
    return parts


def _felt_by(part: Part, mixture: Mixture) -> Mixture:
    """Of a crowd, what has a share near the draws of one, or wherever its fit may lead."""
    if len(mixture.components) <= CROWD:
        return mixture
    x = part.family.sample(_LOCAL_DRAWS, np.random.default_rng(0))
    center = x.mean(axis=0)
    return mixture.near(np.concatenate([x, center + _REACH * (x - center)]), _UNFELT)


def _stands_alone(parts: list[Part], k: int, rng: np.random.Generator) -> bool:
    """Whether no other component has a share in the draws of this one."""
    mixture = mixture_of(parts)
    own = parts[k].family
    x = own.sample(_LOCAL_DRAWS, rng)
    weight = parts[k].weight / len(parts[k].members)
    others = -np.expm1(np.minimum(own.log_density(x) + np.log(weight) - mixture.log_density(x), 0))
    return bool(others.mean() < _APART)


def _refitted(
    run: FitRun, part: Product | Conditional, settings: ProductSettings, *, sweep: int
) -> Outcome:
    """Refit a component; as a conditional family where roots are found soon."""
    if isinstance(part, Conditional):
        refitted = refit_conditional(run, part, settings)[0]
        return refitted if _is_sound(refitted, run.rng) else replace(refitted, family=part)
    if run.target.dim > DENSE_LIMIT:
        return fit_high_dimensional(run, [part], part, settings.flexible)
    if sweep < _LOOKING:
        with run.stage("roots"):
            nodes = nodes_near(run.target, part)
        if nodes is not None and not nodes.too_many:
            conditional, _ = fit_conditional(run, nodes, settings)
            assert conditional.check is not None
            if conditional.check.divergence()[0] < _GOOD and _is_sound(conditional, run.rng):
                return conditional
    pool = None
    if sweep == 0:
        gaussian, pool, _ = fit_gaussian(run, part)
        part = Product.gaussian(gaussian.center, symmetric_root(gaussian.covariance()))
    return fit_product(run, part, settings, pool).outcome()


def _is_sound(outcome: Outcome, rng: np.random.Generator) -> bool:
    """Whether numbers hold a family where its own draws are."""
    family = outcome.family
    return bool(np.isfinite(family.log_density(family.sample(_SOUND_DRAWS, rng))).all())


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


def _without_tiny(parts: list[Part], notes: list[str], limit: float = _NEGLIGIBLE) -> list[Part]:
    """Drop components of next to no weight; of many, what is little may be much together."""
    share = limit * min(1.0, 2 / sum(len(part.members) for part in parts))
    kept = [part for part in parts if part.weight / len(part.members) > share]
    if len(kept) < len(parts):
        notes.append(f"{len(parts) - len(kept)} components of negligible weight were dropped.")
    return normalised(kept)
