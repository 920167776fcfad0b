"""A production model: the Stan program of the forecasting package prophet, beside CmdStan's NUTS.

    python examples/forecast.py [--output DIR]

Ten years of monthly airline passengers are fitted, and two more forecast. The wheel of prophet
holds the program and a CmdStan executable of it: `pip install prophet`.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

SERIES = Path(__file__).parent / "data" / "air_passengers.json"
PASSENGERS = np.array(json.loads(SERIES.read_text())["passengers"])
N, WAVES, MONTHS = 120, 3, np.arange(len(PASSENGERS))
ANGLES = 2 * np.pi * np.outer(MONTHS, np.arange(1, WAVES + 1)) / 12
SEASON, ONES = np.hstack([np.sin(ANGLES), np.cos(ANGLES)]), np.ones(2 * WAVES)
TIME, BENDS, SCALE = MONTHS / N, np.arange(1, 7) / 7.5, PASSENGERS[:N].max()
DATA = {
    "T": N, "t": TIME[:N], "y": PASSENGERS[:N] / SCALE, "S": len(BENDS), "t_change": BENDS,
    "tau": 0.05, "K": 2 * WAVES, "X": SEASON[:N], "sigmas": 10 * ONES, "s_a": 0 * ONES,
    "s_m": ONES, "cap": np.zeros(N), "trend_indicator": 0,
}  # fmt: skip


def forecast(run: sr.Fit | sr.NutsRun) -> np.ndarray:
    """Quantiles of the passengers in every month, known or to come, in thousands."""
    names = ("k", "m", "delta", "beta", "sigma_obs")
    k, m, delta, beta, sigma = (np.concatenate(run.draws.posterior[name]) for name in names)
    trend = np.outer(k, TIME) + m[:, None] + delta @ np.clip(TIME - BENDS[:, None], 0, None)
    noise = sigma[:, None] * np.random.default_rng(1).normal(size=trend.shape)
    return SCALE * np.quantile(trend * (1 + beta @ SEASON.T) + noise, [0.05, 0.5, 0.95], axis=0)


def main(output: Path | None = None) -> None:
    if (found := importlib.util.find_spec("prophet")) is None or found.origin is None:
        raise SystemExit("The program is in the wheel of prophet: pip install prophet")
    folder = Path(found.origin).parent / "stan_model"
    model = sr.Model(folder / "prophet.stan", DATA)
    fit, nuts = sr.fit(model, seed=1), sr.nuts(model, exe=folder / "prophet_model.bin", seed=1)
    print(f"{fit.verdict.name}; {fit.result.n_gradients:,} gradients; NUTS {nuts.n_gradients:,}")
    print(sr.compare(fit, nuts).to_dataframe().head(3).round(2).to_string(index=False))
    axis = Figure(figsize=(7, 3.4), layout="constrained").subplots()
    years = 1949 + MONTHS / 12
    axis.plot(years, PASSENGERS, "k.", label="passengers, thousands")
    for name, run in (("fit", fit), ("CmdStan's NUTS", nuts)):
        low, middle, high = forecast(run)
        print(f"July 1960 by {name}: {middle[138]:.0f} ({low[138]:.0f} to {high[138]:.0f})")
        axis.fill_between(years[N:], low[N:], high[N:], alpha=0.4, label=name)
    if output is not None:
        axis.legend()
        axis.figure.savefig(output / "example_forecast.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
