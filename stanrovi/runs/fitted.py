"""A variational fit as it stands: what it answers, how it is kept in a file, and read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.arguments import checked_count, checked_flag, checked_seed
from stanrovi.determinism import one_blas_thread
from stanrovi.draws import Draws, Values, require_finite
from stanrovi.errors import DensityError, UsageError
from stanrovi.families.base import in_blocks
from stanrovi.families.sobol import MAX_POINTS
from stanrovi.given import real_array
from stanrovi.modes.basins import Mode
from stanrovi.runs.answers import Answers
from stanrovi.runs.as_html import run_html
from stanrovi.runs.loo import loo
from stanrovi.runs.record import constrained, record
from stanrovi.runs.resample import Resampled, resampled
from stanrovi.runs.saved import StoredModel, read_fit, write_fit
from stanrovi.runs.summary import summary_frame
from stanrovi.runs.warm_start import WarmStart, warm_start, write_warm_start
from stanrovi.stan.data import DataSource
from stanrovi.stan.model import Model, ModelSource, as_model
from stanrovi.target import Array
from stanrovi.vi.facts import Verdict
from stanrovi.vi.result import FitResult

if TYPE_CHECKING:
    import pandas as pd

# Facts of a fit that are numbers or words, under their own names.
_NUMBERS = (
    "status", "message", "elbo", "elbo_se", "khat", "n_gradients", "n_rejections", "seconds",
    "density_seconds",
)  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class Fit(Answers):
    """A variational fit of a Stan model.

    Attributes
    ----------
    result : FitResult
        The fit on unconstrained space: family, ELBO, k-hat, modes, verdict.
    draws : Draws
        Constrained draws with transformed parameters and generated quantities.
    model_name, engine : str
        The model, and the engine that evaluated its log density.
    origin : Model or StoredModel
        What was fitted; of a fit from a file, what that can be built of again.
    """

    result: FitResult
    draws: Draws
    model_name: str
    engine: str
    origin: Model | StoredModel = field(repr=False)

    @cached_property
    def model(self) -> Model:
        """The model that was fitted, built again where the fit comes from a file.

        Raises
        ------
        ModelError, UsageError
            If it cannot be built here.
        """
        origin = self.origin
        return origin.build(self.draws) if isinstance(origin, StoredModel) else origin

    @property
    def verdict(self) -> Verdict:
        """Whether to trust it, why, and what to do where not."""
        return self.result.verdict

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Basins that the mode search found, with their masses; heaviest first."""
        return self.result.modes

    @property
    def khat(self) -> float:
        """Pareto shape of the importance weights of its draws."""
        return self.result.khat

    @property
    def message(self) -> str:
        """How the fit ended, in a sentence."""
        return self.result.message

    def summary(self, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Summarise every scalar quantity, with the estimated error of a parameter's marginal.

        Parameters
        ----------
        vars : str or sequence of str, optional
            Names of variables; by default all but pointwise log likelihoods and replicated data.

        Returns
        -------
        pandas.DataFrame
            Rows under Stan's names; columns mean, sd, q5, q50, q95, and error and error_se: W1 to
            the posterior in sds and its Monte Carlo error, estimated without a reference (NaN
            for what is no parameter).

        Raises
        ------
        UsageError
            If there is no such variable.
        """
        return summary_frame(self.draws, self.result.errors, names=vars)

    def sample(self, n: int = 4000, seed: int | None = None) -> Draws:
        """Draw anew from the fitted distribution.

        Parameters
        ----------
        n : int
        seed : int, optional
            Drawn from the system when not given; recorded in the draws.

        Returns
        -------
        Draws
            One chain, quasi-random and in random order, with transformed parameters and
            generated quantities. The log density of the model is not evaluated (``lp`` is NaN).

        Raises
        ------
        UsageError
            For a number of draws or a seed that is none.
        DensityError
            If draws of a parameter leave the range of floating-point numbers.
        ModelError
            Of a fit from a file: if its model cannot be built here.
        """
        n, seed = checked_count("n", n, 1, MAX_POINTS), checked_seed(seed)
        none = np.empty(0)
        with one_blas_thread():
            x = self.result.family.sample(n, np.random.default_rng(seed))
            anew = replace(self.result, draws=x, log_p=none, log_q=none, seed=seed)
            values = constrained(self.model, x[None], seed=seed)
            require_finite(
                values, self.model.parameters, DensityError, f"the fit of {self.model_name}"
            )
            return recorded(self.model, anew, values)

    def log_density(self, x: Array) -> Array:
        """Log density of the fitted distribution, normalised.

        Parameters
        ----------
        x : ndarray, shape (n, dim) or (dim,)
            Points on Stan's unconstrained space.

        Returns
        -------
        ndarray, shape (n,), or float for one point
            In nats; -inf where it is beyond floating-point numbers, NaN at points that are.

        Raises
        ------
        UsageError
            If the points have another dimension.
        """
        dim = self.result.dim
        points = real_array(x)
        if points is None or points.ndim not in (1, 2) or points.shape[-1] != dim:
            raise UsageError(
                f"x must hold numbers, of shape (n, {dim}) or ({dim},): one for each unconstrained "
                "parameter. fit.model.unconstrain makes such points."
            )
        rows = np.atleast_2d(points)
        with np.errstate(over="ignore", invalid="ignore"):
            values = in_blocks(self.result.family.log_density, rows)
        values[np.isnan(values) & ~np.isnan(rows).any(axis=1)] = -np.inf
        return values if points.ndim == 2 else values[0]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fit as NetCDF, whole, for `stanrovi.load_fit` and for ArviZ.

        Parameters
        ----------
        path : path-like
            Gets the draws, what the fit knows of itself, the distribution, and the program with
            its data (a compiled library: its path).
        overwrite : bool
            Whether an existing file may be replaced.

        Returns
        -------
        Path
            ``path``.

        Raises
        ------
        OutputError
            The path exists or cannot be written.
        """
        origin = self.origin
        if isinstance(origin, Model):
            origin = StoredModel.of(origin)
        return write_fit(self.draws, self.result, origin, path, overwrite=overwrite)

    def resample(
        self,
        draws: int | None = None,
        *,
        seed: int | None = None,
        model: ModelSource | None = None,
        data: DataSource = None,
    ) -> Resampled:
        """Resample its draws by Pareto-smoothed importance weights.

        Parameters
        ----------
        draws : int, optional
            How many to return; by default as many as have weights.
        seed : int, optional
            By default that of the fit.
        model, data : optional
            Those of the fit: its log density is then evaluated at all draws that were not
            evaluated yet. Else those that were (1,000 of an easy fit) are resampled.

        Returns
        -------
        Resampled
            With ``draws``, ``summary()``, how many of them are distinct, how many draws have
            weights, and ``n_gradients`` evaluated for that.

        Raises
        ------
        DrawsError
            The weights rest on too few draws, as k-hat says.
        UsageError
            If the model or the data are not those of the fit.
        """
        built = None if model is None else as_model(model, data)
        return resampled(self.draws, draws, seed=seed, model=built)

    def loo(self, var_name: str | None = None) -> Any:
        """Cross-validate by PSIS-LOO, corrected for the approximation.

        Draws are weighted by p / q besides (Magnusson, Andersen, Jonasson and Vehtari 2019,
        Bayesian leave-one-out cross-validation for large data). The log density of the model is
        evaluated at all draws at which it is not known yet.

        Parameters
        ----------
        var_name : str, optional
            The generated quantity that holds the log likelihood of each observation; ``log_lik``
            by default.

        Returns
        -------
        arviz.ELPDData
            With pointwise values and the Pareto k-hat of each.

        Raises
        ------
        DrawsError
            If the program computes no log likelihood; the message says what to add.
        UsageError
            For an unknown name.
        """
        return loo(self.draws, var_name, model=self.model)

    def inits(self, chains: int = 4, *, seed: int | None = None) -> list[dict[str, Any]]:
        """Give starts for chains, as cmdstanpy takes them (``inits=``).

        Parameters
        ----------
        chains : int
        seed : int, optional
            By default that of the fit.

        Returns
        -------
        list of dict
            Parameters under their Stan names, constrained, one mapping for each chain.
        """
        return list(self._warm_start(chains, seed).inits)

    def inv_metric(self) -> Array:
        """Give the covariance for NUTS to move by, as cmdstanpy takes it (``inv_metric=``).

        Returns
        -------
        ndarray, shape (dim, dim) or (dim,)
            Unconstrained space: within basins where there are several; variances alone (with
            ``metric="diag_e"``) where the dimension is high. Warm up for fewer than 150
            iterations: in more Stan adapts a metric of its own.
        """
        return self._warm_start(1, None).inv_metric

    def write_warm_start(
        self,
        folder: str | os.PathLike[str],
        chains: int = 4,
        *,
        seed: int | None = None,
        overwrite: bool = False,
    ) -> tuple[Path, ...]:
        """Write starts and metric as the JSON files that CmdStan reads.

        Parameters
        ----------
        folder : path-like
            Gets ``init_1.json`` and so on, and ``inv_metric.json``.
        chains, seed
            See `inits`.
        overwrite : bool
            Whether the folder may hold files, and those be replaced.

        Returns
        -------
        tuple of Path
            The metric last.

        Raises
        ------
        OutputError
            If a file exists or cannot be written.
        """
        return write_warm_start(self._warm_start(chains, seed), folder, overwrite=overwrite)

    def _warm_start(self, chains: int, seed: int | None) -> WarmStart:
        seed = self.result.seed if seed is None else checked_seed(seed)
        return warm_start(self.draws, chains, seed=seed)

    def _repr_html_(self) -> str:
        r, n = self.result, self.draws.n_draws
        facts = (
            f"ELBO {r.elbo:.3f} ± {r.elbo_se:.3f}",
            f"k-hat {r.khat:.2f}",
            f"{r.n_gradients:,} gradients, {r.seconds:.2f} s",
            f"{n:,} draws",
            f"seed {r.seed}, engine {self.engine}",
        )
        return run_html(
            f"Fit of {self.model_name} by {r.method}",
            r.verdict._repr_html_(),
            (*facts, f"{r.status}: {r.message}"),
            r.warnings,
            self.draws,
            r.errors,
        )

    def __repr__(self) -> str:
        r = self.result
        first = f" ({r.verdict.reasons[0]})" if r.verdict.reasons else ""
        return (
            f"<Fit: {self.model_name} by {r.method}, {r.verdict.name}{first}, ELBO {r.elbo:.3f}, "
            f"k-hat {r.khat:.2f}, {r.n_gradients:,} gradients>"
        )


def load_fit(path: str | os.PathLike[str], *, isolate: bool = False) -> Fit:
    """Read a fit that `Fit.save` or ``stanrovi fit --output`` has written.

    Parameters
    ----------
    path : path-like
    isolate : bool
        Whether its model is built in a process of its own; see `stanrovi.Model`.

    Returns
    -------
    Fit
        As it was: it tells its density and draws anew, its model being built when that is needed.

    Raises
    ------
    DrawsError
        The file is missing, holds no fit, or is damaged.

    Notes
    -----
    Nothing of the file is run by reading it. Its model is built at the first `Fit.sample`,
    `Fit.loo` or use of `Fit.model`: the program that it holds is translated, and a compiled library
    loaded from the path that it names, so ask these of files whose origin you trust.
    """
    isolate = checked_flag("isolate", isolate)
    draws, result, origin = read_fit(path)
    return Fit(result, draws, origin.name, origin.engine, replace(origin, isolate=isolate))


def recorded(model: Model, result: FitResult, values: Mapping[str, Values]) -> Draws:
    """Make the draws of a fit, of which those that it evaluated come first."""
    lp = np.full(len(result.draws), np.nan)
    lp[: len(result.log_p)] = result.log_p
    further = in_blocks(result.family.log_density, result.draws[len(result.log_q) :])
    return record(
        model,
        result.method,
        values,
        engine=model.engine,
        seed=result.seed,
        unconstrained=result.draws[None],
        sample_stats={"lp": lp[None], "log_q": np.concatenate([result.log_q, further])[None]},
        attrs={name: getattr(result, name) for name in _NUMBERS},
        facts=result.facts,
    )
