"""The JSON of a comparison: a contract that docs/schemas/compare.schema.json writes down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stanrovi.diagnostics import Distances, ReferenceCheck
from stanrovi.occupancy import ModeTable

if TYPE_CHECKING:
    from stanrovi.comparison import Comparison, MethodComparison


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """Convert a comparison to JSON-safe values; unknown numbers become None.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    dict
    """
    modes = comparison.modes
    return {
        "model": comparison.model,
        "reference": _reference_dict(comparison.reference),
        "noise_floor": _plain(comparison.noise_floor),
        "methods": {
            name: _method_dict(method)
            | {"mode_mass": _plain(modes.mass.get(name)) if modes is not None else None}
            for name, method in comparison.methods.items()
        },
        "modes": [] if modes is None else _modes_list(modes),
    }


def _reference_dict(check: ReferenceCheck) -> dict[str, Any]:
    return {key: _plain(value) for key, value in vars(check).items()} | {
        "n_gradients": _count(check.n_gradients),
        "divergences": check.divergences if check.divergences >= 0 else None,
    }


def _method_dict(method: MethodComparison) -> dict[str, Any]:
    part, pairs = method.marginals, method.pairs
    return {
        "w1": _by_name(part),
        "w1_max": None if part is None else _plain(part.w1.max()),
        "w1_worst": None if part is None else part.names[int(part.w1.argmax())],
        "mean_error_max": None if part is None else _plain(np.abs(part.mean_error).max()),
        "sd_ratio_range": None
        if part is None
        else [_plain(part.sd_ratio.min()), _plain(part.sd_ratio.max())],
        "pairs": _by_name(pairs),
        "pair_w1_max": None if pairs is None else _plain(pairs.w1.max()),
        "khat": _plain(method.khat),
        "elbo": _plain(method.elbo),
        "elbo_se": _plain(method.elbo_se),
        "seconds": _plain(method.seconds),
        "n_gradients": _count(method.n_gradients),
        "status": method.status,
        "verdict": method.verdict.name,
        "reasons": list(method.verdict.reasons),
    }


def _modes_list(modes: ModeTable) -> list[dict[str, Any]]:
    seen, chains = modes.reference_mass, modes.chain_mass
    return [
        {
            "weight": _plain(modes.weight[i]),
            "log_density": _plain(modes.log_density[i]),
            "position": _plain(modes.position[i]),
            "reference_mass": None if seen is None else _plain(seen[i]),
            "chain_mass": None if chains is None else _plain(chains[:, i]),
        }
        for i in range(len(modes.weight))
    ]


def _by_name(part: Distances | None) -> dict[str, Any]:
    if part is None:
        return {}
    return {name: _plain(value) for name, value in zip(part.names, part.w1, strict=True)}


def _count(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str, int)):
        return value
    return float(value) if math.isfinite(value) else None
