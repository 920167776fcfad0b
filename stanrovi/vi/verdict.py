"""Whether a fit may be trusted, from what the fit itself knows.

k-hat says how well the approximation matches the target where it puts its
draws; it cannot see a mode without draws. So "ok" needs the mode table to
agree as well. The comparison with NUTS (`stanrovi.compare`) adds what only a
reference can tell.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from stanrovi.modes.basins import Mode
from stanrovi.target import Array
from stanrovi.vi.facts import Verdict
from stanrovi.vi.outcome import Outcome

_SEEN = 0.02  # local evidence below this share is too uncertain to call a collapse
_KHAT = 0.7
_EFFICIENT = 0.95  # importance weights this even say nothing through their tail
# KL(q || p), in nats, at which shapes visibly differ: per four dimensions, and at least once.
_KL = 0.05


def judge(
    outcome: Outcome,
    modes: tuple[Mode, ...],
    log_ratio: Array,
    khat: float,
    n_rejected: int,
    n_draws: int,
) -> Verdict:
    """Judge a fit.

    Parameters
    ----------
    outcome : Outcome
    modes : tuple of Mode
        With the fit's masses.
    log_ratio : ndarray, shape (n,)
        ``log p - log q`` at draws of the fit that the target accepts.
    khat : float
    n_rejected, n_draws : int
        Draws that the target rejects, and all draws.

    Returns
    -------
    Verdict
    """
    lost = _lost(modes)
    if outcome.misfit is not None:
        ghosts = _ghost_share(log_ratio)
        reasons = [outcome.misfit, *lost]
        if ghosts > 0.01:
            reasons.append(f"{ghosts:.0%} of the draws lie where the target has no mass")
        return Verdict("family cannot hold these modes", tuple(reasons))
    if lost:
        return Verdict("collapsed", tuple(lost))
    doubts = _doubts(outcome, modes, log_ratio, khat)
    if n_rejected:
        doubts.append(f"the target rejects {n_rejected / n_draws:.1%} of the draws")
    if doubts:
        return Verdict("suspect", tuple(doubts))
    return Verdict("ok", tuple(_support(modes, log_ratio, khat)))


def _lost(modes: tuple[Mode, ...]) -> list[str]:
    """Modes with clear local evidence and (almost) no draws."""
    return [
        f"mode {k} has {m.weight:.1%} of the local evidence and {m.mass:.1%} of the draws"
        for k, m in enumerate(modes, start=1)
        if m.weight > _SEEN and m.mass < 0.2 * m.weight
    ]


def _ghost_share(log_ratio: Array) -> float:
    """Share of draws far below the target's usual density ratio."""
    return float((log_ratio < np.median(log_ratio) - 10.0).mean())


def _doubts(outcome: Outcome, modes: tuple[Mode, ...], log_ratio: Array, khat: float) -> list[str]:
    dim = outcome.family.dim
    doubts = []
    if not modes and not outcome.anchored:
        doubts.append("the mode search found no proper mode to check the fit against")
    efficiency = _efficiency(log_ratio)
    if not khat < _KHAT and efficiency < _EFFICIENT:
        doubts.append(
            f"Pareto k-hat is {khat:.2f}, not below {_KHAT}, and the importance weights are only "
            f"{efficiency:.0%} efficient"
        )
    kl, limit = reverse_kl(log_ratio), _KL * max(1.0, dim / 4)
    if kl > limit:
        doubts.append(
            f"the fit is about {kl:.2f} nats (KL) from the target, above {limit:.2f}: the "
            "target has a shape that this family does not hold"
        )
    for k, m in enumerate(modes, start=1):
        if len(modes) > 1 and abs(m.mass - m.weight) > 0.1:
            doubts.append(
                f"mode {k} has {m.weight:.1%} of the local evidence but {m.mass:.1%} of the draws"
            )
    if outcome.status == "budget":
        doubts.append(outcome.message)
    return doubts


def _support(modes: tuple[Mode, ...], log_ratio: Array, khat: float) -> list[str]:
    if not modes:
        first = "the density has no mode, but the marginal density of what rules the rest has one"
    elif len(modes) == 1:
        first = "the mode search found one basin, and the draws lie in it"
    else:
        first = f"the draws are shared among all {len(modes)} basins as the local evidence says"
    efficiency = _efficiency(log_ratio)
    return [first, f"importance weights are {efficiency:.0%} efficient, Pareto k-hat {khat:.2f}"]


def _efficiency(log_ratio: Array) -> float:
    """Relative effective sample size of the importance weights."""
    w = np.exp(log_ratio - log_ratio.max())
    return float(w.sum() ** 2 / (len(w) * (w @ w)))


def reverse_kl(log_ratio: Array) -> float:
    """Estimate ``KL(q || p)`` from ``log p - log q`` at draws of q.

    The normalising constant comes from the same draws by importance sampling,
    so what the draws do not reach is not seen.
    """
    return float(logsumexp(log_ratio) - np.log(len(log_ratio)) - log_ratio.mean())
