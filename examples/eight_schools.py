"""Eight schools: a fit with its verdict, and NUTS beside it.

    python examples/eight_schools.py [--output DIR]

Effects of coaching in eight schools (Rubin 1981), bundled with stanrovi. The spread of the
schools, tau, makes a funnel of the posterior; the fit follows it.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

ESTIMATES, ERRORS = [28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18]


def main(output: Path | None = None) -> None:
    model = sr.Model("eight_schools")
    fit = sr.fit(model, seed=1)
    nuts = sr.nuts(model, engine="stanli", seed=1)

    print(f"{fit.verdict.name}: {'; '.join(fit.verdict.reasons)}")
    print(f"{fit.result.n_gradients:,} gradients; NUTS {nuts.n_gradients:,}\n")
    print(fit.summary().loc[["mu", "tau"]].round(2).to_string())
    worst = sr.compare(fit, nuts).to_dataframe().iloc[0]
    print(f"\nFurthest from NUTS: {worst.parameter}, by {worst.w1:.2f} of its sds")

    if output is not None:
        picture(fit, nuts).savefig(output / "example_eight_schools.png", dpi=110)


def picture(fit: sr.Fit, nuts: sr.NutsRun) -> Figure:
    """Estimates, and what fit and NUTS make of them: medians and 90% intervals."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axis = figure.subplots()
    schools = np.arange(1, 9)
    errors = 1.64 * np.array(ERRORS)
    axis.errorbar(ESTIMATES, schools, xerr=errors, fmt="o", color="0.6", label="estimated alone")
    for name, run, shift in (("fit", fit, 0.2), ("NUTS", nuts, 0.4)):
        theta = run.stan_variable("theta")
        low, middle, high = np.quantile(theta, [0.05, 0.5, 0.95], axis=0)
        reach = (middle - low, high - middle)
        axis.errorbar(middle, schools + shift, xerr=reach, fmt="o", label=name)
    axis.set(xlabel="effect of coaching, points", ylabel="school", yticks=schools)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
