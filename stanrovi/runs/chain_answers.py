"""What runs of chains answer besides, each of which draws from the posterior itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stanrovi.draws import HasDraws
from stanrovi.runs.answers import Answers
from stanrovi.runs.loo import loo
from stanrovi.runs.summary import summary_frame

if TYPE_CHECKING:
    import pandas as pd


class ChainAnswers(Answers):
    """What chains that draw from a posterior can be asked for besides."""

    def summary(self: HasDraws, vars: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Mean, sd, quantiles, R-hat and ESS of every scalar quantity.

        Parameters
        ----------
        vars : str or sequence of str, optional
            Names of variables; by default all but pointwise log likelihoods and replicated data.

        Returns
        -------
        pandas.DataFrame
            Rows under Stan's names; columns mean, sd, q5, q50, q95, r_hat, ess_bulk, ess_tail
            (NaN for constants; R-hat also for a single chain).

        Raises
        ------
        UsageError
            If there is no such variable.
        """
        return summary_frame(self.draws, chains=True, names=vars)

    def loo(self: HasDraws, var_name: str | None = None) -> Any:
        """Cross-validate by PSIS-LOO.

        Parameters
        ----------
        var_name : str, optional
            The generated quantity that holds the log likelihood of each observation; ``log_lik``
            by default.

        Returns
        -------
        arviz.ELPDData
            With pointwise values and the Pareto k-hat of each.

        Raises
        ------
        DrawsError
            If the program computes no log likelihood; the message says what to add.
        UsageError
            For an unknown name.
        """
        return loo(self.draws, var_name)
