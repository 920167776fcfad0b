"""The methods of variational inference, by name: the one list, free of NumPy.

The driver runs them, the command line offers them, calibration and the plots know them
from here.
"""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["gaussian", "mfvi", "rovi", "mixture", "auto"]
METHODS: tuple[Method, ...] = get_args(Method)
SUMMARIES: dict[Method, str] = {
    "gaussian": "full-rank Gaussian",
    "mfvi": "mean field, a product measure on the parameters' own axes",
    "rovi": "rotational: a product measure on axes of its own",
    "mixture": "one rotated product per mode",
    "auto": "rovi or mixture, whichever the modes ask for",
}
