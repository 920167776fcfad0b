"""A production model: the Stan program of the forecasting package prophet, beside CmdStan's NUTS.

    python examples/forecast.py [--output DIR]

Ten years of monthly airline passengers are fitted, two more forecast; needs the wheel of prophet.
"""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import stanrovi as sr

PASSENGERS = np.array(json.loads((Path(__file__).parent / "data/air_passengers.json").read_text()))
N, WAVES, YEARS = 120, 3, np.arange(len(PASSENGERS)) / 12
ANGLES = 2 * np.pi * np.outer(YEARS, np.arange(1, WAVES + 1))
SEASON, ONES = np.hstack([np.sin(ANGLES), np.cos(ANGLES)]), np.ones(2 * WAVES)
TIME, BENDS, TOP = YEARS / 10, np.arange(1, 7) / 7.5, PASSENGERS[:N].max()
TREND = {"S": len(BENDS), "t_change": BENDS, "tau": 0.05, "trend_indicator": 0, "cap": 0 * TIME[:N]}
YEAR = {"K": 2 * WAVES, "X": SEASON[:N], "sigmas": 10 * ONES, "s_a": 0 * ONES, "s_m": ONES}
DATA = {"T": N, "t": TIME[:N], "y": PASSENGERS[:N] / TOP, **TREND, **YEAR}


def forecast(run: sr.Fit | sr.NutsRun) -> np.ndarray:
    """Give quantiles (5%, 50%, 95%) of the passengers in every month, known or to come."""
    draws = run.stan_variables()
    k, m, sigma = (draws[name][:, None] for name in ("k", "m", "sigma_obs"))
    trend = k * TIME + m + draws["delta"] @ np.clip(TIME - BENDS[:, None], 0, None)
    noise = sigma * np.random.default_rng(1).normal(size=trend.shape)
    return TOP * np.percentile(trend * (1 + draws["beta"] @ SEASON.T) + noise, [5, 50, 95], axis=0)


def main(output: Path | None = None) -> None:
    if (found := importlib.util.find_spec("prophet")) is None:
        raise SystemExit("The program is in the wheel of prophet: pip install prophet")
    folder = Path(found.origin).parent / "stan_model"
    model = sr.Model(folder / "prophet.stan", DATA)
    fit, nuts = sr.fit(model, seed=1), sr.nuts(model, exe=folder / "prophet_model.bin", seed=1)
    print(f"{fit.verdict.name}: {fit.verdict.reasons[0]}")
    print(f"{fit.result.n_gradients:,} gradients; CmdStan's NUTS {nuts.n_gradients:,}\n")
    print(sr.compare(fit, nuts).to_dataframe().head(3).round(2).to_string(index=False))
    axis = Figure(figsize=(7, 3.4), layout="constrained").subplots()
    axis.plot(1949 + YEARS, PASSENGERS, "k.", label="passengers, thousands")
    for name, run in (("fit", fit), ("CmdStan's NUTS", nuts)):
        low, middle, high = forecast(run)
        print(f"July 1960 by {name}: {middle[138]:.0f} ({low[138]:.0f} to {high[138]:.0f})")
        axis.fill_between(1949 + YEARS[N:], low[N:], high[N:], alpha=0.4, label=name)
    if output is not None:
        axis.legend(loc="upper left")
        axis.figure.savefig(output / "example_forecast.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the picture")
    main(parser.parse_args().output)
