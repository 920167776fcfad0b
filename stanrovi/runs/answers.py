"""What every run answers about its draws, as the objects of cmdstanpy and ArviZ do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from stanrovi.draws import Draws, HasDraws
from stanrovi.io import arviz
from stanrovi.io.generations import dataset
from stanrovi.io.stan_csv import write_stan_csv

if TYPE_CHECKING:
    import pandas as pd


class Answers:
    """What a run that carries draws can be asked for."""

    to_arviz = arviz.to_arviz

    def stan_variable(self: HasDraws, name: str) -> NDArray[Any]:
        """Draws of one variable (chain * draw, *shape); see `stanrovi.Draws.stan_variable`."""
        return self.draws.stan_variable(name)

    def stan_variables(self: HasDraws) -> dict[str, NDArray[Any]]:
        """Draws of every variable, by its name; see `stanrovi.Draws.stan_variable`."""
        return self.draws.stan_variables()

    def draws_pd(self: HasDraws, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Draws as a data frame, one chain after the other; see `stanrovi.Draws.draws_pd`."""
        return self.draws.draws_pd(vars)

    def draws_xr(self: HasDraws, vars: str | Iterable[str] | None = None) -> Any:
        """Draws as an xarray.Dataset of dimensions chain, draw and those of each variable.

        Parameters
        ----------
        vars : str or sequence of str, optional
            Names of variables; all by default.

        Returns
        -------
        xarray.Dataset
            With the attributes of the draws: model, method, engine, seed, cost ...

        Raises
        ------
        UsageError
            If there is no such variable.
        """
        draws: Draws = self.draws
        chosen = {name: draws.posterior[name] for name in draws.variables(vars)}
        return dataset(chosen).assign_attrs(draws.attrs)

    def save_csv(
        self: HasDraws, folder: str | os.PathLike[str], *, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """Write the draws as CmdStan's CSV files, which cmdstanr and cmdstanpy read.

        Parameters
        ----------
        folder : path-like
            Gets ``MODEL_1.csv`` and so on.
        overwrite : bool
            Whether it may hold files, and those of an earlier run be replaced.

        Returns
        -------
        tuple of Path
            One file a chain. The independent draws of a fit are one chain, as of CmdStan's
            algorithm ``fixed_param``: there is nothing to say of how a chain mixed.

        Raises
        ------
        OutputError
            If a file exists or cannot be written.
        """
        return write_stan_csv(self.draws, folder, overwrite=overwrite)
