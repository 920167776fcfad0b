"""Whether a run may be trusted: R-hat, ESS and divergences of what varies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stanrovi.diagnostics import statistics
from stanrovi.draws import Draws
from stanrovi.scalars import counted, unvaried, varying
from stanrovi.target import Array

DIVERGENT_SHARE_LIMIT = 0.01
# Below this ESS neither ESS nor R-hat themselves are worth much.
ESS_LIMIT = 100
# R-hat above which chains are in different places, and nothing they say of others counts.
RHAT_SPLIT = 1.05
_TOLD = 5  # parameters that are told by name
_UNKNOWN_SHARE = 0.5  # of the parameters, up to which a reference is one for the rest


@dataclass(frozen=True)
class ReferenceCheck:
    """What is known of the reference itself.

    Attributes
    ----------
    method, engine : str
        Who made the draws.
    n_chains, n_draws : int
        Chains, and draws per chain.
    rhat_max, ess_min : float
        Worst rank R-hat and worst ESS (bulk and tail) over all parameters;
        R-hat is NaN for a single chain.
    divergences : int
        Divergent transitions after warm-up; -1 where the file does not tell.
    seconds, n_gradients : float
        Cost; NaN where unknown.
    trusted : bool
        Whether distances to it mean anything.
    reason : str
        Why, or why not.
    unknown : tuple of str
        Parameters of a trusted reference that it does not know well enough to grade.
    """

    method: str
    engine: str
    n_chains: int
    n_draws: int
    rhat_max: float
    ess_min: float
    divergences: int
    seconds: float
    n_gradients: float
    trusted: bool
    reason: str
    unknown: tuple[str, ...] = ()


def check_reference(
    reference: Draws,
    values: Array,
    names: tuple[str, ...],
    basins: str = "",
    *,
    partly: bool = True,
) -> ReferenceCheck:
    """Decide whether a reference may grade anything.

    Parameters
    ----------
    reference : Draws
        NUTS or stored reference draws.
    values : ndarray, shape (chain, draw, k)
        Its non-constant parameters.
    names : tuple of str
        Their names.
    basins : str
        What the mode table holds against the reference; empty if nothing.
    partly : bool
        Whether it may grade some parameters where it does not know the others.

    Returns
    -------
    ReferenceCheck
    """
    scale = statistics.rhat(values) if reference.n_chains > 1 else np.full(len(names), np.nan)
    effective = statistics.effective_sizes(values)
    divergences = _n_divergences(reference)
    unknown = _unknown(scale, effective)
    few = partly and unknown.sum() <= _UNKNOWN_SHARE * len(names) and not (scale > RHAT_SPLIT).any()
    mixing = _rhat_problems(scale, names, reference.n_chains)
    problems = [
        *([] if few else mixing or _ess_problems(effective, names)),
        *_copies(values),
        *_divergence_problems(divergences, values.shape[0] * values.shape[1]),
        *([basins] if basins else []),
        *_own_doubts(reference),
    ]
    rhat_max, ess_min = float(_nanmax(scale)), float(effective.min())
    known = ~unknown
    good = (
        f"{reference.n_chains} chains agree: R-hat at most {_nanmax(scale[known]):.3f} and ESS at "
        f"least {effective[known].min(initial=np.inf):.0f} over "
        f"{counted(int(known.sum()), 'parameter')}, {_count_divergences(divergences)}."
    )
    ungraded = np.flatnonzero(unknown)
    if len(ungraded):
        told = [_told(names[i], scale[i], effective[i]) for i in ungraded[:_TOLD]]
        more = f" and {len(ungraded) - _TOLD} more" if len(ungraded) > _TOLD else ""
        good += f" Not graded, as too little is known of them: {', '.join(told)}{more}."
    return ReferenceCheck(
        method=reference.method,
        engine=str(reference.attrs.get("engine", "unknown")),
        n_chains=reference.n_chains,
        n_draws=reference.n_draws,
        rhat_max=rhat_max,
        ess_min=ess_min,
        divergences=divergences,
        seconds=reference.number("seconds"),
        n_gradients=reference.number("n_gradients"),
        trusted=not problems,
        reason=" ".join(problems) if problems else _own_support(reference) or good,
        unknown=() if problems else tuple(names[i] for i in ungraded),
    )


def check_draws(draws: Draws) -> ReferenceCheck:
    """Judge a run by itself, from those of its parameters that vary.

    Parameters
    ----------
    draws : Draws

    Returns
    -------
    ReferenceCheck
        Not trusted where none varies.
    """
    scalars = draws.scalars()
    values = np.stack(list(scalars.values()), axis=-1)
    varies = varying(values)
    if not varies.any():
        found = check_reference(draws, values, tuple(scalars), partly=False)
        return replace(found, trusted=False, reason=unvaried(values))
    names = tuple(name for name, keep in zip(scalars, varies, strict=True) if keep)
    return check_reference(draws, values[..., varies], names, partly=False)


def _own_doubts(reference: Draws) -> list[str]:
    """Say what a run of `stanrovi.sample` itself holds against its draws."""
    return [str(reference.attrs["reason"])] if reference.attrs.get("trusted") == 0 else []


def _own_support(reference: Draws) -> str:
    """Say what such a run tells for its draws: more than chains can."""
    return str(reference.attrs["reason"]) if reference.attrs.get("trusted") == 1 else ""


def _unknown(scale: Array, effective: Array) -> NDArray[np.bool_]:
    """Which parameters the chains do not know: R-hat above its limit (NaN is), or few draws."""
    return np.asarray(~(scale <= statistics.RHAT_LIMIT) | (effective < ESS_LIMIT))


def _told(name: str, rhat: float, effective: float) -> str:
    if rhat <= statistics.RHAT_LIMIT:
        return f"{name} (ESS {effective:.0f})"
    return f"{name} (R-hat {_above_limit(rhat)})"


def _nanmax(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else float("nan")


def _rhat_problems(scale: Array, names: tuple[str, ...], n_chains: int) -> list[str]:
    if n_chains == 1:
        return ["A single chain cannot be checked; run at least two (four are usual)."]
    bad = np.flatnonzero(~(scale <= statistics.RHAT_LIMIT))  # NaN is bad, too
    if not bad.size:
        return []
    worst = int(bad[np.argmax(np.nan_to_num(scale[bad], nan=np.inf))])
    return [
        f"The chains disagree: rank R-hat is {_above_limit(scale[worst])} for {names[worst]} "
        f"(above {statistics.RHAT_LIMIT} for {bad.size} of {counted(len(names), 'parameter')}); "
        "run longer, or the posterior has basins between which NUTS does not move."
    ]


def _above_limit(rhat: float) -> str:
    """Format an R-hat above the limit to as many digits as show that it is."""
    digits = next((d for d in range(2, 9) if round(rhat, d) > statistics.RHAT_LIMIT), 2)
    return f"{rhat:.{digits}f}"


def _ess_problems(effective: Array, names: tuple[str, ...]) -> list[str]:
    worst = int(effective.argmin())
    if effective[worst] >= ESS_LIMIT:
        return []
    return [f"ESS is only {effective[worst]:.0f} for {names[worst]}; run longer."]


def _copies(values: Array) -> list[str]:
    """Say which chain is that of another, whose agreement tells nothing."""
    seen: dict[bytes, int] = {}
    for chain, draws in enumerate(values):
        first = seen.setdefault(draws.tobytes(), chain)
        if first != chain:
            return [
                f"Chains {first + 1} and {chain + 1} hold the same draws and are one; give each "
                "chain once, of a seed or number of its own."
            ]
    return []


def _n_divergences(draws: Draws) -> int:
    """Count divergences; -1 where nothing tells of them, or what does is no yes or no."""
    told = draws.sample_stats.get("diverging", np.empty(0))
    known = told[~np.isnan(told)]
    return int(known.sum()) if known.size and np.isin(known, (0, 1)).all() else -1


def _divergence_problems(divergences: int, total: int) -> list[str]:
    if divergences <= DIVERGENT_SHARE_LIMIT * total:
        return []
    return [
        f"{divergences} of {total} transitions diverged; raise adapt_delta (--adapt-delta on the "
        "command line) or reparameterise."
    ]


def _count_divergences(divergences: int) -> str:
    return {-1: "divergences unknown", 0: "no divergences", 1: "1 divergence"}.get(
        divergences, f"{divergences} divergences"
    )
