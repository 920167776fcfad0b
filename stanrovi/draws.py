"""Draws in constrained space: what a fit and a NUTS run have in common.

Everything from here on (ArviZ files, comparison, plots, report) works on
`Draws` and does not ask where they came from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stanrovi.arguments import as_mapping, check_choice, checked_text, listed, told
from stanrovi.errors import DrawsError, StanroviError, UsageError
from stanrovi.scalars import element_names
from stanrovi.vi.facts import FitFacts

if TYPE_CHECKING:
    import pandas as pd

# Stan's columns of the sampler, in its order: ArviZ's names, and what they hold.
SAMPLER_COLUMNS: dict[str, tuple[str, type]] = {
    "lp__": ("lp", float),
    "accept_stat__": ("acceptance_rate", float),
    "stepsize__": ("step_size", float),
    "treedepth__": ("tree_depth", int),
    "n_leapfrog__": ("n_steps", int),
    "divergent__": ("diverging", bool),
    "energy__": ("energy", float),
}
# The same with the column of a fit.
STATISTICS = {"lp__": "lp", "log_q__": "log_q"} | {c: n for c, (n, _) in SAMPLER_COLUMNS.items()}
# Draws of a quantity: real numbers, or integers where the program declares them.
Values = NDArray[np.float64 | np.int64]


@dataclass(frozen=True, repr=False, eq=False)
class Draws:
    """Posterior draws of one run.

    Attributes
    ----------
    method : str
        ``"mfvi"``, ``"rovi"``, ``"structured"``, ``"mixture"``, ``"lmc"``, ``"nuts"``, ...
    posterior : mapping of str to ndarray, shape (chain, draw, *shape)
        Constrained parameters, transformed parameters and generated
        quantities under their Stan names, in declaration order. Draws of a
        variational fit form one chain, in random order. Integers (int64) where the program
        declares them and every draw could be computed, else float64.
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
    data : mapping of str to array_like
        The program's data, as far as they are known: of draws from a file, those that it
        holds as observed.
    parameters_assumed : bool
        Whether nothing tells which variables are parameters, so that all count as such.

    Raises
    ------
    DrawsError
        If something of it is of another type or shape, or holds nothing.
    """

    method: str
    posterior: Mapping[str, Values]
    parameters: tuple[str, ...]
    sample_stats: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    attrs: Mapping[str, str | int | float] = field(default_factory=dict)
    unconstrained: NDArray[np.float64] | None = None
    facts: FitFacts | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    parameters_assumed: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not self.method:
            raise DrawsError(f"The method of draws must be a name, not {told(self.method)}.")
        for name in ("posterior", "sample_stats", "attrs", "data"):
            _require_named(name, getattr(self, name))
        if not self.posterior:
            raise DrawsError("There are no draws: posterior holds no variable.")
        _require_shapes(self.posterior, self.sample_stats, self.unconstrained)
        names = self.parameters
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise DrawsError(f"parameters must be names of variables, not {told(names)}.")
        for name in names:
            if not isinstance(name, str) or name not in self.posterior:
                raise DrawsError(
                    f"The parameter {told(name)} is none of the variables that there are draws "
                    f"of: {', '.join(self.posterior)}."
                )
        if len(set(names)) < len(names):
            raise DrawsError(f"A parameter is named twice: {', '.join(names)}.")
        for key, value in self.attrs.items():
            if not is_scalar(value):
                raise DrawsError(
                    f"The attribute {key} must be a text or a number, as files hold them, not "
                    f"{told(value)}; leave it out, or make it a text."
                )
        if self.facts is not None and not isinstance(self.facts, FitFacts):
            raise DrawsError(f"facts must be FitFacts, not {told(self.facts)}.")

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
            return float(self.attrs.get(checked_text("key", key) or "", "nan"))
        except ValueError:
            return float("nan")

    def scalars(
        self, names: tuple[str, ...] | None = None, *, order: Literal["C", "F"] = "C"
    ) -> dict[str, NDArray[np.float64]]:
        """Flatten to scalar quantities.

        Parameters
        ----------
        names : tuple of str, optional
            Variables to flatten; ``parameters`` by default.
        order : {"C", "F"}
            Which index of a variable moves fastest: the last, or, as in CmdStan's files, the first.

        Returns
        -------
        dict of str to ndarray, shape (chain, draw)
            Keys are Stan's own: ``tau``, ``theta[1]``, ``L[2,1]`` (indices from 1). Integers
            as floating-point numbers.

        Raises
        ------
        UsageError
            If there is no such variable or order.
        """
        check_choice("order", order, ("C", "F"))
        out: dict[str, NDArray[np.float64]] = {}
        for name in self.parameters if names is None else self.variables(names):
            values = self.posterior[name]
            flat = values.reshape(*values.shape[:2], -1).astype(np.float64, copy=False)
            labels = element_names(name, values.shape[2:])
            for i in np.arange(len(labels)).reshape(values.shape[2:]).ravel(order):
                out[labels[i]] = flat[..., i]
        return out

    def stan_variable(self, name: str) -> NDArray[Any]:
        """Draws of one variable, as cmdstanpy gives them.

        Parameters
        ----------
        name : str
            A parameter, transformed parameter or generated quantity of the program.

        Returns
        -------
        ndarray, shape (chain * draw, *shape)
            Constrained space; one chain after the other.

        Raises
        ------
        UsageError
            If there is no such variable.
        """
        _require_variable(name, self.posterior)
        values = self.posterior[name]
        return values.reshape(self.n_chains * self.n_draws, *values.shape[2:])

    def stan_variables(self) -> dict[str, NDArray[Any]]:
        """Draws of every variable, by its name; see `stan_variable`."""
        return {name: self.stan_variable(name) for name in self.posterior}

    def draws_pd(self, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Draws as a data frame, as cmdstanpy gives them.

        Parameters
        ----------
        vars : str or sequence of str, optional
            Names of variables (each gives all its columns) or of single columns that are no
            variable's, such as ``lp__``; everything by default.

        Returns
        -------
        pandas.DataFrame
            A row for each draw, one chain after the other. Columns ``chain__``, ``iter__`` and
            ``draw__``, counted from 1; statistics under Stan's names (``lp__``, of a fit
            ``log_q__``, of a sampler ``accept_stat__`` ...); then the variables (``theta[1]``,
            the first index fastest).

        Raises
        ------
        UsageError
            If there is no such variable or column.
        """
        import pandas as pd

        chains, n = self.n_chains, self.n_draws
        columns: dict[str, NDArray[Any]] = {
            "chain__": np.repeat(np.arange(1, chains + 1), n),
            "iter__": np.tile(np.arange(1, n + 1), chains),
            "draw__": np.arange(1, chains * n + 1),
        }
        for column, name in STATISTICS.items():
            if name in self.sample_stats:
                columns[column] = np.ravel(self.sample_stats[name])
        wanted = [*columns, *self.posterior] if vars is None else _listed(vars)
        chosen: dict[str, NDArray[Any]] = {}
        for name in wanted:
            _require_variable(name, [*self.posterior, *columns])
            if name in self.posterior:
                scalars, kind = self.scalars((name,), order="F"), self.posterior[name].dtype
                chosen |= {label: x.ravel().astype(kind) for label, x in scalars.items()}
            else:
                chosen[name] = columns[name]
        return pd.DataFrame(chosen, index=range(chains * n))

    def variables(self, names: str | Iterable[str] | None = None) -> tuple[str, ...]:
        """Take names of variables, all by default.

        Raises
        ------
        UsageError
            If there is no such variable; with the nearest name, and all of them.
        """
        chosen = list(self.posterior) if names is None else _listed(names)
        for name in chosen:
            if name not in self.posterior:
                _require_variable(name, self.posterior)
        return tuple(chosen)


def is_scalar(value: object) -> bool:
    """Whether a value can be an attribute of a file: a text, or a number of 64 bits."""
    if isinstance(value, np.generic | np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "fiubU"
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, str | float)


def _require_named(what: str, values: object) -> None:
    names = as_mapping(values)
    if names is None:
        raise DrawsError(f"{what} must be a mapping of names to values, not {told(values)}.")
    for name in names:
        if not isinstance(name, str) or not name:
            raise DrawsError(
                f"{what} names {told(name)}, and names are texts of a letter at least."
            )


def _require_shapes(posterior: Mapping[str, Any], stats: Mapping[str, Any], whole: Any) -> None:
    """Refuse what is no array of real numbers with chains and draws as the others have them."""
    first, lead = next(iter(posterior)), None
    arrays = [(name, values, "(chain, draw, ...)") for name, values in posterior.items()]
    arrays += [(name, values, "(chain, draw)") for name, values in stats.items()]
    if whole is not None:
        arrays.append(("unconstrained", whole, "(chain, draw, dim)"))
    for name, values, axes in arrays:
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            given = f"a {type(values).__name__} (numpy.asarray makes arrays)"
            if isinstance(values, np.ndarray):
                given = str(values.dtype)
            raise DrawsError(f"Draws of {name} must be an array of real numbers, not {given}.")
        if np.ma.is_masked(values):
            raise DrawsError(f"Some draws of {name} are masked; leave those out in every variable.")
        n_axes = values.ndim if "..." in axes else axes.count(",") + 1
        if values.ndim < 2 or values.ndim != n_axes:
            raise DrawsError(f"Draws of {name} must have shape {axes}, not {values.shape}.")
        chains, n = values.shape[:2]
        if not chains or not n:
            raise DrawsError(f"There are no draws of {name}: {chains} chains of {n}.")
        lead = lead or (chains, n)
        if (chains, n) != lead:
            raise DrawsError(
                f"{name} has {chains} chains of {n} draws, and {first} {lead[0]} of {lead[1]}; "
                "all need the same."
            )


def _listed(names: str | Iterable[str]) -> list[str]:
    found = [names] if isinstance(names, str) else listed("vars", names)
    for name in found:
        if not isinstance(name, str):
            raise UsageError(f"vars must be names of variables, not {told(name)}.")
    return list(dict.fromkeys(found))


def _require_variable(name: str, known: Iterable[str]) -> None:
    names, text = tuple(known), name if isinstance(name, str) else ""
    whole, bracket, _ = text.partition("[")
    if bracket and whole in names:
        raise UsageError(
            f"{name!r} is one element of {whole!r}; name the variable, and index what comes back."
        )
    check_choice("variable", name, names)


class HasDraws(Protocol):
    """A run that carries its draws: what `stanrovi.fit` and `stanrovi.nuts` return."""

    @property
    def draws(self) -> Draws:
        """Draws in constrained space."""


Run = Draws | HasDraws


def is_container(data: Any) -> bool:
    """Whether data are ArviZ's: an InferenceData or an xarray.DataTree."""
    return hasattr(data, "groups") and hasattr(data, "to_netcdf")


def is_cmdstan_run(data: Any) -> bool:
    """Whether data are a run of NUTS by cmdstanpy, a CmdStanMCMC."""
    return all(hasattr(data, name) for name in ("draws_xr", "method_variables", "metadata"))


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
    raise no_draws(run)


def is_foreign(data: Any) -> bool:
    """Whether draws are ArviZ's or cmdstanpy's, which `stanrovi.from_arviz` converts."""
    return is_container(data) or is_cmdstan_run(data)


def no_draws(run: Any) -> UsageError:
    """Tell that something carries no draws of ours, and what to do with it."""
    cure = "give what stanrovi.fit or stanrovi.nuts returns, or its draws"
    if isinstance(run, str | PurePath):
        path = str(run)
        reads = f"stanrovi.read_draws({path!r})"
        if path.endswith(".csv"):
            reads = f"stanrovi.nuts_from_csv({path!r}, model)"
        cure = f"read the file first: {reads}"
    elif is_foreign(run):
        cure = "convert it first: stanrovi.from_arviz(data)"
    return UsageError(f"What is given (of type {type(run).__name__}) carries no draws; {cure}.")


def require_finite(
    values: Mapping[str, Values],
    parameters: Sequence[str],
    error: type[StanroviError],
    origin: str,
    *,
    most: float = sys.float_info.max,
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
    most : float
        Size of a draw beyond which it is refused as well.

    Raises
    ------
    StanroviError
        Of the type given, naming the first such parameter.
    """
    for name in parameters:
        bad = int((~(np.abs(values[name]) <= most)).sum())
        if bad:
            is_finite = np.isfinite(values[name]).all()
            what = f"beyond {most:.0e}" if is_finite else "NaN or infinite"
            raise error(
                f"{bad} of {values[name].size} values of {name} in {origin} are {what}: "
                "the posterior reaches beyond floating-point numbers (it is improper there), or "
                f"a bound of {name} is NaN. Give {name} a proper prior, or check its bounds."
            )


def not_finite(values: Mapping[str, Values]) -> list[str]:
    """Say which variables hold NaN, and which infinite values; nothing where all are finite."""
    bad = {name: x for name, x in values.items() if not np.isfinite(x).all()}
    of_nan = [name for name, x in bad.items() if np.isnan(x).any()]
    infinite = [name for name, x in bad.items() if np.isinf(x).any()]
    told = [f"{', '.join(of_nan)} hold NaN"] if of_nan else []
    return told + ([f"{', '.join(infinite)} hold infinite values"] if infinite else [])
