"""What a fit knows of itself, as it travels from the fit to the report, and to files and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stanrovi.families.axes import Frame
from stanrovi.markup import Sign, judgement
from stanrovi.modes.basins import Peak
from stanrovi.target import Array
from stanrovi.vi.settings import FamilySettings

VerdictName = Literal["ok", "suspect", "collapsed", "family cannot hold these modes"]


@dataclass(frozen=True)
class TracePoint:
    """One step of a fit: the ELBO estimate of the current approximation.

    Attributes
    ----------
    stage : str
        ``"gaussian"``, ``"product"``, ...; ``"mixture"`` for a step of one
        component, whose ELBO is that of its share of the target.
    n_gradients : int
        Gradients spent when the estimate was made.
    elbo : float
        Estimate, up to the constant that Stan drops (nats).
    elbo_se : float
        Its Monte Carlo standard error.
    """

    stage: str
    n_gradients: int
    elbo: float
    elbo_se: float


@dataclass(frozen=True)
class Verdict:
    """Whether a fit may be trusted, with the evidence.

    Attributes
    ----------
    name : {"ok", "suspect", "collapsed", "family cannot hold these modes"}
    reasons : tuple of str
        One sentence for each piece of evidence.
    cures : tuple of str
        What to do about each reason; empty where there is nothing to be done.
    """

    name: VerdictName
    reasons: tuple[str, ...]
    cures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"- {line}" for line in self.told)])

    def _repr_html_(self) -> str:
        return judgement(self.sign, self.name, self.findings)

    @property
    def sign(self) -> Sign:
        """Tell the name in a sign: whether to trust, to look closer, or not to trust."""
        signs: dict[VerdictName, Sign] = {"ok": "✓", "suspect": "!"}
        return signs.get(self.name, "✗")

    @property
    def findings(self) -> tuple[tuple[str, str], ...]:
        """Every reason with its cure."""
        cures = self.cures or ("",) * len(self.reasons)
        return tuple(zip(self.reasons, cures, strict=True))

    @property
    def told(self) -> tuple[str, ...]:
        """Every reason with its cure, a few sentences each."""
        return tuple(
            f"{reason.removesuffix('.')}. {cure}" if cure else reason
            for reason, cure in self.findings
        )


@dataclass(frozen=True, eq=False)
class MarginalErrors:
    """How far each marginal of a fit is from the target's, estimated without a reference.

    Attributes
    ----------
    names : tuple of str
        The k quantities: constrained scalar parameters that vary, copies left out.
    error : ndarray, shape (k,)
        Wasserstein-1 distance in standard deviations (robust ones where the tails are too heavy
        for a variance), with the noise of the estimate taken off.
    se : ndarray, shape (k,)
        Its Monte Carlo error.
    source : tuple of str
        ``"weights"``, ``"scores"`` or ``"chains"`` for each.
    """

    names: tuple[str, ...]
    error: Array
    se: Array
    source: tuple[str, ...]

    def worst(self, among: NDArray[np.bool_]) -> int:
        """Find the largest error, less its Monte Carlo error, of some; the unknown first."""
        known = np.isfinite(self.error) & np.isfinite(self.se)
        least = np.where(known, self.error, np.inf) - np.where(known, self.se, 0.0)
        return int(np.argmax(np.where(among, least, -np.inf)))


@dataclass(frozen=True)
class Root:
    """A parameter on which the spread of others depends: one wants to know that of a model.

    Attributes
    ----------
    name : str
        Unconstrained parameter.
    ruled : mapping of str to float
        Unconstrained parameters whose spread follows it, those first that follow it most:
        how many times as wide they are where it is one standard deviation above its median
        as where it is one below.
    """

    name: str
    ruled: Mapping[str, float]

    def __str__(self) -> str:
        first, *others = self.ruled
        text = f"{self.name} rules the spread of {first}"
        if others:
            text += f" and {len(others)} more"
        return f"{text} ({_wider(self.ruled[first])} from -1 to +1 sd of {self.name})"


def _wider(factor: float) -> str:
    return f"{factor:.1f} times as wide" if factor >= 1 else f"{1 / factor:.1f} times as narrow"


@dataclass(frozen=True, eq=False)
class FitFacts:
    """What a fit knows of itself beside its draws; it travels with them, to files and back.

    Attributes
    ----------
    verdict : Verdict or None
        None where a file does not tell.
    modes : tuple of Peak
        Basins that the mode search found, heaviest first: of `Mode`, or without their widths
        where a file does not tell them.
    trace : tuple of TracePoint
    frame : Frame or None
        Axes along which the fit is a product of standardised marginals, on unconstrained
        space; None for a mixture.
    settings : FamilySettings or None
    warnings : tuple of str
    gradients_by_stage : mapping of str to int
    roots : tuple of Root
        Of a conditional fit.
    errors : MarginalErrors or None
        None where a file does not tell.
    """

    verdict: Verdict | None = None
    modes: tuple[Peak, ...] = ()
    trace: tuple[TracePoint, ...] = ()
    frame: Frame | None = None
    settings: FamilySettings | None = None
    warnings: tuple[str, ...] = ()
    gradients_by_stage: Mapping[str, int] = field(default_factory=dict)
    roots: tuple[Root, ...] = ()
    errors: MarginalErrors | None = None
