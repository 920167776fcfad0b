import os

import pytest

from stanrovi.errors import OutputError
from stanrovi.io.files import atomic_path, check_output, output_folder, write_text


def test_writes_a_whole_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "a.txt", "één\n")
    assert path.read_bytes() == "één\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_refuses_an_existing_file_and_keeps_it(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OutputError, match=r"a\.txt exists already.*overwrite=True; --overwrite"):
        write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new", overwrite=True)
    assert path.read_text() == "new"


def write_half(path, failure):
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_interruption_leaves_the_old_file_and_no_temporary(tmp_path, failure):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(failure):
        write_half(path, failure)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_of_the_writer_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), atomic_path(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_follows_a_link(tmp_path):
    real = write_text(tmp_path / "real.txt", "old")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_text(link, "new", overwrite=True)
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_folder_missing_or_in_the_way(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "a.txt")
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="no regular file"):
        check_output("/dev/null", overwrite=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="read-only"):
        check_output(tmp_path / "a.txt")


def test_umask_governs_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        path = write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_output_folder(tmp_path):
    folder = output_folder(tmp_path / "x" / "y")
    assert folder.is_dir()
    assert output_folder(folder) == folder
    write_text(folder / "a.txt", "")
    with pytest.raises(OutputError, match="not empty"):
        output_folder(folder)
    assert output_folder(folder, overwrite=True) == folder
    with pytest.raises(OutputError, match="is a file"):
        output_folder(folder / "a.txt")
    with pytest.raises(OutputError, match=r"a\.txt is a file"):
        output_folder(folder / "a.txt" / "b")
