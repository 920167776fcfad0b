"""What a mode search hands over."""

from __future__ import annotations

from dataclasses import dataclass

from stanrovi.modes.basins import Mode
from stanrovi.target import Array


@dataclass(frozen=True)
class SearchResult:
    """Outcome of a mode search.

    Attributes
    ----------
    modes : tuple of Mode
        Heaviest first; empty when no start ended at a proper maximum.
    peak : Mode
        The heaviest mode. Without any, the highest point reached, with the
        climb's own (L-BFGS) estimate of the covariance and weight zero.
    start : ndarray, shape (dim,)
        The best starting point.
    n_starts, n_usable, n_improper : int
        Starts made; starts with a finite density; climbs that did not end at
        a maximum with a negative definite Hessian (a ridge, a plateau, an
        unbounded density).
    unseen : float
        Chance that another climb finds a new basin; see `stanrovi.modes.explore.Basins`.
    trails : tuple of tuple of Mode
        Where there is no mode: local quadratics along the highest climbs, one after the other.
    complete : bool
        False if the target's budget ran out: this is what was found by then.
    first : (ndarray, float) or None
        One of the first points that were evaluated, shape (dim,), with its log density.
    """

    modes: tuple[Mode, ...]
    peak: Mode
    start: Array
    n_starts: int
    n_usable: int
    n_improper: int
    unseen: float = 0.0
    trails: tuple[tuple[Mode, ...], ...] = ()
    complete: bool = True
    first: tuple[Array, float] | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a user should know of a search that found nothing."""
        if self.modes or not self.complete:
            return ()
        if not self.n_improper:
            return (f"No proper mode: none of {self.n_starts} climbs could go on to an end.",)
        return (
            f"No proper mode: {self.n_improper} of {self.n_starts} climbs ended on a ridge, a "
            "plateau or without bound (common for centred hierarchical models; consider the "
            "non-centred form).",
        )
