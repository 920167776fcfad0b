"""How far a run lies from a reference: in numbers of one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stanrovi.benchmark.posteriors import Posterior
from stanrovi.diagnostics.reference import check_reference
from stanrovi.draws import Draws, require_finite
from stanrovi.errors import DrawsError
from stanrovi.grading.distances import Yardstick, yardstick
from stanrovi.grading.verdicts import exceeds, wrong_sd
from stanrovi.scalars import first_of_copies, varying

_SHAPES = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Accuracy:
    """Distances to a reference in its sds, the worst of all scalar quantities.

    Attributes
    ----------
    w1_max, w1_floor : float
        Largest Wasserstein-1 distance of a marginal, and its noise floor.
    w1_worst : str
        That quantity.
    mean_error_max : float
        Largest difference of means.
    sd_ratio : float
        Ratio of sds (run over reference) that is furthest from one.
    right : bool
        Whether no marginal differs by more than noise and more than matters, as `stanrovi.compare`
        has it: W1 above 0.1, or sds by a factor above 1.2.
    """

    w1_max: float
    w1_floor: float
    w1_worst: str
    mean_error_max: float
    sd_ratio: float
    right: bool


@dataclass(frozen=True)
class Ruler:
    """A reference made ready to measure runs by.

    Attributes
    ----------
    told : str
        What it is, and why it grades nothing where it does not.
    variables : tuple of str
    kept : ndarray of int, shape (k,)
        Places of the quantities measured among all scalars of the variables.
    yardstick : Yardstick or None
        None where the reference is not trusted.
    """

    told: str
    variables: tuple[str, ...]
    kept: NDArray[np.intp]
    yardstick: Yardstick | None

    def accuracy(self, draws: Draws) -> Accuracy | None:
        """Measure a run; None where the reference is not trusted.

        Raises
        ------
        DrawsError
            If draws of what is to be measured are NaN or infinite.
        """
        if self.yardstick is None:
            return None
        require_finite(draws.posterior, self.variables, DrawsError, draws.method)
        values = np.stack(list(draws.scalars(self.variables).values()), axis=-1)
        found = self.yardstick.distances(values[..., self.kept])
        worst = int(found.w1.argmax())
        with np.errstate(divide="ignore"):  # a frozen run is infinitely too narrow
            off = np.abs(np.log(found.sd_ratio))
        return Accuracy(
            w1_max=float(found.w1[worst]),
            w1_floor=float(found.floor[worst]),
            w1_worst=found.names[worst],
            mean_error_max=float(np.abs(found.mean_error).max()),
            sd_ratio=float(found.sd_ratio[off.argmax()]),
            right=not (exceeds(found) | wrong_sd(found)).any(),
        )


def ruler(posterior: Posterior, draws: Draws) -> Ruler | None:
    """Make ready the reference of a posterior for draws like these; None where there is none.

    Parameters
    ----------
    posterior : Posterior
    draws : Draws
        Tell which variables there are besides; that what is measured does not depend on the
        method, all methods compute the same.

    Raises
    ------
    DrawsError
        If the reference cannot be read, or has no quantity in common with the draws.
    """
    return _ruler(posterior, tuple((n, v.shape[2:]) for n, v in draws.posterior.items()))


@lru_cache(maxsize=4)
def _ruler(posterior: Posterior, shapes: _SHAPES) -> Ruler | None:
    reference = posterior.reference()
    if reference is None:
        return None
    known = dict(shapes)
    variables = tuple(
        name
        for name in reference.parameters
        if known.get(name) == reference.posterior[name].shape[2:]
    )
    if not variables:
        raise DrawsError(
            f"The reference of {posterior.name} has {', '.join(reference.parameters)}, and the "
            f"program none of them in the same shape; it has {', '.join(known)}."
        )
    require_finite(reference.posterior, variables, DrawsError, "the reference")
    scalars = reference.scalars(variables)
    values = np.stack(list(scalars.values()), axis=-1)
    kept = np.flatnonzero(varying(values) & first_of_copies(values))
    if not len(kept):
        raise DrawsError(f"Every quantity of the reference of {posterior.name} is constant.")
    names = tuple(np.array(list(scalars))[kept].tolist())
    check = check_reference(reference, values[..., kept], names)
    who = check.engine if check.method == "reference" else check.method
    told = f"{who}, {check.n_chains} x {check.n_draws} draws"
    if not check.trusted:
        return Ruler(f"{told}, not trusted: {check.reason}", variables, kept, None)
    graded = [i for i, name in enumerate(names) if name not in check.unknown]
    kept, names = kept[graded], tuple(names[i] for i in graded)
    made = yardstick(values[..., kept], names, np.random.default_rng(0))
    return Ruler(told, variables, kept, made)
