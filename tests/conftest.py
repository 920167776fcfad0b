"""Shared fixtures: models loaded once, the real CmdStan executable, its data."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from stanrovi.stan.model import Model

# A job in the background of a shell ignores Ctrl-C, and so would all that tests start from it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine must not fail a test, nor one run find what another does not.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("steady")

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file into the test's own folder and return its path."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture(scope="session")
def eight_schools() -> Model:
    """The bundled non-centred eight schools in the embedded engine."""
    return Model("eight_schools", engine="stanli")


@pytest.fixture(scope="session")
def prophet_folder() -> Path:
    """Folder of the prophet wheel's program and its CmdStan executable."""
    spec = importlib.util.find_spec("prophet")
    folder = Path(spec.origin).parent / "stan_model" if spec and spec.origin else None
    if folder is None or not (folder / "prophet_model.bin").exists():
        pytest.skip("the prophet wheel, which holds a real CmdStan executable, is not installed")
    return folder


@pytest.fixture(scope="session")
def prophet_data() -> dict[str, Any]:
    """Eighty days with a bend in the trend and a weekly season, the same every time."""
    rng = np.random.default_rng(20240101)
    n_days, n_bends = 80, 5
    t = np.linspace(0.0, 1.0, n_days)
    angle = 2 * np.pi * np.arange(n_days) / 7
    X = np.column_stack([np.sin(angle), np.cos(angle)])
    trend = 0.3 + 0.8 * t - 0.5 * np.clip(t - 0.5, 0, None)
    y = trend + X @ [0.15, -0.1] + rng.normal(0, 0.08, n_days)
    return {
        "T": n_days,
        "K": 2,
        "S": n_bends,
        "t": t,
        "cap": np.zeros(n_days),
        "y": y,
        "t_change": np.linspace(0.0, 0.8, n_bends + 1)[1:],
        "X": X,
        "sigmas": np.full(2, 10.0),
        "tau": 0.05,
        "trend_indicator": 0,
        "s_a": np.ones(2),
        "s_m": np.zeros(2),
    }


@pytest.fixture(scope="session")
def prophet(prophet_folder: Path, prophet_data: dict[str, Any]) -> Model:
    """The prophet program in the embedded engine."""
    return Model(prophet_folder / "prophet.stan", prophet_data)
