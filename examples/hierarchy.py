"""A hierarchical regression in both forms, centred and non-centred: one posterior, one fit.

    python examples/hierarchy.py [--output DIR]

Radon in 919 houses of 85 counties of Minnesota. The effect of the floor on which it was measured
varies by county; NUTS needs the non-centred form for that, a fit needs neither.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

DATA = Path(__file__).parent / "data"


def main(output: Path | None = None) -> None:
    fits, chains = {}, {}
    for form in ("centered", "noncentered"):
        model = sr.Model(DATA / f"radon_{form}.stan", DATA / "radon.data.json")
        fits[form] = sr.fit(model, seed=1)
        chains[form] = sr.nuts(model, engine="stanli", seed=1)
        roots = ", ".join(root.name for root in fits[form].result.roots)
        fit, check = fits[form], chains[form].check
        print(f"{form}: {fit.verdict.name}, {fit.result.n_gradients:,} gradients, roots {roots}")
        print(f"  NUTS, {check.n_gradients:,.0f} gradients: {check.reason}")

    found = sr.compare(fits, chains["noncentered"]).to_dataframe()
    print("\nBoth fits beside NUTS of the non-centred form")
    named = found[found.parameter.isin(["alpha", "mu", "tau", "sigma"])]
    print(named.sort_values("parameter").round(2).to_string(index=False))
    print(f"worst of {len(found) // 2} parameters: {found.w1.max():.2f} sd")

    if output is not None:
        draw(fits, chains).savefig(output / "example_hierarchy.png", dpi=110)


def draw(fits: dict[str, sr.Fit], chains: dict[str, sr.NutsRun]) -> Figure:
    """Show the spread between counties by either form: the fit, and every chain of NUTS."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    for axis, form in zip(figure.subplots(1, 2, sharey=True), fits, strict=True):
        style = {"bins": np.linspace(0, 0.7, 50), "density": True, "histtype": "step"}
        axis.hist(chains[form].draws_xr("tau").tau.T, color=["0.6"] * 4, label="NUTS", **style)
        axis.hist(fits[form].stan_variable("tau"), color="C0", label="fit", **style)
        axis.set(xlabel="tau, spread between counties", yticks=[], title=form)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
