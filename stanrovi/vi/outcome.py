"""What a method hands back."""

from __future__ import annotations

from dataclasses import dataclass

from stanrovi.families.base import Family
from stanrovi.vi.pool import Batch
from stanrovi.vi.result import Status


@dataclass(frozen=True)
class Outcome:
    """What a method hands to the driver.

    Attributes
    ----------
    family : Family
    status : Status
    message : str
    check : Batch or None
        Evaluations at draws of ``family`` that no step leading to it has used.
    misfit : str or None
        Why the family cannot hold the modes that were found.
    resumable : bool
        Whether a larger budget would let the fit go on.
    anchored : bool
        Whether the fit found a mode of its own, whatever the search found: that of the
        marginal density of its roots.
    """

    family: Family
    status: Status
    message: str
    check: Batch | None = None
    misfit: str | None = None
    resumable: bool = False
    anchored: bool = False

    @property
    def divergence(self) -> float:
        """Nats of Jeffreys divergence per four dimensions, at the draws of the check.

        Of all dimensions where there are fewer.
        """
        assert self.check is not None
        return self.check.divergence()[0] / max(1.0, self.family.dim / 4)

    @property
    def safe_elbo(self) -> float:
        """ELBO at the draws of the check, less two standard errors."""
        assert self.check is not None
        return self.check.safe_elbo
