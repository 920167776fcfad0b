"""The study of mode collapse, in short."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from places import ROOT


@pytest.fixture(scope="module")
def study() -> ModuleType:
    folder = ROOT / "benchmarks"
    sys.path.insert(0, str(folder))  # its table maker stands beside it
    try:
        spec = importlib.util.spec_from_file_location("study", folder / "mode_collapse.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


@pytest.mark.slow
def test_study_in_short(study: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(study, "DISTANCES", (3.0,))
    monkeypatch.setattr(study, "SEEDS", range(2))
    monkeypatch.setattr(study, "CURVE", np.array([1.0, 3.0]))
    monkeypatch.setattr(study, "surviving", lambda m, w, starts: np.linspace(0, 1, len(starts)))
    monkeypatch.setattr(study, "IMAGES", tmp_path)
    monkeypatch.setattr(study, "PAGE", tmp_path / "page.md")
    study.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "in 4 of 4 fits" in page
    assert page.count("| collapsed |") == 2  # MFVI, at either weight
    assert len(list(tmp_path.glob("mode_collapse_*.png"))) == 6


def test_exact_mean_field_optimum(study: ModuleType) -> None:
    kl, mass = study.mean_field_optimum(3.0, 0.3)
    assert kl == pytest.approx(np.log(1 / 0.7), abs=1e-3)
    assert mass < 1e-3
    # With one mode there is nothing to lose; the grid ends at five standard deviations (1e-6).
    kl, _ = study.mean_field_optimum(0.0, 0.5)
    assert kl == pytest.approx(0, abs=1e-5)


def test_where_mean_field_starts_decides(study: ModuleType) -> None:
    masses = study.surviving(3.0, 0.3, np.array([[-3.0, -3.0], [3.0, 3.0]]))
    assert masses == pytest.approx([1.0, 0.0], abs=0.01)
