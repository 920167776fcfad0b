"""NUTS of the embedded engine in a process of its own."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from stanrovi.errors import SamplerError
from stanrovi.stan.child import Child, Died
from stanrovi.stan.nuts.chains import ChainListener, Chains, NutsSettings
from stanrovi.stan.program import Program

_SERVER = "stanrovi.stan.nuts.serving"
_ARRAYS = "starts", "inv_metric"  # settings that are no JSON values


class SamplerDiedError(SamplerError):
    """The process that sampled ended."""


def sample_isolated(
    program: Program, data: str, settings: NutsSettings, progress: ChainListener | None
) -> Chains:
    """Run NUTS in a process that ends with the run.

    Parameters, result and errors are those of `stanrovi.stan.nuts.embedded.sample_embedded`.

    Raises
    ------
    SamplerDiedError
        If the process ends before.
    """
    plain = {name: value for name, value in asdict(settings).items() if name not in _ARRAYS}
    given = {name: getattr(settings, name) for name in _ARRAYS}
    arrays = {name: value for name, value in given.items() if value is not None}
    inits = settings.inits
    plain["inits"] = inits and [{k: np.asarray(v).tolist() for k, v in x.items()} for x in inits]
    child = Child(_SERVER, {"program": [program.name, program.code], "data": data})
    try:
        told, _ = child.call(
            "sample",
            {"settings": plain, "arrays": list(arrays)},
            [np.asarray(value, np.float64) for value in arrays.values()],
            heard=progress,
        )
        shapes = [*told["variables"].values(), *told["sampler"].values()]
        _, values = child.call("draws", outputs=shapes)
    except Died as death:
        raise SamplerDiedError(
            f"NUTS (embedded engine) failed: the process that sampled {program.name} ended "
            f"({death})"
        ) from None
    finally:
        child.end()
    n = len(told["variables"])
    seconds_warmup, seconds_sampling = map(float, told["seconds"])
    return Chains(
        variables=dict(zip(told["variables"], values[:n], strict=True)),
        sampler=dict(zip(told["sampler"], values[n:], strict=True)),
        n_gradients=int(told["n_gradients"]),
        includes_warmup=bool(told["includes_warmup"]),
        seconds_warmup=seconds_warmup,
        seconds_sampling=seconds_sampling,
    )
