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
    "mfvi": "mean field, a product on the parameters' own axes",
    "rovi": "rotational, a product on axes of its own",
    "mixture": "a rotated product for each mode",
    "auto": "rovi or mixture, as the modes ask for",
}
