"""The examples run, and show what their text says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from places import EXAMPLES


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_own_model(capsys: pytest.CaptureFixture[str]) -> None:
    load("own_model").main()
    printed = capsys.readouterr().out
    assert "verdict: ok" in printed
    assert "dose_response with nuts (trusted)" in printed
    assert "ED50: 1.2" in printed


def test_own_density(capsys: pytest.CaptureFixture[str]) -> None:
    load("own_density").main()
    printed = capsys.readouterr().out
    assert "mfvi: suspect, KL 0.6" in printed
    assert "rovi: ok, KL 0.00" in printed
    # 2 (1 + Euler's constant) + log |det AXES|
    assert "entropy 3.85 nats" in printed
    assert "mean 0.01, sd 0.99" in printed or "sd 1.00" in printed


@pytest.mark.slow
def test_mode_collapse_in_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = load("mode_collapse")
    monkeypatch.setattr(study, "DISTANCES", (3.0,))
    monkeypatch.setattr(study, "SEEDS", range(2))
    monkeypatch.setattr(study, "CURVE", np.array([1.0, 3.0]))
    monkeypatch.setattr(study, "surviving", lambda m, w, starts: np.linspace(0, 1, len(starts)))
    monkeypatch.setattr(sys, "argv", ["mode_collapse.py", "--output", str(tmp_path)])
    study.main()
    printed = capsys.readouterr().out
    assert "within the computed bound in 4 of 4 fits" in printed
    assert printed.count("collapsed") == 2  # MFVI, at either weight
    assert len(list(tmp_path.glob("mode_collapse_*.png"))) == 6


def test_exact_mean_field_optimum() -> None:
    study = load("mode_collapse")
    kl, mass = study.mean_field_optimum(3.0, 0.3)
    assert kl == pytest.approx(np.log(1 / 0.7), abs=1e-3)
    assert mass < 1e-3
    # With one mode there is nothing to lose; the grid ends at five standard deviations (1e-6).
    kl, _ = study.mean_field_optimum(0.0, 0.5)
    assert kl == pytest.approx(0, abs=1e-5)


def test_where_mean_field_starts_decides() -> None:
    masses = load("mode_collapse").surviving(3.0, 0.3, np.array([[-3.0, -3.0], [3.0, 3.0]]))
    assert masses == pytest.approx([1.0, 0.0], abs=0.01)
