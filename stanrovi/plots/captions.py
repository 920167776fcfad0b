"""The words beside each plot: title, how to read it, and its finding for screen readers."""

from __future__ import annotations

import math

from stanrovi.errors import decimal
from stanrovi.grading.findings import Findings

_TITLES = {
    "marginals": "Marginal densities",
    "modes": "Mode table",
    "pairs": "Pairs of parameters",
    "forest": "Intervals",
    "axes": "Along the axes of {owner}",
    "trace": "ELBO during the fit",
    "khat": "Tail of the importance ratios",
}
_CAPTIONS = {
    "marginals": "Grey: the reference. Lines: the fits. {order}{w1} A density more than four "
    "times as tall as the reference is scaled down to that height.",
    "modes": "Share of draws in the basin of each mode that the search found. Local evidence is a "
    "Laplace estimate of what each mode should hold.",
    "pairs": "Points: the reference. Contours: half and nine tenths of each fit's draws. "
    "{order}{star}",
    "forest": "Each parameter is scaled so that the reference has mean 0 and sd 1. {order}",
    "axes": "The reference on the axes of {owner}, on unconstrained space: along them {owner} is "
    "a product of independent marginals. Axes that differ most come first.",
    "trace": "ELBO against gradients spent; the band is two standard errors.",
    "khat": "Points: the largest ratios of target to fit. Lines: the generalised Pareto tail "
    "fitted to them, whose shape is k-hat; above 0.7 the fit is too narrow somewhere. A missed "
    "mode does not show here.",
}


def words(name: str, findings: Findings, owner: str | None) -> tuple[str, str, str]:
    """Give title, caption and alternative text of a plot.

    Parameters
    ----------
    name : str
        Name of the plot, as in `stanrovi.plots.gallery.all_plots`.
    findings : Findings
    owner : str or None
        Name of the fit along whose axes it draws; see `stanrovi.plots.along_axes.axes_owner`.

    Returns
    -------
    title, caption, alt : str
    """
    trusted = findings.reference.trusted
    caption = _CAPTIONS[name].format(
        order="Parameters that differ most come first."
        if trusted
        else "Parameters come in the order of the program: nothing is graded here.",
        w1=" W1 is in reference standard deviations, with its noise floor beside it."
        if trusted
        else "",
        star=" Stars mark the centres of known basins." if findings.basin_centres else "",
        owner=owner,
    )
    title = _TITLES[name].format(owner=owner)
    if name == "axes":
        finding = f"Marginal densities of {owner} and {findings.reference.method}."
    else:
        finding = {"modes": _modes, "trace": _elbo, "khat": _khat}.get(name, _worst)(findings)
    return title, caption, f"{title}. {finding}"


def _worst(findings: Findings) -> str:
    parts = [
        f"{name}: largest W1 {decimal(m.marginals.w1.max())} sd, for "
        f"{m.marginals.names[int(m.marginals.w1.argmax())]}"
        for name, m in findings.methods.items()
        if m.marginals is not None
    ]
    if not parts:
        return "Not graded: the reference is not trusted."
    return f"{'; '.join(parts)}. Noise floor {findings.noise_floor:.2f} sd."


def _modes(findings: Findings) -> str:
    table = findings.modes
    if table is None:
        return ""
    rows = table.columns(findings.reference.method)
    shares = (f"{name} {', '.join(f'{x:.0%}' for x in mass)}" for name, mass in rows.items())
    return f"Shares in modes 1 to {len(table.weight)}: {'; '.join(shares)}."


def _elbo(findings: Findings) -> str:
    return _listed({name: m.elbo for name, m in findings.methods.items()}, "final ELBO")


def _khat(findings: Findings) -> str:
    return _listed({name: m.khat for name, m in findings.methods.items()}, "k-hat")


def _listed(values: dict[str, float], what: str) -> str:
    known = [f"{name} {value:.2f}" for name, value in values.items() if math.isfinite(value)]
    return f"{what}: {', '.join(known)}." if known else f"{what} unknown."
