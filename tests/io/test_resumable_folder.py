"""Folders that keep finished runs: begun, gone on with, begun anew, refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from stanrovi.errors import OutputError, UsageError
from stanrovi.io.folders import KEPT, LEDGER, filled_folder, resumable_folder
from stanrovi.io.ledger import Ledger, agreed_seed, n_done


def interrupted(folder: Path, *keys: str) -> None:
    """End in the middle, after these runs."""
    with suppress(KeyboardInterrupt), resumable_folder(folder) as path:
        agreed_seed(path, {"model": "m"}, None)
        with Ledger(path) as ledger:
            for key in keys:
                ledger.append(key, {"value": 1})
        raise KeyboardInterrupt


def finished(folder: Path, text: str, **how: bool) -> None:
    with resumable_folder(folder, **how) as path:
        with Ledger(path) as ledger:
            ledger.append(text, {"value": 2})
        with filled_folder(folder, overwrite=True, own=[path]) as staging:
            (staging / f"{text}.txt").write_text(text)


def test_finished_runs_outlive_an_interruption(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    interrupted(folder, "a", "b")
    assert n_done(folder / LEDGER) == 2
    with (
        pytest.raises(OutputError, match=r"holds 2 finished runs; .*--resume.*--overwrite"),
        resumable_folder(folder),
    ):
        pass
    finished(folder, "c", resume=True)
    assert n_done(folder / LEDGER) == 3
    assert (folder / "c.txt").read_text() == "c"


def test_what_is_made_again_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    finished(tmp_path, "a")
    finished(tmp_path, "b", resume=True)
    assert n_done(tmp_path / LEDGER) == 2
    assert {path.name for path in tmp_path.glob("[!.]*")} == {LEDGER, "b.txt"}
    (tmp_path / "mine").touch()
    finished(tmp_path, "c", overwrite=True)
    assert n_done(tmp_path / LEDGER) == 1
    assert {path.name for path in tmp_path.glob("[!.]*")} == {LEDGER, "c.txt", "mine"}


def test_what_is_kept_beside_goes_when_begun_anew_and_holds_a_ledger_without_runs(
    tmp_path: Path,
) -> None:
    interrupted(tmp_path, "a")
    (tmp_path / KEPT).mkdir()
    (tmp_path / KEPT / "a.nc").touch()
    (tmp_path / "references").mkdir()
    with resumable_folder(tmp_path, overwrite=True, beside="references") as path:
        agreed_seed(path, {}, 1)
    assert not (tmp_path / KEPT).exists()
    assert path.exists()
    with resumable_folder(tmp_path, resume=True):
        pass
    assert not path.exists()


def test_another_command_may_take_the_folder_over(tmp_path: Path) -> None:
    """The ledger is listed as ours, as the other files are."""
    finished(tmp_path, "a")
    with filled_folder(tmp_path, overwrite=True) as staging:
        (staging / "other").touch()
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"other"}


def test_nothing_is_left_where_no_run_was_finished(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    interrupted(folder)
    assert not folder.exists()
    folder.mkdir()
    interrupted(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    for resume in (True, False):
        with (
            pytest.raises(OutputError, match="is not empty"),
            resumable_folder(tmp_path, resume=resume),
        ):
            pass
    (tmp_path / LEDGER).write_text("notes of mine\n")
    for how in ({"resume": True}, {"overwrite": True}):
        with (
            pytest.raises(OutputError, match="holds no records of runs"),
            resumable_folder(tmp_path, **how),
        ):
            pass
    assert (tmp_path / LEDGER).read_text() == "notes of mine\n"


def test_a_ledger_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    finished(tmp_path, "a")
    with (
        Ledger(tmp_path / LEDGER),
        pytest.raises(OutputError, match="is being written by another run"),
        resumable_folder(tmp_path, overwrite=True),
    ):
        pass
    assert n_done(tmp_path / LEDGER) == 1


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="ask for one"),
        resumable_folder(tmp_path, resume=True, overwrite=True),
    ):
        pass


def test_runs_are_of_one_request(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    drawn = agreed_seed(path, {"model": "m", "draws": 9}, None)
    assert agreed_seed(path, {"model": "m", "draws": 9}, None) == drawn
    assert agreed_seed(path, {"model": "m", "draws": 9}, drawn) == drawn
    assert n_done(path) == 0
    bare = tmp_path / "bare.jsonl"
    with Ledger(bare) as ledger:
        ledger.append("a", {})
    with pytest.raises(OutputError, match=r"do not tell what they are of; .*--overwrite"):
        agreed_seed(bare, {"model": "m"}, None)
    with pytest.raises(OutputError, match=r"are of draws 9, not 8; .*--overwrite"):
        agreed_seed(path, {"model": "m", "draws": 8}, None)
    with pytest.raises(OutputError, match=f"are of seed {drawn}, not {drawn + 1}"):
        agreed_seed(path, {"model": "m", "draws": 9}, drawn + 1)


def test_what_was_edited_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    before = {"program_hash": "4c43", "data_hash": "aa00"}
    agreed_seed(path, before, 1)
    for name, words in (("program_hash", "are of another program"), ("data_hash", "other data")):
        with pytest.raises(OutputError, match=f"{words}, or .* edited; .*--overwrite") as error:
            agreed_seed(path, before | {name: "6fec"}, 1)
        assert "6fec" not in str(error.value)


def test_a_finished_result_without_runs_is_not_gone_on_with(tmp_path):
    with filled_folder(tmp_path / "out") as staging:
        (staging / "report.html").write_text("whole")
    with (
        pytest.raises(OutputError, match="holds a finished result"),
        resumable_folder(tmp_path / "out", resume=True),
    ):
        pass
    assert (tmp_path / "out" / "report.html").read_text() == "whole"
