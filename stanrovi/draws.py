"""Draws in constrained space: what a fit and a NUTS run have in common.

Everything from here on (ArviZ files, comparison, plots, report) works on
`Draws` and does not ask where they came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stanrovi.errors import StanroviError, UsageError
from stanrovi.scalars import element_names
from stanrovi.vi.facts import FitFacts


@dataclass(frozen=True, repr=False)
class Draws:
    """Posterior draws of one run.

    Attributes
    ----------
    method : str
        ``"mfvi"``, ``"rovi"``, ``"structured"``, ``"mixture"``, ``"lmc"``, ``"nuts"``, ...
    posterior : mapping of str to ndarray, shape (chain, draw, *shape)
        Constrained parameters, transformed parameters and generated
        quantities under their Stan names, in declaration order. Draws of a
        variational fit form one chain, in random order.
    parameters : tuple of str
        The names in ``posterior`` that stand in the program's parameters block.
        Comparisons grade these.
    sample_stats : mapping of str to ndarray, shape (chain, draw)
        ArviZ names. NUTS: lp, diverging, tree_depth, n_steps, energy,
        step_size, acceptance_rate. Variational fits: lp (log density up to a
        constant, unconstrained space; NaN at draws where it was not evaluated), log_q
        (same space, of every draw).
    attrs : mapping of str to str, int or float
        What ArviZ files carry: inference_library, inference_library_version,
        model, method, engine, seed, seconds, n_gradients, and for fits
        status, elbo, elbo_se, khat. Only NetCDF-safe scalars.
    unconstrained : ndarray, shape (chain, draw, dim), optional
        The same draws on Stan's unconstrained space, where known.
    facts : FitFacts, optional
        What a variational fit knows of itself: modes, trace, axes, verdict, settings.
    """

    method: str
    posterior: Mapping[str, NDArray[np.float64]]
    parameters: tuple[str, ...]
    sample_stats: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    attrs: Mapping[str, str | int | float] = field(default_factory=dict)
    unconstrained: NDArray[np.float64] | None = None
    facts: FitFacts | None = None

    def __repr__(self) -> str:
        model = f" of {self.attrs['model']}" if self.attrs.get("model") else ""
        names = ", ".join(self.parameters[:6]) + (", ..." if len(self.parameters) > 6 else "")
        return (
            f"<Draws: {self.method}{model}, {self.n_chains} x {self.n_draws} draws, "
            f"parameters {names}>"
        )

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return int(next(iter(self.posterior.values())).shape[0])

    @property
    def n_draws(self) -> int:
        """Draws per chain."""
        return int(next(iter(self.posterior.values())).shape[1])

    @property
    def is_variational(self) -> bool:
        """Whether these are draws of a fit, which tells its own density at them."""
        return "log_q" in self.sample_stats

    @property
    def evaluated(self) -> NDArray[np.intp]:
        """Rows of a fit's draws, all chains in one, at which the log density is known."""
        if not {"lp", "log_q"} <= set(self.sample_stats):
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(~np.isnan(np.ravel(self.sample_stats["lp"])))

    @property
    def log_ratios(self) -> NDArray[np.float64] | None:
        """``log p - log q`` at the draws of a fit that were evaluated; None where none were.

        Shape (m,), those of `evaluated`; -inf where the target rejects the draw.
        """
        rows = self.evaluated
        if not len(rows):
            return None
        lp, log_q = (np.ravel(self.sample_stats[key])[rows] for key in ("lp", "log_q"))
        with np.errstate(invalid="ignore"):
            return np.where(np.isneginf(lp), -np.inf, lp - log_q).astype(np.float64)

    def number(self, key: str) -> float:
        """Read a numeric attribute; NaN where it is missing or no number."""
        try:
            return float(self.attrs.get(key, "nan"))
        except ValueError:
            return float("nan")

    def scalars(self, names: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float64]]:
        """Flatten to scalar quantities.

        Parameters
        ----------
        names : tuple of str, optional
            Variables to flatten; ``parameters`` by default.

        Returns
        -------
        dict of str to ndarray, shape (chain, draw)
            Keys are Stan's own: ``tau``, ``theta[1]``, ``L[2,1]`` (indices from 1).
        """
        out: dict[str, NDArray[np.float64]] = {}
        for name in self.parameters if names is None else names:
            values = self.posterior[name]
            flat = values.reshape(*values.shape[:2], -1)
            for i, label in enumerate(element_names(name, values.shape[2:])):
                out[label] = flat[..., i]
        return out


class HasDraws(Protocol):
    """A run that carries its draws: what `stanrovi.fit` and `stanrovi.nuts` return."""

    @property
    def draws(self) -> Draws:
        """Draws in constrained space."""


Run = Draws | HasDraws


def is_container(data: Any) -> bool:
    """Whether data are ArviZ's: an InferenceData or an xarray.DataTree."""
    return hasattr(data, "groups")


def as_draws(run: Any) -> Draws:
    """Take the draws of a run.

    Parameters
    ----------
    run : Draws, Fit or NutsRun

    Returns
    -------
    Draws

    Raises
    ------
    UsageError
        It carries none.
    """
    draws = run if isinstance(run, Draws) else getattr(run, "draws", None)
    if isinstance(draws, Draws):
        return draws
    cure = "give what stanrovi.fit or stanrovi.nuts returns, or its draws"
    if isinstance(run, (str, os.PathLike)):
        cure = f"read the file first: stanrovi.read_draws({os.fspath(run)!r})"
    elif is_container(run):
        cure = "convert it first: stanrovi.from_arviz(data)"
    raise UsageError(f"What is given (of type {type(run).__name__}) carries no draws; {cure}.")


def require_finite(
    values: Mapping[str, NDArray[np.float64]],
    parameters: Sequence[str],
    error: type[StanroviError],
    origin: str,
) -> None:
    """Refuse parameters whose draws are NaN or infinite.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable, any shape.
    parameters : sequence of str
        The variables to look at; generated quantities may be NaN.
    error : type
        What to raise.
    origin : str
        What the message calls the draws.

    Raises
    ------
    StanroviError
        Of the type given, naming the first such parameter.
    """
    for name in parameters:
        bad = int((~np.isfinite(values[name])).sum())
        if bad:
            raise error(
                f"{bad} of {values[name].size} values of {name} in {origin} are NaN or infinite: "
                "the posterior reaches beyond floating-point numbers (it is improper there), or "
                f"a bound of {name} is NaN. Give {name} a proper prior, or check its bounds."
            )


def nan_variables(values: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Names of the variables that are NaN in some draw."""
    return [name for name, x in values.items() if np.isnan(x).any()]
