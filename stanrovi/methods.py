"""The methods of variational inference, by name: the one list, free of NumPy.

The driver runs them, the command line offers them, calibration checks them.
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
