"""Draws with a known truth, for the tests of everything after the draws."""

import json
from dataclasses import replace

import numpy as np
from scipy.stats import multivariate_normal

from stanrovi.diagnostics.statistics import psis_khat
from stanrovi.draws import Draws
from stanrovi.io import notes

CENTRE = 3.0
MODES = [
    {"weight": 0.5, "log_density": 0.0, "mass": 0.5, "position": [-CENTRE, -CENTRE]},
    {"weight": 0.5, "log_density": 0.0, "mass": 0.5, "position": [CENTRE, CENTRE]},
]
TRACE = [
    {"stage": "gaussian", "n_gradients": 64, "elbo": -50.0, "elbo_se": 2.0},
    {"stage": "gaussian", "n_gradients": 448, "elbo": -1.0, "elbo_se": 0.1},
    {"stage": "product", "n_gradients": 9000, "elbo": -0.1, "elbo_se": 0.02},
]


def run(method, values, *, unconstrained=True, attrs=None, stats=None, name="x"):
    """Draws of one vector parameter from values of shape (chain, draw, d)."""
    draws = Draws(
        method=method,
        posterior={name: values},
        parameters=(name,),
        sample_stats=stats or {},
        unconstrained=values.reshape(*values.shape[:2], -1) if unconstrained else None,
    )
    return noted(
        draws, {"model": "bimodal_gaussian", "engine": "stanli", "seed": 1, **(attrs or {})}
    )


def noted(draws, attrs):
    """The same draws as if they came from a file with these attributes, text among them."""
    told, others = notes.read(attrs, {})
    return replace(draws, attrs=others, facts=told.facts)


def nuts(values, divergent=0, **options):
    """A NUTS run without warm-up trouble, with this many divergences."""
    diverging = np.zeros(values.shape[:2], dtype=bool)
    diverging.ravel()[:divergent] = True
    cost = {"seconds": 2.0, "n_gradients": 100_000}
    return run("nuts", values, stats={"diverging": diverging}, attrs=cost, **options)


def bimodal(rng, chains, draws, weight):
    """Exact draws of two unit Gaussians at (-3, -3) and (3, 3), the first with this weight."""
    left = rng.random((chains, draws)) < weight
    centre = np.where(left, -CENTRE, CENTRE)[..., None]
    return rng.normal(size=(chains, draws, 2)) + centre


def stuck(rng, draws=1000):
    """Two chains in either mode."""
    values = rng.normal(size=(4, draws, 2))
    return values + np.array([-CENTRE, -CENTRE, CENTRE, CENTRE])[:, None, None]


def bimodal_log_density(x):
    """Log density of the equal mixture."""
    parts = [multivariate_normal([s * CENTRE] * 2).logpdf(x) for s in (-1, 1)]
    return np.reshape(np.logaddexp(*parts) - np.log(2), x.shape[:-1])


def fit_attrs(verdict="ok", **more):
    """Attributes as a fit carries them."""
    return {
        "modes": json.dumps(MODES),
        "trace": json.dumps(TRACE),
        "verdict": verdict,
        "verdict_reasons": "Its modes are held.",
        "status": "converged",
        "seconds": 0.1,
        "n_gradients": 9000,
        "elbo": -0.1,
        "elbo_se": 0.02,
        **more,
    }


def collapsed_fit(rng, draws=4000, scale=0.9):
    """A fit a little too narrow on one of the two modes, with its true k-hat."""
    values = scale * rng.normal(size=(1, draws, 2)) - CENTRE
    log_q = multivariate_normal([-CENTRE] * 2, scale**2).logpdf(values[0])[np.newaxis]
    log_p = bimodal_log_density(values)
    attrs = fit_attrs(khat=psis_khat((log_p - log_q).ravel()))
    return run("mfvi", values, attrs=attrs, stats={"lp": log_p, "log_q": log_q})


def good_fit(rng, draws=4000, weight=0.49, **attrs):
    """A fit with both modes."""
    values = bimodal(rng, 1, draws, weight)
    log_p = bimodal_log_density(values)
    stats = {"lp": log_p, "log_q": log_p + 0.1 * rng.normal(size=log_p.shape)}
    return run("rovi", values, attrs=fit_attrs(khat=0.1, **attrs), stats=stats)


def autocorrelated(rng, chains, draws, count, rho):
    """Standard normal chains whose draws are correlated by rho, shape (chains, draws, count)."""
    noise = rng.normal(size=(chains, draws, count))
    out = noise.copy()
    for i in range(1, draws):
        out[:, i] = rho * out[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return out
