"""What is named as the model: which file is taken, and what is said where it is none."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stanrovi.errors import DataError, ModelError, UsageError
from stanrovi.stan.model import Model

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
MEAN = "data { int N; } parameters { real x; } model { x ~ normal(N, 1); }"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that holds my.stan and what people give instead of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.stan").write_text(NORMAL)
    for name in ("my.hpp", "my.json", "draws.nc", "notes.txt"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "my").touch(mode=0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("my", r"is an executable; .*--exe.* Did you mean 'my\.stan'"),
        ("my.hpp", r"C\+\+ that stanc made .* Did you mean 'my\.stan'"),
        ("my.json", r"is data; .*--data.* Did you mean 'my\.stan'"),
        ("draws.nc", "is draws; .*stanrovi report"),
        ("notes.txt", "neither a .stan file nor a compiled library"),
        ("my.stna", r"Did you mean 'my\.stan'"),
        ("myy.stan", r"no such file: myy\.stan\. Did you mean 'my\.stan'"),
        ("eight_schols.stan", "Did you mean 'eight_schools'"),
        ("quite_another", "Bundled models: ar, bimodal_gaussian"),
        (".", r"is a folder; give the path of a \.stan file in it, such as both\.stan, my\.stan"),
        ("empty", "which holds none yet"),
        ("both", r"which holds none yet\. Did you mean 'both\.stan'"),
    ],
)
def test_what_is_no_program_is_named_with_the_cure(here: Path, program: str, message: str) -> None:
    for folder in ("empty", "both"):
        (here / folder).mkdir()
    (here / "both.stan").write_text(NORMAL)
    with pytest.raises(UsageError, match=message):
        Model(program)


def test_a_bundled_name_is_the_bundled_model_and_a_file_of_that_name_is_told(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Model("eight_schools").dim == 10
    assert caplog.text == ""
    (here / "eight_schools.stan").write_text(NORMAL)
    assert Model("eight_schools").dim == 10
    assert "write eight_schools.stan" in caplog.text
    assert Model("eight_schools.stan").dim == 1


def test_data_beside_a_program_are_taken_where_it_declares_some(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="stanrovi.stan.locate")
    (here / "mean.stan").write_text(MEAN)
    with pytest.raises(DataError, match=r"declares data \(N\).*mean\.data\.json or mean\.json"):
        Model("mean.stan")
    (here / "mean.json").write_text('{"N": 1}')
    assert Model("mean.stan").data == {"N": 1}
    (here / "mean.data.json").write_text('{"N": 2}')
    assert Model("mean.stan").data == {"N": 2}
    assert "data: mean.data.json, found beside the program" in caplog.text
    assert Model("mean.stan", {"N": 3}).data == {"N": 3}
    with pytest.raises(DataError, match="the data lack N"):
        Model("mean.stan", {})
    assert Model("my.stan").data == {}  # declares none, and my.json is not read


def test_the_home_folder_is_that_of_the_user(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert Model("~/my.stan", "~/my.json").name == "my"


def test_a_lost_include_asks_for_its_folder(here: Path) -> None:
    (here / "deep").mkdir()
    (here / "deep" / "f.stan").write_text("real twice(real x) { return 2 * x; }")
    (here / "in.stan").write_text(
        "functions {\n#include f.stan\n}\nparameters { real x; } model { x ~ normal(twice(1), 1); }"
    )
    with pytest.raises(ModelError, match=r"Name the folder of f\.stan: --include-path"):
        Model("in.stan")
    assert Model("in.stan", include_paths=["deep"]).dim == 1
