"""The verdict says no, and `sample` answers.

    python examples/suspect.py [--output DIR]

Eight schools again, now each with a scale of its own, so that one may stand out
(data/robust_schools.stan). Tau and eight scales rule the spread of others: more than a fit can
follow, and it says so. `sample` starts from that fit; its draws say whether to trust them.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

PROGRAM = Path(__file__).parent / "data" / "robust_schools.stan"
SCHOOLS = {
    "J": 8,
    "y": [28, 8, -3, 7, -1, 1, 18, 12],
    "sigma": [15, 10, 16, 11, 9, 11, 10, 18],
}


def main(output: Path | None = None) -> None:
    model = sr.Model(PROGRAM, SCHOOLS)
    fit = sr.fit(model, seed=1)
    print(f"fit: {fit.verdict.name}, {fit.result.n_gradients:,} gradients")
    for reason, cure in zip(fit.verdict.reasons, fit.verdict.cures, strict=True):
        print(f"- {reason}\n  {cure}")

    run = sr.sample(model, seed=1)
    print(f"\nsample: {'trusted' if run.trusted else 'not trusted'}, {run.n_gradients:,} gradients")
    print(f"- {run.reason}")

    nuts = sr.nuts(model, engine="stanli", seed=1)
    found = sr.compare({"fit": fit, "sample": run}, nuts).to_dataframe()
    print(f"\nNUTS, {nuts.n_gradients:,} gradients, is furthest from")
    print(found.groupby("method").first().round(2).to_string())

    if output is not None:
        figure = Figure(figsize=(7, 3), layout="constrained")
        axis = figure.subplots()
        for name, one in (("fit", fit), ("sample", run), ("NUTS", nuts)):
            values = np.log(one.stan_variable("tau"))
            axis.hist(
                values, bins=np.linspace(-6, 4, 60), density=True, histtype="step", label=name
            )
        axis.set(xlabel="log tau, spread of the schools", yticks=[])
        axis.legend()
        figure.savefig(output / "example_suspect.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
