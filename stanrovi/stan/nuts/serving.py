"""The process of NUTS of the embedded engine; see `stanrovi.stan.serving`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stanrovi.stan.nuts.chains import Chains, NutsSettings
from stanrovi.stan.nuts.embedded import sample_embedded
from stanrovi.stan.program import Program
from stanrovi.stan.serving import Call, serve
from stanrovi.target import Array


class Served:
    """The calls that a run makes."""

    _program: Program
    _data: str
    _chains: Chains

    @property
    def calls(self) -> dict[str, Call]:
        """By their names."""
        return {"open": self._open, "sample": self._sample, "draws": self._draws}

    def _open(self, asked: Mapping[str, Any], *_: Any) -> None:
        self._program, self._data = Program(*asked["program"]), asked["data"]

    def _sample(
        self,
        asked: Mapping[str, Any],
        inputs: list[Array],
        _: list[Array],
        tell: Callable[..., None],
    ) -> Any:
        arrays: dict[str, Any] = dict(zip(asked["arrays"], map(np.copy, inputs), strict=True))
        settings = NutsSettings(**asked["settings"], **arrays)
        chains = self._chains = sample_embedded(self._program, self._data, settings, tell)
        return {
            "variables": {name: x.shape for name, x in chains.variables.items()},
            "sampler": {name: x.shape for name, x in chains.sampler.items()},
            "n_gradients": chains.n_gradients,
            "includes_warmup": chains.includes_warmup,
            "seconds": [chains.seconds_warmup, chains.seconds_sampling],
        }

    def _draws(self, _: Any, __: Any, outputs: list[Array], *___: Any) -> None:
        found = [*self._chains.variables.values(), *self._chains.sampler.values()]
        for out, x in zip(outputs, found, strict=True):
            out[...] = x


if __name__ == "__main__":
    serve(Served().calls, sys.argv[1:])
