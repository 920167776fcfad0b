"""What a user may set of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from stanrovi.arguments import check_choice


@dataclass(frozen=True)
class FamilySettings:
    """Which member of the family to fit; the defaults need no tuning.

    Attributes
    ----------
    marginals : {"flexible", "affine"}
        Marginals of any shape, or Gaussian ones (``mfvi`` and ``rovi``).
    preconditioner : {"full", "diagonal"}
        ``rovi``: axes ``A @ O`` with A re-estimated, and expectations shared
        between fit and target (the default); or the paper's plain form: A
        diagonal and fixed, O a rotation, the ELBO alone.
    updates : {"joint", "alternating"}
        ``rovi``: update marginals and rotation together, or in turns as in the
        paper.

    Raises
    ------
    UsageError
        For any other value.
    """

    marginals: Literal["flexible", "affine"] = "flexible"
    preconditioner: Literal["full", "diagonal"] = "full"
    updates: Literal["joint", "alternating"] = "joint"

    def __post_init__(self) -> None:
        for name, allowed in get_type_hints(type(self)).items():
            check_choice(name, getattr(self, name), get_args(allowed))
