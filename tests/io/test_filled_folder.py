"""Folders that change at one stroke: killed at every step, filled by several, of every kind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from stanrovi.errors import OutputError
from stanrovi.io import change, files, folders
from stanrovi.io.files import in_turn, write_text
from stanrovi.io.folders import LEDGER, MANIFEST, filled_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are exchanged on Unix")

NEW = {"a": "new", "plots/b": "new", "d": "new"}


def fill(folder: Path, content: dict[str, str], **how: object) -> None:
    with filled_folder(folder, **how) as place:  # type: ignore[arg-type]
        for name, text in content.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    """Every file but our list, as text by path; links to folders too."""
    found = {}
    for place, below, names in os.walk(folder):
        links = [name for name in below if (Path(place) / name).is_symlink()]
        for name in [*names, *links]:
            path = Path(place) / name
            text = os.readlink(path) if path.is_symlink() else path.read_text()
            found[path.relative_to(folder).as_posix()] = text
    found.pop(MANIFEST, None)
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with an earlier result, one of its files changed since, and files of others."""
    folder = tmp_path / "parent" / "out"
    fill(folder, {"a": "old", "plots/b": "old", "plots/c": "old", "e": "old"})
    write_text(folder / "e", "changed", overwrite=True)
    write_text(folder / "mine", "mine")
    write_text(folder / "plots" / "mine", "mine")
    (folder / "sub" / "deep").mkdir(parents=True)
    write_text(folder / "sub" / "deep" / "mine", "mine")
    (folder / "link").symlink_to("sub")
    return folder


OTHERS = {
    "e": "changed", "mine": "mine", "plots/mine": "mine", "sub/deep/mine": "mine", "link": "sub",
}  # fmt: skip
BEFORE = OTHERS | {"a": "old", "plots/b": "old", "plots/c": "old"}
AFTER = OTHERS | NEW


def test_what_stays_and_what_goes(old: Path) -> None:
    old.chmod(0o750)
    (old / "sub").chmod(0o700)
    number = (old / "sub" / "deep" / "mine").stat().st_ino
    fill(old, NEW, overwrite=True)
    assert content(old) == AFTER
    assert old.stat().st_mode & 0o777 == 0o750
    assert (old / "sub").stat().st_mode & 0o777 == 0o700
    assert (old / "sub" / "deep" / "mine").stat().st_ino == number
    assert os.listdir(old.parent) == ["out"]
    assert json.loads((old / MANIFEST).read_text()).keys() == NEW.keys()


@pytest.mark.parametrize("at_once", [True, False])
def test_without_a_list_nothing_goes_but_what_is_replaced(
    at_once: bool, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.chdir(old)
    fill(old, NEW, overwrite=True, listed=False)
    assert content(old) == BEFORE | NEW
    assert "plots/c" in json.loads((old / MANIFEST).read_text())


@pytest.mark.parametrize("at_once", [True, False])
def test_without_a_list_what_is_stale_goes(
    at_once: bool, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.chdir(old)
    fill(old, NEW, overwrite=True, listed=False, stale=["e", "plots/c"])
    expected = BEFORE | NEW
    del expected["e"], expected["plots/c"]
    assert content(old) == expected


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_filled_folder import NEW, fill

folder, step = Path(sys.argv[1]), int(sys.argv[2])
passed = 0

def die(event, arguments):
    global passed
    if event.startswith(("os.", "open", "ctypes.", "shutil.")) and event != "os.listdir":
        passed += 1
        if passed == step:
            os._exit(9)

for step in range(step, step + int(sys.argv[4])):
    child = os.fork()
    if child == 0:
        sys.addaudithook(die)
        fill(folder, NEW, overwrite=True)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "over an earlier result"])
def test_whatever_step_a_run_is_killed_at(fresh: bool, old: Path, tmp_path: Path) -> None:
    """The folder is as it was or as it will be, and the next run removes what is left."""
    folder = old.with_name("fresh") if fresh else old
    before, after = ({}, NEW) if fresh else (BEFORE, AFTER)
    words = [str(folder), "1", str(Path(__file__).parent), "1000"]
    steps, ends = 0, set()
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KILLED, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        while process.stdout.readline() == "9\n":
            steps += 1
            found = {n: text for n, text in content(folder).items() if n[:11] != ".unfinished"}
            assert found in (before, after), steps
            ends.add(found == after)
            if found == after:  # begin again from the earlier result
                fill(folder, {"a": "old", "plots/b": "old", "plots/c": "old"}, overwrite=True)
                if fresh:
                    fill(folder, {}, overwrite=True)
                    (folder / MANIFEST).unlink()
                    folder.rmdir()
            process.stdin.write("\n")
            process.stdin.flush()
        process.kill()
    assert steps > 40
    assert ends == {True, False}
    fill(folder, NEW, overwrite=True)
    assert content(folder) == after
    assert {name for name in os.listdir(folder.parent) if name[0] == "."} == set()


@pytest.mark.parametrize("function", ["_exchange", "_take_after"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOSPC])
def test_where_folders_cannot_be_exchanged(
    function: str, number: int, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File by file; but not where there is no room for it."""

    def refuse(*arguments: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(change, function, refuse)
    if number == errno.ENOSPC:
        with pytest.raises(OutputError, match=r"out cannot be written \(refused\)"):
            fill(old, NEW, overwrite=True)
        assert content(old) == BEFORE
    else:
        inode = old.stat().st_ino
        fill(old, NEW, overwrite=True)
        assert content(old) == AFTER
        assert old.stat().st_ino == inode
    assert os.listdir(old.parent) == ["out"]


def test_file_systems_without_links(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    fill(old, NEW, overwrite=True)
    assert content(old) == AFTER


def test_file_by_file_old_and_new_are_never_mixed(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails, and the next run knows all files that are ours."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EINVAL, "refused")

    real, left = os.replace, 0

    def replace(source: Path, target: Path) -> None:
        nonlocal left
        if not left:
            raise OSError(errno.EIO, "broken")
        left -= 1
        real(source, target)

    monkeypatch.setattr(change, "_exchange", refuse)
    for count in range(5):
        left = count
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(OutputError, match=r"cannot be written \(broken\)"):
            fill(old, NEW, overwrite=True)
        monkeypatch.setattr(os, "replace", real)
        found = {text for name, text in content(old).items() if name not in OTHERS}
        assert found <= {"old"} or found <= {"new"}
        fill(old, {"a": "old"}, overwrite=True)
        assert content(old) == OTHERS | {"a": "old"}


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with an earlier result"])
def test_the_current_folder_stays_the_same_folder(
    empty: bool, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = old.with_name("empty") if empty else old
    folder.mkdir(exist_ok=True)
    for current in [folder] if empty else [folder, folder / "sub"]:
        monkeypatch.chdir(current)
        inode = folder.stat().st_ino
        fill(Path(os.path.relpath(folder)), NEW, overwrite=True)
        assert folder.stat().st_ino == inode
        assert content(folder) == (NEW if empty else AFTER)
        assert Path.cwd() == current


def test_links_to_a_folder_lead_to_the_new_one(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    fill(link, NEW, overwrite=True)
    assert link.is_symlink()
    assert content(old) == AFTER


def test_a_parent_that_cannot_be_written(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: the administrator, as whom tests may run, writes everywhere."""
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if Path(target).parent == old.parent:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    fill(old, NEW, overwrite=True)
    assert content(old) == AFTER


FILL = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_filled_folder import NEW, fill

fill(Path(sys.argv[1]), NEW, overwrite=True)
"""


@pytest.mark.skipif(
    bool(
        subprocess.run(
            "unshare -m mount -t tmpfs x /mnt", shell=True, capture_output=True
        ).returncode
    ),
    reason="needs Linux and its administrator",
)
def test_what_is_mounted_in_a_folder_stays(old: Path, tmp_path: Path) -> None:
    """It does not move with the old folder, which is removed."""
    volume, other = tmp_path / "volume", tmp_path / "other"
    volume.mkdir()
    (old / "a mount").mkdir()
    words = [str(old), str(volume), sys.executable, FILL, str(Path(__file__).parent), str(other)]
    script = (
        'mount --bind "$1" "$0/a mount" && "$2" -c "$3" "$0" "$4" && echo mounted > "$1/mine" '
        '&& "$2" -c "$3" "$5" "$4" && cat "$0/a mount/mine"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "mounted\n"), done.stderr
    assert content(volume) == {"mine": "mounted\n"}
    assert content(old) == AFTER
    assert set(os.listdir(old.parent)) == {"out"}


def test_unfinished_work_in_which_something_is_mounted_is_left_alone(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: a mount in a folder that the dead have left."""
    left = old.parent / ".unfinished-12345678"
    (left / "files").mkdir(parents=True)
    monkeypatch.setattr(files, "holds_mount", lambda folder: folder == left)
    fill(old, NEW, overwrite=True)
    assert left.exists()
    monkeypatch.undo()
    fill(old, NEW, overwrite=True)
    assert not left.exists()


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path.cwd().stat().st_dev,
    reason="needs another file system",
)
def test_a_folder_below_on_another_file_system(old: Path) -> None:
    """By a link: files that are there are replaced, and links are, not what they lead to."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        there = Path(place, "plots")
        shutil.move(old / "plots", there)
        (old / "plots").symlink_to(there)
        (there / "b").unlink()
        (there / "b").symlink_to("mine")
        fill(old, NEW, overwrite=True)
        assert content(there) == {"b": "new", "c": "old", "mine": "mine"}
        found = content(old)
        assert {name: found[name] for name in ("a", "d", "mine", "plots")} == {
            "a": "new", "d": "new", "mine": "mine", "plots": str(there),
        }  # fmt: skip


def test_a_folder_in_the_place_of_a_file_is_refused_at_once(old: Path) -> None:
    (old / "d").mkdir()
    (old / "d" / "mine").write_text("mine")
    for names in (["d"], []):  # known beforehand, and not
        with pytest.raises(OutputError, match=r"out/d is a folder, and a file is to be written"):
            fill(old, NEW, overwrite=True, names=names)
        assert content(old) == BEFORE | {"d/mine": "mine"}
    with (
        pytest.raises(OutputError, match="out/d is a folder"),
        filled_folder(old, overwrite=True, names=["d"]),
    ):
        raise AssertionError
    with (
        pytest.raises(OutputError, match=r"out/a is a file, and a folder is needed"),
        filled_folder(old, overwrite=True, names=["a/b"]),
    ):
        raise AssertionError


@pytest.mark.skipif(not shutil.which("chattr"), reason="needs Linux")
@pytest.mark.parametrize("name", ["a", "plots/c"], ids=["replaced", "taken away"])
def test_a_protected_file_changes_nothing(name: str, old: Path) -> None:
    done = subprocess.run(["chattr", "+i", old / name], capture_output=True)
    if done.returncode:
        pytest.skip("needs the administrator and a file system with attributes")
    try:
        with pytest.raises(OutputError, match=rf"out/{name} is protected from changes"):
            fill(old, NEW, overwrite=True)
        assert content(old) == BEFORE
        assert os.listdir(old.parent) == ["out"]
    finally:
        subprocess.run(["chattr", "-i", old / name], check=True)


@pytest.mark.parametrize("names", [NEW, {"a": "new"}], ids=["written to", "emptied"])
def test_a_closed_folder_below_changes_nothing(
    names: dict[str, str], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the administrator, as whom tests may run, writes everywhere."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "plots")
    with pytest.raises(OutputError, match=r"out/plots is read-only"):
        fill(old, names, overwrite=True)
    assert content(old) == BEFORE


def test_what_comes_meanwhile_stays(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that others write between the links and the exchange are in the new folder."""
    real = change._exchange

    def exchange(first: Path, second: Path) -> None:
        write_text(old / "late", "late")
        write_text(old / "mine", "newer", overwrite=True)
        real(first, second)

    monkeypatch.setattr(change, "_exchange", exchange)
    fill(old, NEW, overwrite=True)
    assert content(old) == AFTER | {"late": "late", "mine": "newer"}


def test_an_old_folder_that_cannot_be_cleared_changes_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = change._exchange

    def exchange(first: Path, second: Path) -> None:
        real(first, second)
        monkeypatch.setattr(change, "_walk", broken)

    def broken(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(change, "_exchange", exchange)
    fill(old, NEW, overwrite=True)
    assert content(old) == AFTER


def test_a_disk_without_room_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**settings: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders.tempfile, "mkdtemp", full)
    with pytest.raises(OutputError, match=r"out cannot be written \(No space left"):
        fill(tmp_path / "out", NEW)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "cure"), [(errno.ENOSPC, "free some space or choose"), (errno.EPERM, "choose")]
)
def test_errors_name_the_file_as_it_was_to_be_and_a_cure(
    number: int, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    out = tmp_path / "out"
    expected = rf"^{out}/a cannot be written \({os.strerror(number)}\); {cure} another path\.$"
    with pytest.raises(OutputError, match=expected), filled_folder(out) as place:
        write_text(place / "a", "new")
    with pytest.raises(OSError, match=f"'{out}/b'"), filled_folder(out) as place:
        (place / "b").unlink()


def test_an_empty_folder_that_is_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def fill_while_another_does() -> None:
        with filled_folder(folder):
            write_text(folder / "a", "theirs")

    with pytest.raises(OutputError, match="is not empty"):
        fill_while_another_does()
    assert content(folder) == {"a": "theirs"}


def test_unfinished_work_of_the_living_is_left_alone(tmp_path: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    for name in (".unfinished-business", ".unfinished-abcd1234"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "novel").touch()  # none of ours, beside the folder
    with filled_folder(folder) as place:
        (place / "a").touch()
        fill(other, NEW)
        write_text(tmp_path / "file", "")
        assert (place / "a").exists()
    assert content(folder) == {"a": ""}
    assert len(list(tmp_path.glob(".unfinished-*/novel"))) == 2


def test_a_folder_with_unfinished_work_of_the_dead_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / ".unfinished-abcd1234" / "plots").mkdir(parents=True)
    (folder / ".unfinished-abcd1234" / "report.html").touch()
    (folder / ".stanrovi-0123456789ab.tmp").touch()
    (folder / f".{LEDGER}.lock").touch()
    (tmp_path / ".unfinished-wxyz_987" / "files").mkdir(parents=True)
    fill(folder, NEW)
    assert content(folder).keys() - {f".{LEDGER}.lock"} == NEW.keys()
    assert os.listdir(tmp_path) == ["out"]
    (folder / ".stanrovi-0123456789ab.tmp").touch()
    write_text(folder / "file", "")
    assert not (folder / ".stanrovi-0123456789ab.tmp").exists()


def test_locks_are_of_what_has_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with in_turn(path) as nothing_there:
        assert not nothing_there
    path.touch()
    with in_turn(path) as first, in_turn(path, wait=False) as second:
        assert (first, second) == (True, False)


RACE = """
import sys, time
sys.path.insert(0, sys.argv[5])
from pathlib import Path
from stanrovi.errors import OutputError
from stanrovi.io.folders import filled_folder
folder, letter, overwrite, start = sys.argv[1:5]
time.sleep(max(0, float(start) - time.time()))
for _ in range(8 if int(overwrite) else 1):
    try:
        with filled_folder(Path(folder), overwrite=bool(int(overwrite))) as place:
            (place / "plots").mkdir()
            for i in range(5):
                (place / f"{i}").write_text(letter)
                (place / "plots" / f"{letter}{i}").write_text(letter)
                time.sleep(0.002)
    except OutputError as error:
        sys.exit("not empty" not in str(error) or 2)
"""


@pytest.mark.parametrize("overwrite", [True, False])
def test_processes_that_fill_one_folder_at_once(tmp_path: Path, overwrite: bool) -> None:
    """It is as one of them has filled it; without overwriting, the others are told."""
    folder, start = tmp_path / "out", str(time.time() + 1)
    words = [str(int(overwrite)), start, str(Path(__file__).parent)]
    processes = [
        subprocess.Popen([sys.executable, "-c", RACE, str(folder), letter, *words])
        for letter in "abc"
    ]
    codes = [process.wait(timeout=60) for process in processes]
    assert sorted(codes) == ([0, 0, 0] if overwrite else [0, 2, 2])
    found = content(folder)
    (letter,) = set(found.values())
    names = [*map(str, range(5)), *(f"plots/{letter}{i}" for i in range(5))]
    assert found.keys() == set(names)
    assert os.listdir(tmp_path) == ["out"]
