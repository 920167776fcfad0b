"""The words beside each plot: title, how to read it, and its finding for screen readers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stanrovi.comparison import Comparison

_TITLES = {
    "marginals": "Marginal densities",
    "modes": "Mode table",
    "pairs": "Pairs of parameters",
    "forest": "Intervals",
    "axes": "Along the rotated axes",
    "trace": "ELBO during the fit",
    "khat": "Tail of the importance ratios",
}
_CAPTIONS = {
    "marginals": "Grey: the reference. Lines: the fits. The parameters that differ most come "
    "first; W1 is in reference standard deviations, with its noise floor beside it.",
    "modes": "Share of draws nearest to each mode that the search found. Local evidence is a "
    "Laplace estimate of what each mode should hold.",
    "pairs": "Draws of the parameters that differ most. Stars mark the centres of known basins.",
    "forest": "Each parameter is scaled so that the reference has mean 0 and sd 1.",
    "axes": "What the rotated family saw: the fit is a product along these axes, and the "
    "reference is shown on the same ones.",
    "trace": "ELBO against gradients spent; the band is two standard errors.",
    "khat": "The largest ratios of target to fit. A Pareto tail is a straight line of slope "
    "k-hat; above 0.7 the fit is too narrow somewhere. A missed mode does not show here.",
}


def words(name: str, comparison: Comparison) -> tuple[str, str, str]:
    """Give title, caption and alternative text of a plot.

    Parameters
    ----------
    name : str
        Name of the plot, as in `stanrovi.plots.all_plots`.
    comparison : Comparison

    Returns
    -------
    title, caption, alt : str
    """
    finding = {"modes": _modes, "trace": _elbo, "khat": _khat}.get(name, _worst)(comparison)
    return _TITLES[name], _CAPTIONS[name], f"{_TITLES[name]}. {finding}"


def _worst(comparison: Comparison) -> str:
    parts = [
        f"{name}: largest W1 {m.marginals.w1.max():.2f} sd, for "
        f"{m.marginals.names[int(m.marginals.w1.argmax())]}"
        for name, m in comparison.methods.items()
        if m.marginals is not None
    ]
    if not parts:
        return "Not graded: the reference is not trusted."
    return f"{'; '.join(parts)}. Noise floor {comparison.noise_floor:.2f} sd."


def _modes(comparison: Comparison) -> str:
    table = comparison.modes
    if table is None:
        return ""
    rows = {"local evidence": table.weight, **table.mass}
    if table.reference_mass is not None:
        rows[comparison.reference.method] = table.reference_mass
    shares = (f"{name} {', '.join(f'{x:.0%}' for x in mass)}" for name, mass in rows.items())
    return f"Shares in modes 1 to {len(table.weight)}: {'; '.join(shares)}."


def _elbo(comparison: Comparison) -> str:
    return _listed({name: m.elbo for name, m in comparison.methods.items()}, "final ELBO")


def _khat(comparison: Comparison) -> str:
    return _listed({name: m.khat for name, m in comparison.methods.items()}, "k-hat")


def _listed(values: dict[str, float], what: str) -> str:
    known = [f"{name} {value:.2f}" for name, value in values.items() if math.isfinite(value)]
    return f"{what}: {', '.join(known)}." if known else f"{what} unknown."
