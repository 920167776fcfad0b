"""Files that are damaged, misnamed or in the way: told by name, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stanli

import stanrovi as sr
from stanrovi.errors import DataError, DrawsError, ModelError, OutputError, UsageError
from stanrovi.io import change, folders
from stanrovi.io.files import atomic_path, check_output, write_text
from stanrovi.runs.nuts import nuts_from_csv
from stanrovi.stan.data import read_data
from stanrovi.stan.model import Model

Write = Callable[[str, str], Path]

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
NEEDS_DATA = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }"
COMMAND = [sys.executable, "-m", "stanrovi_cli"]


@pytest.fixture
def draws() -> sr.Draws:
    rng = np.random.default_rng(0)
    return sr.Draws("rovi", {"x": rng.normal(size=(1, 4000))}, ("x",), attrs={"model": "normal"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"N": 2', "not valid JSON"),
        ('{"N": 1, "y": [1]}\0', "not valid JSON"),
        ('{"N": ' + "9" * 10_000 + ', "y": []}', "thousands of digits"),
        ('{"N": 123456789012345678901234567890, "y": []}', "N .* beyond Stan's 32-bit integers"),
        ('{"N": 1, "y": [' + "9" * 400 + "]}", "y .* too large"),
        ('{"N": 1, "y": ' + "[" * 900 + "]" * 900 + "}", "y in the data is nested"),
        ('{"a":' * 50_000, "nested too deeply"),
        ('{"N": 1, "y": {"a": 1}}', "not a number"),
        ('{"N": 1, "y": [1], "\\ud800": 3}', "surrogate"),
        ('{"N": -1, "y": []}', "N = -1"),
    ],
)
def test_data_that_are_damaged(write: Write, content: str, message: str) -> None:
    program, data = write("m.stan", NEEDS_DATA), write("data.json", content)
    with pytest.raises(DataError, match=message):
        Model(program, data)


def test_integers_beyond_64_bits_are_numbers_where_numbers_are_wanted(write: Write) -> None:
    model = Model(write("m.stan", NEEDS_DATA), '{"N": 1, "y": [100000000000000000000000]}')
    np.testing.assert_allclose(model.log_density_gradient([[1e23 - 5e8]])[1], 5e8, rtol=0.1)


def test_lists_that_hold_themselves() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(DataError, match=r"y .* cannot be written"):
        read_data({"y": endless})


def test_paths_that_cannot_be_looked_up(tmp_path: Path, draws: sr.Draws) -> None:
    loop = tmp_path / "loop.stan"
    loop.symlink_to(loop)
    for path in ("a\0b.stan", "x" * 5000, "x" * 5000 + ".stan", loop):
        attempts = (
            lambda path=path: Model(path),
            lambda path=path: read_data(Path(path)),
            lambda path=path: sr.read_draws(path),
            lambda path=path: sr.write_netcdf(draws, path, overwrite=True),
            lambda path=path: nuts_from_csv(path, Model("ar")),
        )
        for attempt in attempts:
            with pytest.raises(UsageError, match="is no usable path") as told:
                attempt()
            assert len(str(told.value)) < 300
    assert loop.is_symlink()


def test_files_that_may_not_be_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: the administrator, as whom tests may run, reads everything."""
    program = write("m.stan", NORMAL)

    def refuse(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot read .*m\.stan: Permission denied"):
        Model(program)
    with pytest.raises(UsageError, match=r"cannot read the data file .*: Permission denied"):
        read_data(program)
    with pytest.raises(DrawsError, match="Permission denied"):
        sr.read_draws(program)


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"// \xc3\xa9\r\n"])
def test_programs_from_other_editors(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "m.stan"
    path.write_bytes(head + NORMAL.replace("}", "}\r\n").encode())
    np.testing.assert_allclose(Model(path).log_density_gradient([[2.0]])[0], -2.0)


def test_programs_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m.stan"
    path.write_bytes(b"parameters { real x; }\0 model { x ~ std_normal(); }")
    with pytest.raises(ModelError, match="zero byte"):  # the engine would stop reading there
        Model(path)
    path.write_bytes(NORMAL.encode("utf-16"))
    with pytest.raises(ModelError, match="save it in UTF-8"):
        Model(path)


def test_includes_that_go_round_in_circles(write: Write) -> None:
    write("a.stan", "#include b.stan\n")
    with pytest.raises(ModelError, match="include error"):
        Model(write("b.stan", "#include a.stan\n"))


@pytest.mark.parametrize(
    "name", ["-rf", 'a\'; rm -rf "$x" <b>', "two\nlines", "ü ñ 😀.v2", os.fsdecode(b"a\xff")]
)
def test_names_of_every_kind(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"folder {name}"
    folder.mkdir()
    program, output = folder / f"{name}.stan", folder / f"{name}.nc"
    program.write_text(NORMAL)
    fit = sr.fit(program, method="gaussian", seed=1, draws=50)
    sr.write_netcdf(fit.draws, output)
    back = sr.read_draws(output)
    np.testing.assert_array_equal(back.posterior["x"], fit.draws.posterior["x"])
    assert back.attrs["model"] == fit.model_name
    assert len(os.listdir(folder)) == 2


def test_links_are_followed(tmp_path: Path, write: Write) -> None:
    (tmp_path / "link.stan").symlink_to(write("program.stan", NEEDS_DATA))
    (tmp_path / "link.json").symlink_to(write("values.json", '{"N": 1, "y": [3]}'))
    model = Model(tmp_path / "link.stan", tmp_path / "link.json")
    np.testing.assert_allclose(model.log_density_gradient([[1.0]])[1], 2.0)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_netcdf_cut_short(tmp_path: Path, draws: sr.Draws, share: float) -> None:
    whole = sr.write_netcdf(draws, tmp_path / "whole.nc").read_bytes()
    path = tmp_path / "cut.nc"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DrawsError, match=r"cut\.nc cannot be read as NetCDF"):
        sr.read_draws(path)
    path.write_bytes(whole)  # what could not be read is not remembered
    np.testing.assert_array_equal(sr.read_draws(path).posterior["x"], draws.posterior["x"])


# h5netcdf's own: it tries to close files that it could not open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_netcdf_with_flipped_bytes_reads_well_or_not_at_all(
    tmp_path: Path, draws: sr.Draws
) -> None:
    whole = sr.write_netcdf(draws, tmp_path / "whole.nc").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 0xFF
        (tmp_path / "damaged.nc").write_bytes(damaged)
        try:
            back = sr.read_draws(tmp_path / "damaged.nc")
        except DrawsError:
            refused += 1
        else:
            assert back.posterior["x"].shape == (1, 4000)
    assert refused > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ('[{"a": [1,' + "9" * 5000 + "]}]", "cannot be read"),
        ('[{"a": [1, 2', "cannot be read"),
        ('[{"a": 1}]', "no list of draws"),
        ('[{"a[1000000000]": [1, 2]}]', "a lacks some of the elements"),
        ('[{"a[1]": [1, 2], "a[99999999999999999999]": [1, 2]}]', "a lacks some"),
        ('[{"a[0]": [1, 2]}]', "a lacks some"),
        ('[{"a": [1, 2], "a[1]": [1, 2]}]', "different numbers of indices"),
        ('[{"a[1]": [1, 2], "a[1,2]": [1, 2]}]', "different numbers of indices"),
        ('[{"a[1]": [1, 2], "a[01]": [1, 2], "a[3]": [1, 2]}]', "a lacks some"),
    ],
)
def test_reference_draws_that_are_damaged(write: Write, content: str, message: str) -> None:
    with pytest.raises(DrawsError, match=message):
        sr.read_draws(write("reference.json", content))


def test_archives_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "reference.json.zip"
    for content in (b"", b"PK\x03\x04junk", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(DrawsError, match=r"reference\.json\.zip cannot be read"):
            sr.read_draws(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escape.json", json.dumps([{"a": [1.0, 2.0]}]))
    sr.read_draws(path)  # read from within the archive; nothing is unpacked
    assert os.listdir(tmp_path) == ["reference.json.zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no method"),
        (b"a,b\n1,2\n", "names no method"),
        (b"# method = sample\n\xff\xfe", "cannot be read"),
        (b"# method = sample (Default)\nlp__,divergent__,x\n", "cannot be read"),
    ],
)
def test_csv_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(content)
    with pytest.raises(DrawsError, match=message):
        nuts_from_csv(path, Model("ar"))


@pytest.mark.cmdstan
def test_csv_with_damage_anywhere(tmp_path: Path, prophet: Model, prophet_folder: Path) -> None:
    """Cut or with bytes overwritten: refused, or (in a comment, a digit) read in full."""
    data, path = tmp_path / "data.json", tmp_path / "run.csv"
    data.write_text(prophet.data_json)
    subprocess.run(
        [
            prophet_folder / "prophet_model.bin", "sample", "num_warmup=50", "num_samples=20",
            "data", f"file={data}", "output", f"file={path}", "random", "seed=1",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    whole = path.read_bytes()
    assert nuts_from_csv(path, prophet).draws.n_draws == 20
    rng = np.random.default_rng(2)
    damaged = [whole[:cut] for cut in rng.integers(0, len(whole) - 200, 15)]
    for place in rng.integers(0, len(whole), 15):
        damaged.append(whole[:place] + b'\xff"x,\n' + whole[place + 5 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert nuts_from_csv(path, prophet).draws.n_draws == 20
        except DrawsError:
            refused += 1
    assert refused >= 15


LIMITED = """
import resource, sys
import numpy as np, stanrovi as sr
from stanrovi.errors import OutputError
draws = sr.Draws("rovi", {"x": np.random.default_rng(0).normal(size=(1, 40_000))}, ("x",))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    sr.write_netcdf(draws, sys.argv[1], overwrite=True)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a Unix process")
def test_a_disk_that_fills_up_while_netcdf_is_written(tmp_path: Path) -> None:
    path = write_text(tmp_path / "fit.nc", "old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fit.nc cannot be written" in done.stdout
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["fit.nc"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("option", [(), ("--json",)])
def test_results_that_cannot_be_printed(option: tuple[str, ...]) -> None:
    """Python's own last try must not have the last word: exit code 120, and a traceback."""
    buffered = {name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "models", *option],
            stdout=full, stderr=subprocess.PIPE, text=True, env=buffered,
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("cannot be written (No space left on device).")


def test_a_folder_that_fills_up_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(change, "_take_after", full)
    with (
        pytest.raises(OutputError, match=r"new cannot be written .*No space left"),
        folders.filled_folder(tmp_path / "new") as staging,
    ):
        (staging / "a.txt").write_text("content")
    assert os.listdir(tmp_path) == []


def test_a_long_name_leaves_room_for_the_unfinished_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / ("x" * 250 + ".nc"), "content")
    assert os.listdir(tmp_path) == [path.name]


RACE = """
import sys, time
from stanrovi.io.files import atomic_path
path, letter, overwrite, start = sys.argv[1:]
time.sleep(max(0, float(start) - time.time()))
with atomic_path(path, overwrite=bool(int(overwrite))) as temporary:
    with temporary.open("w") as file:
        for _ in range(50):
            file.write(letter * 10_000)
            file.flush()
            time.sleep(0.005)
"""


def race(path: Path, *, overwrite: bool) -> list[int]:
    """Exit codes of four processes that write one file at the same time."""
    start = str(time.time() + 1.0)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), letter, str(int(overwrite)), start],
            stderr=subprocess.DEVNULL,
        )
        for letter in "abcd"
    ]
    return [writer.wait(timeout=60) for writer in writers]


@pytest.mark.parametrize("overwrite", [True, False])
def test_processes_that_write_one_file_at_once(tmp_path: Path, overwrite: bool) -> None:
    """The file is one of theirs, whole; without overwriting, the others are told."""
    path = tmp_path / "out.txt"
    codes = race(path, overwrite=overwrite)
    assert codes.count(0) == (4 if overwrite else 1)
    text = path.read_text()
    assert len(text) == 500_000
    assert len(set(text)) == 1
    assert os.listdir(tmp_path) == ["out.txt"]


def write_while_another_does(path: Path) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text("ours")
        path.write_text("theirs")


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(OutputError, match="has appeared meanwhile"):
        write_while_another_does(path)
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert write_text(tmp_path / "out.txt", "content").read_text() == "content"
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.fixture
def bridgestan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Makefile of a folder that passes for BridgeStan's sources; the cache is empty."""
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    monkeypatch.setenv("BRIDGESTAN", str(tmp_path / "sources"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sources").mkdir()
    return tmp_path / "sources" / "Makefile"


def test_compilers_that_fail(bridgestan: Path, write: Write) -> None:
    bridgestan.write_text("%_model.so:\n\techo half > $@; echo out of paper >&2; false\n")
    program = write("m.stan", NORMAL)
    with pytest.raises(ModelError, match=r"BridgeStan could not compile m: (?s:.*)out of paper"):
        Model(program, engine="bridgestan")
    # What failed is not kept: the next attempt compiles again.
    bridgestan.write_text("%_model.so:\n\techo no library > $@\n")
    with pytest.raises(ModelError, match="cannot be loaded as a library"):
        Model(program, engine="bridgestan")


def test_what_the_embedded_engine_lacks_is_compiled(bridgestan: Path, write: Write) -> None:
    """The compiler copies the embedded engine's own library, a BridgeStan library like others."""
    library = stanli.bridgestan_model(stan_code="").lib_path
    bridgestan.write_text(f"%_model.so:\n\tcp '{library}' $@\n")
    program = write("m.stan", "parameters { complex z; } model { get_real(z) ~ std_normal(); }")
    manifest = {"build_id": stanli.build_id(), "mir": stanli.stan_to_mir(NORMAL), "name": "m"}
    model = Model(program, json.dumps({"__stanli": manifest}))
    assert model.engine == "bridgestan"
    np.testing.assert_allclose(model.log_density_gradient([[2.0]])[0], -2.0)


COMPILE = """
import os, sys, time
from pathlib import Path
from stanrovi.stan.cache import compiled
from stanrovi.stan.program import Program

def build(source):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    time.sleep(1)
    made = source.with_suffix(".so")
    made.write_text(source.read_text())
    return made

print(compiled(Program("the model", "parameters { real x; }"), "compiler 1", ".so", build))
"""


def test_processes_that_compile_one_program_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILE, str(log)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    told = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"
    (library,) = told
    assert Path(library).read_text() == "parameters { real x; }"


def test_an_output_in_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the administrator, as whom tests may run, looks everywhere."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(OutputError, match=r"out\.nc .*Permission denied"):
        check_output(tmp_path / "out.nc")
