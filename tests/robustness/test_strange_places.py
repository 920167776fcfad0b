"""Caches that cannot be written, homes and working folders that are not there, strange files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import stanrovi as sr
from stanrovi.errors import DrawsError, UsageError
from stanrovi.io import generations
from stanrovi.runs.workers import Processes

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
IMPORTED = """
import os, tempfile
gone = tempfile.mkdtemp()
os.chdir(gone)
os.rmdir(gone)
from stanrovi.io.generations import import_arviz
assert hasattr(import_arviz(), "loo")
assert os.environ["XDG_CACHE_HOME"] == "/proc/none"
"""


@pytest.mark.slow
def test_arviz_is_imported_where_it_can_write_nothing(tmp_path: Path) -> None:
    folders = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME"), "/proc/none")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTED],
        env={**os.environ, **folders, "TMPDIR": str(tmp_path)},
        check=True,
        timeout=120,
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("stanrovi")]


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ArviZ does when it is imported, in its place; gives the caches it has written to."""
    written: list[str] = []

    def imported() -> str:
        cache = Path(os.environ["XDG_CACHE_HOME"], "arviz")
        cache.mkdir(parents=True)
        written.append(str(cache))
        return f"arviz {Path.home()} {Path.cwd()}"

    monkeypatch.setattr(generations, "_arviz", imported)
    generations.import_arviz.cache_clear()
    monkeypatch.setattr(generations, "import_arviz", generations.import_arviz.__wrapped__)
    return written


@pytest.mark.parametrize("cache", ["/proc/none", "/dev/null", "/dev/null/x"])
def test_a_cache_is_lent_and_taken_back(
    needy: list[str], monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert generations.import_arviz().startswith("arviz")
    assert os.environ["XDG_CACHE_HOME"] == cache
    assert needy
    assert not Path(needy[0]).exists()


def test_a_home_and_a_working_folder_are_lent(
    needy: list[str], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", homeless)
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    assert generations.import_arviz().startswith("arviz")
    assert "HOME" not in os.environ
    with pytest.raises(FileNotFoundError):
        Path.cwd()


def test_an_arviz_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ValueError("Key stats.ci_prob: 7")

    monkeypatch.setattr(generations, "_arviz", broken)
    with pytest.raises(UsageError, match=r"ArviZ cannot be imported .*ci_prob: 7.*arvizrc"):
        generations.import_arviz.__wrapped__()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder, and delete it; gives one that is there."""
    gone, there = tmp_path / "gone", tmp_path / "there"
    gone.mkdir()
    there.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    (there / "n.stan").write_text(NORMAL)
    return there


def test_a_working_folder_that_has_been_deleted(nowhere: Path) -> None:
    fit = sr.fit(nowhere / "n.stan", method="gaussian", seed=1, draws=50)
    sr.write_netcdf(fit, nowhere / "n.nc")
    sr.to_arviz(fit)
    sr.read_draws(nowhere / "n.nc")
    assert sr.Model("ar").dim > 0
    for attempt in (
        lambda: sr.Model("n.stan"),
        lambda: sr.read_draws("n.nc"),
        lambda: sr.write_netcdf(fit, "n.nc"),
        lambda: fit.save("n.nc"),
        lambda: fit.save_csv("n"),
        lambda: sr.Model("../there/n.stan", include_paths=["."]),
        lambda: sr.Model(nowhere / "n.stan", Path("n.json")),
        lambda: Processes(1),
    ):
        with pytest.raises(UsageError, match="working folder, which cannot be used"):
            attempt()


def group(shape: tuple[int, ...] = (2, 50), name: str = "x", **attrs: Any) -> xr.Dataset:
    """Draws of one variable."""
    dims = ("chain", "draw", *(f"d{i}" for i in range(len(shape) - 2)))
    values = np.random.default_rng(0).normal(size=shape)
    return xr.Dataset({name: (dims, values)}, attrs=attrs)


def of_type(values: Any) -> xr.Dataset:
    """Draws that are no numbers."""
    return xr.Dataset({"x": (("chain", "draw"), np.full((2, 5), values))})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"posterior": group((0, 50))}, "no draws of x: 0 chains"),
        ({"posterior": group((2, 0))}, "no draws of x: 2 chains of 0"),
        ({"prior": group()}, "no posterior group"),
        ({"posterior": xr.Dataset()}, "no numeric variables"),
        ({"posterior": group() * np.nan}, "NaN or infinite"),
        ({"posterior": of_type("a")}, "no numeric variables"),
        ({"posterior": group().isel(chain=0)}, "draws need chain and draw"),
        (
            {"posterior": group(), "unconstrained_posterior": group((2, 40, 3), "unconstrained")},
            "unconstrained has 2 chains of 40",
        ),
    ],
)
def test_files_that_hold_no_draws(tmp_path: Path, groups: dict[str, Any], message: str) -> None:
    tree = xr.DataTree.from_dict(groups)
    tree.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    for read in (lambda: sr.from_arviz(tree), lambda: sr.read_draws(tmp_path / "x.nc")):
        with pytest.raises(DrawsError, match=message):
            read()


def test_complex_draws() -> None:
    with pytest.raises(DrawsError, match="no numeric variables"):
        sr.from_arviz(xr.DataTree.from_dict({"posterior": of_type(1j)}))  # few versions write it


@pytest.mark.parametrize("value", [np.arange(3), np.array(["a", "b"]), 3, 1.5, "", np.nan])
def test_attributes_of_any_type(tmp_path: Path, value: Any) -> None:
    names = (
        "method", "model", "seed", "parameters", "variables", "engine", "trusted", "reason",
        "verdict", "modes", "trace", "data_hash", "n_gradients", "iter_warmup", "max_treedepth",
    )  # fmt: skip
    tree = xr.DataTree.from_dict({"posterior": group(**dict.fromkeys(names, value))})
    tree.attrs.update(dict.fromkeys(names, value))
    draws = sr.from_arviz(tree)
    assert isinstance(draws.method, str)
    assert draws.method
    assert draws.parameters == ("x",)
    sr.write_netcdf(draws, tmp_path / "x.nc")
    assert sr.read_draws(tmp_path / "x.nc").method == draws.method


def test_statistics_of_other_draws_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    tree = xr.DataTree.from_dict({"posterior": group(), "sample_stats": group((2, 40), "lp")})
    assert not sr.from_arviz(tree).sample_stats
    assert "lp in sample_stats are of other draws" in caplog.text


def test_integers_beyond_64_bits_with_sign_keep_their_sign() -> None:
    values = np.full((2, 5), 2**63, dtype=np.uint64)
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"x": (("chain", "draw"), values)})})
    assert (sr.from_arviz(tree).posterior["x"] == 2.0**63).all()
