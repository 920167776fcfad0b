"""The JSON of a comparison: a contract that docs/schemas/compare.schema.json writes down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stanrovi.diagnostics.reference import ReferenceCheck
from stanrovi.grading.distances import Distances
from stanrovi.grading.findings import Findings, MethodComparison
from stanrovi.grading.mode_table import ModeTable
from stanrovi.io.json_values import plain


def comparison_dict(findings: Findings) -> dict[str, Any]:
    """Convert a comparison to JSON-safe values; unknown numbers become None.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    dict
    """
    modes = findings.modes
    return {
        "model": findings.model,
        "left_out": list(findings.left_out),
        "reference": _reference_dict(findings.reference),
        "noise_floor": plain(findings.noise_floor),
        "methods": {
            name: _method_dict(method)
            | {"mode_mass": plain(modes.mass.get(name)) if modes is not None else None}
            for name, method in findings.methods.items()
        },
        "modes": [] if modes is None else _modes_list(modes),
    }


def _reference_dict(check: ReferenceCheck) -> dict[str, Any]:
    return {key: plain(value) for key, value in vars(check).items()} | {
        "n_gradients": _count(check.n_gradients),
        "divergences": check.divergences if check.divergences >= 0 else None,
    }


def _method_dict(method: MethodComparison) -> dict[str, Any]:
    part, pairs = method.marginals, method.pairs
    return {
        "w1": _by_name(part),
        "w1_max": None if part is None else plain(part.w1.max()),
        "w1_worst": None if part is None else part.names[int(part.w1.argmax())],
        "mean_error_max": None if part is None else plain(np.abs(part.mean_error).max()),
        "sd_ratio_range": None
        if part is None
        else [plain(part.sd_ratio.min()), plain(part.sd_ratio.max())],
        "pairs": _by_name(pairs),
        "pair_w1_max": None if pairs is None else plain(pairs.w1.max()),
        "khat": plain(method.khat),
        "elbo": plain(method.elbo),
        "elbo_se": plain(method.elbo_se),
        "seconds": plain(method.seconds),
        "n_gradients": _count(method.n_gradients),
        "status": method.status,
        "verdict": method.verdict.name,
        "reasons": list(method.verdict.reasons),
        "cures": list(method.verdict.cures),
    }


def _modes_list(modes: ModeTable) -> list[dict[str, Any]]:
    seen, chains = modes.reference_mass, modes.chain_mass
    return [
        {
            "weight": plain(modes.weight[i]),
            "log_density": plain(modes.log_density[i]),
            "position": plain(modes.position[i]),
            "reference_mass": None if seen is None else plain(seen[i]),
            "chain_mass": None if chains is None else plain(chains[:, i]),
        }
        for i in range(len(modes.weight))
    ]


def _by_name(part: Distances | None) -> dict[str, Any]:
    if part is None:
        return {}
    return {name: plain(value) for name, value in zip(part.names, part.w1, strict=True)}


def _count(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
