"""Pictures of a benchmark: accuracy against cost, and verdicts against error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.benchmark.rows import BenchRow, by_method, median, summarise
from stanrovi.grading.verdicts import TOLERANCE
from stanrovi.plots.figure import Plot, new_figure
from stanrovi.plots.style import REFERENCE_LINE, Looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("accuracy_gradients", "accuracy_seconds", "verdicts")
_LEAST = 1e-3  # a W1 that is drawn at the edge; no reference knows less


def bench_plots(rows: Sequence[BenchRow]) -> list[Plot]:
    """Draw everything that there is material for; nothing where no run was measured."""
    graded = [row for row in rows if row.w1_max is not None]
    looks = Looks(("reference", *dict.fromkeys(row.method for row in graded)))
    costs = (("n_gradients", NAMES[0], "gradients"), ("seconds", NAMES[1], "seconds"))
    plots = []
    for field, name, words in costs:
        told = [row for row in graded if getattr(row, field)]
        if told:
            title = f"Accuracy against {words}"
            plots.append(
                Plot(
                    name,
                    title,
                    "Small points: runs. Large points: medians of a method. Nearer to the lower "
                    f"left is better; below the line (W1 {TOLERANCE}) errors do not matter.",
                    f"{title}. {_medians(told)}",
                    _against_cost(told, field, words, looks),
                )
            )
    judged = [row for row in graded if row.verdict is not None]
    if judged:
        plots.append(
            Plot(
                NAMES[2],
                "Verdicts against error",
                "A point for each run. Filled: its verdict is ok; open: doubted. Filled points "
                f"right of the line (W1 {TOLERANCE}) are errors that the method does not tell, or "
                "the noise of few effective draws, which the tables do not count as wrong.",
                f"Verdicts against error. {_untold(judged)}",
                _verdicts(judged, looks),
            )
        )
    return plots


def _against_cost(rows: Sequence[BenchRow], field: str, words: str, looks: Looks) -> Figure:
    with new_figure(6.4, 4.2) as figure:
        axis = figure.subplots()
        for method, group in by_method(rows).items():
            cost, error = (np.array([getattr(r, f) for r in group]) for f in (field, "w1_max"))
            error = np.maximum(error, _LEAST)
            look = _marker(looks, method)
            axis.plot(cost, error, **look, markersize=3, alpha=0.35, markeredgewidth=0)
            middle: dict[str, Any] = {"markersize": 9, "markeredgecolor": "white", "label": method}
            axis.plot(np.median(cost), np.median(error), **look, **middle, zorder=3)
        axis.set_xscale("log")
        _error_axis(axis, "y")
        axis.set_xlabel(words)
        figure.legend(loc="outside right upper")
    return figure


def _verdicts(rows: Sequence[BenchRow], looks: Looks) -> Figure:
    methods = by_method(rows)
    with new_figure(6.4, 1.2 + 0.42 * len(methods)) as figure:
        axis = figure.subplots()
        for place, (method, group) in enumerate(methods.items()):
            error = np.maximum([row.w1_max for row in group if row.w1_max is not None], _LEAST)
            # Side by side where errors are alike, in an order that is no order of anything.
            height = place + 0.5 * ((np.arange(len(group)) * 0.618) % 1 - 0.5)
            ok = np.array([row.verdict == "ok" for row in group])
            look = _marker(looks, method) | {"markersize": 4.5}
            axis.plot(error[ok], height[ok], **look)
            axis.plot(error[~ok], height[~ok], **look, markerfacecolor="white")
        _error_axis(axis, "x")
        axis.set_yticks(range(len(methods)), list(methods))
        axis.set_ylim(len(methods) - 0.5, -0.5)  # the first on top
        axis.tick_params(axis="y", length=0)
    return figure


def _error_axis(axis: Axes, which: str) -> None:
    """Label an axis of errors, with the line below which they do not matter."""
    getattr(axis, f"set_{which}scale")("log")
    getattr(axis, f"set_{which}label")("W1 of the worst marginal (sds of the reference)")
    line = axis.axhline if which == "y" else axis.axvline
    line(TOLERANCE, color=REFERENCE_LINE, linewidth=0.8, zorder=0)


def _marker(looks: Looks, method: str) -> dict[str, Any]:
    look = looks.look(method)
    return {"color": look["color"], "marker": look["marker"], "linestyle": ""}


def _medians(rows: Sequence[BenchRow]) -> str:
    told = (
        f"{method} {median(row.w1_max for row in group):.3f}"
        for method, group in by_method(rows).items()
    )
    return f"Median W1: {', '.join(told)}."


def _untold(rows: Sequence[BenchRow]) -> str:
    told = [summarise(method, group) for method, group in by_method(rows).items()]
    return (
        "; ".join(
            f"{m.method}: {m.wrong} of {m.graded} runs wrong, {m.wrong_doubted} of these doubted"
            for m in told
        )
        + "."
    )
