"""The methods, by name: the one list, free of NumPy.

The driver runs those of variational inference, the command line offers them, calibration checks
them; a benchmark sets samplers and the methods of others beside them.
"""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["gaussian", "mfvi", "rovi", "structured", "mixture", "auto"]
METHODS: tuple[Method, ...] = get_args(Method)
# What can be calibrated: the methods, and the samplers.
SbcMethod = Literal[Method, "sample", "nuts"]
SBC_METHODS: tuple[SbcMethod, ...] = (*METHODS, "sample", "nuts")
SUMMARIES: dict[Method, str] = {
    "gaussian": "full-rank Gaussian",
    "mfvi": "mean field, a product on the parameters' own axes",
    "rovi": "rotational, a product on axes of its own",
    "structured": "a few parameters, and the rest given them: hierarchies",
    "mixture": "a rotated product for each mode",
    "auto": "rovi, structured or mixture, as the posterior asks for",
}
# What a benchmark sets beside them.
OtherMethod = Literal[
    "nuts", "sample", "laplace", "lmc", "mala", "advi_meanfield", "advi_fullrank", "pathfinder"
]
OTHER_SUMMARIES: dict[OtherMethod, str] = {
    "nuts": "Stan's sampler, of the embedded engine",
    "sample": "chains that start from a fit and move by it",
    "laplace": "the Gaussian of the heaviest mode",
    "lmc": "unadjusted Langevin steps",
    "mala": "Langevin steps with a Metropolis test",
    "advi_meanfield": "CmdStan's ADVI, diagonal",
    "advi_fullrank": "CmdStan's ADVI, full covariance",
    "pathfinder": "CmdStan's multi-path Pathfinder",
}
BenchMethod = Literal[Method, OtherMethod]
BENCH_METHODS: tuple[BenchMethod, ...] = (*METHODS, *get_args(OtherMethod))
