"""Fit your own Stan program from Python, and check the fit against NUTS.

python examples/own_model.py
"""

from __future__ import annotations

from pathlib import Path

import stanrovi as sr

PROGRAM = Path(__file__).with_name("dose_response.stan")
DATA = {
    "N": 8,
    "log_dose": [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5],
    "tested": [20, 20, 20, 20, 20, 20, 20, 20],
    "responded": [1, 2, 2, 5, 8, 14, 18, 19],
}


def main() -> None:
    model = sr.Model(PROGRAM, DATA)

    # Milliseconds; the verdict says whether the fit may be trusted, without any reference.
    fit = sr.fit(model, method="rovi", seed=1)
    print(fit)
    print(f"verdict: {fit.result.verdict.name} ({'; '.join(fit.result.verdict.reasons)})")

    # NUTS is the reference; the comparison says whether it may be one.
    nuts = sr.nuts(model, seed=1)
    mean_field = sr.fit(model, method="mfvi", seed=1)
    comparison = sr.compare([mean_field, fit], nuts)
    print()
    print(comparison)

    # Draws are NumPy arrays under Stan's names, shape (chain, draw, ...), and ArviZ's containers.
    ed50 = fit.draws.posterior["ed50"]
    print(f"\nED50: {ed50.mean():.2f} +- {ed50.std():.2f}")
    print(fit.to_arviz())


if __name__ == "__main__":
    main()
