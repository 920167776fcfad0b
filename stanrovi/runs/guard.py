"""What surrounds numerical work on a Stan model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from stanrovi.determinism import one_blas_thread
from stanrovi.errors import DensityError
from stanrovi.stan.model import Model

T = TypeVar("T")


def guarded(model: Model, work: Callable[[], T]) -> T:
    """Run numerical work, and add the program's own reason to a density that is finite nowhere.

    Climbs on densities without bound run out of floating-point numbers; what comes of it is
    judged by the result's own numbers, so NumPy need not warn.
    """
    model.forget_rejection()
    try:
        with one_blas_thread(), np.errstate(all="ignore"):
            return work()
    except DensityError as error:
        if model.last_rejection:
            raise DensityError(
                f"{error} The program's last message: {model.last_rejection}"
            ) from None
        raise
