"""NUTS in NumPy, over whatever a model's log density comes from: a compiled library, too."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from stanrovi.draws import SAMPLER_COLUMNS
from stanrovi.errors import DensityError, SamplerError
from stanrovi.families.axes import Axes, DenseAxes, DiagonalAxes
from stanrovi.given import Guarded
from stanrovi.samplers.adaptation import NutsChains, starts
from stanrovi.stan.model import Model
from stanrovi.stan.nuts.chains import ChainListener, Chains, NutsSettings
from stanrovi.target import Array, Target


def sample_any(model: Model, settings: NutsSettings, progress: ChainListener | None) -> Chains:
    """Run NUTS on a model's own log density.

    Parameters
    ----------
    model : Model
    settings : NutsSettings
    progress : callable, optional
        Called with chain (from 1), iterations done and iterations in all.

    Returns
    -------
    Chains

    Raises
    ------
    SamplerError
        If no start is found.
    """
    target, rng = Target(Guarded(model)), np.random.default_rng(settings.seed)
    first = settings.starts
    began = time.perf_counter()
    try:
        # Trajectories that diverge leave the numbers; that is no news.
        with np.errstate(all="ignore"):
            first = starts(target, rng, settings.chains) if first is None else first
            chains = NutsChains(
                target,
                first,
                rng,
                aim=settings.adapt_delta,
                max_depth=settings.max_treedepth,
                axes=_axes(settings.inv_metric),
            )
            chains.warm_up(settings.iter_warmup, _listener(settings, progress, 0))
            warm = time.perf_counter()
            trace = chains.sample(
                settings.iter_sampling, _listener(settings, progress, settings.iter_warmup)
            )
    except DensityError as error:
        raise SamplerError(f"NUTS (NumPy) failed: {error}") from error
    values = model.constrain(trace.x.reshape(-1, model.dim), seed=settings.seed)
    lead, stats = trace.log_p.shape, trace.sample_stats()
    return Chains(
        variables={
            name: np.asarray(v, float).reshape(*lead, *v.shape[1:]) for name, v in values.items()
        },
        sampler={
            column: np.asarray(stats[name], dtype=np.float64)
            for column, (name, _) in SAMPLER_COLUMNS.items()
        },
        n_gradients=target.n_gradients,
        includes_warmup=True,
        seconds_warmup=warm - began,
        seconds_sampling=time.perf_counter() - warm,
    )


def _axes(inv_metric: Array | None) -> Axes | None:
    if inv_metric is None:
        return None
    if inv_metric.ndim == 2:
        return DenseAxes.of_covariance(inv_metric)
    return DiagonalAxes(np.sqrt(inv_metric))


def _listener(
    settings: NutsSettings, progress: ChainListener | None, before: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None

    def tell(done: int, _total: int) -> None:
        for chain in range(1, settings.chains + 1):
            progress(chain, before + done, settings.iterations)

    return tell
