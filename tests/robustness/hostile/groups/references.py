"""Draws and fits that are damaged, empty, or of something else."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hostile.case import Case
from hostile.files import Content, Fifo, File, Folder, Link, Stock, cut, flipped

MODEL = "parameters { real x; real y; } model { x ~ std_normal(); y ~ normal(x, 1); }\n"
COMPARE = "compare m.stan --methods gaussian --draws 100 --seed 1"
WITH_PLOTS = f"{COMPARE} --reference ref.nc --output out"
EITHER = (0, 1, 2)


def case(
    name: str,
    content: Content,
    code: int | tuple[int, ...] = 1,
    says: str = "",
    *,
    file: str = "ref.nc",
    command: str = "",
    **rest: Any,
) -> Case:
    """Compare with a reference that is not well."""
    files: dict[str, Content] = {"m.stan": MODEL, file: content, **rest.pop("files", {})}
    command = command or f"{COMPARE} --reference {file}"
    rest.setdefault("keeps", ("out", "out/.runs", "out/runs.jsonl*", "out/.*lock"))
    return Case(name, command, files, code, says or file.replace(".", r"\."), **rest)  # fmt: skip


def hdf5(edit: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    """Damage to NetCDF by its own means."""

    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            edit(file)

    return damage


def edited(edit: Callable[[h5py.File], None], name: str = "nuts.nc") -> Stock:
    """A file of draws with something changed inside."""
    return Stock(name, hdf5(edit))


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    """Set an attribute of the file and of the draws."""

    def edit(file: h5py.File) -> None:
        for place in (file, file["posterior"]):
            place.attrs[name] = value

    return edit


def values(name: str, value: float, share: float = 1.0) -> Callable[[h5py.File], None]:
    """Overwrite draws of a variable."""

    def edit(file: h5py.File) -> None:
        content = file[f"posterior/{name}"][...]
        content.reshape(-1)[: int(share * content.size)] = value
        file[f"posterior/{name}"][...] = content

    return edit


def without(name: str) -> Callable[[h5py.File], None]:
    """Take something out."""

    def edit(file: h5py.File) -> None:
        del file[name]

    return edit


def linked(name: str, target: str) -> Callable[[h5py.File], None]:
    """Give something a second name."""

    def edit(file: h5py.File) -> None:
        file[name] = file[target]

    return edit


CIRCLES = {"within": ("posterior/posterior", "posterior"), "through the root": ("more", "/")}


def no_attributes(file: h5py.File) -> None:
    """Take all attributes away."""
    for place in (file, *file.values()):
        for name in list(place.attrs):
            if not name.startswith("_Nc"):
                del place.attrs[name]


def made(shape: tuple[int, ...], kind: str = "f8", **attributes: object) -> bytes:
    """Draws of x and y as NetCDF that another program might have written."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("posterior")
        names = ["chain", "draw", "more", "beyond"][: len(shape)]
        for name, size in zip(names, shape, strict=True):
            group[name] = np.arange(size)
            group[name].make_scale(name)
        rng = np.random.default_rng(0)
        for variable in ("x", "y"):
            drawn = rng.normal(size=shape)
            group[variable] = drawn.astype(kind) if kind != "S3" else np.full(shape, b"abc")
            for axis, name in enumerate(names):
                group[variable].dims[axis].attach_scale(group[name])
        for name, value in attributes.items():
            group.attrs[name] = value
    return buffer.getvalue()


def empty_hdf5() -> bytes:
    """An HDF5 file without anything in it."""
    buffer = io.BytesIO()
    h5py.File(buffer, "w").close()
    return buffer.getvalue()


def zipped(**members: str) -> bytes:
    """An archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


def bomb() -> bytes:
    """An archive whose content is thousands of times as large."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", "[" + " " * 400_000_000 + "]")
    return buffer.getvalue()


DRAWN = json.dumps([{"x": [0.1, 0.2, 0.3] * 40, "y": [0.3, 0.1, 0.2] * 40}] * 4)
HEADER = (
    "# stan_version_major = 2\n# model = m_model\n# method = sample (Default)\n#   sample\n"
    "#     num_samples = 4\n#     num_warmup = 4\n#     save_warmup = 0\n#     thin = 1\n"
    "#     algorithm = hmc (Default)\n#       hmc\n#         engine = nuts (Default)\n"
    "#           nuts\n#             max_depth = 10\n#         metric = unit_e\n"
    "# id = 1\n# random\n#   seed = 1\n"
)
COLUMNS = "lp__,accept_stat__,stepsize__,treedepth__,n_leapfrog__,divergent__,energy__,x,y\n"
ROW = "-1,0.9,0.5,2,3,0,2,{x},{y}\n"
CSV = (
    HEADER
    + COLUMNS
    + "# Adaptation terminated\n# Step size = 0.5\n# No free parameters for unit metric\n"
)
ROWS = "".join(ROW.format(x=0.1 * i, y=0.3 * (i % 3)) for i in range(4))
TIMES = "".join(f"#  Elapsed Time: 1 seconds ({of})\n" for of in ("Warm-up", "Sampling", "Total"))
RUN = CSV + ROWS + TIMES  # a whole file

NETCDF = (
    *(case(f"cut at {share}", Stock("nuts.nc", cut(share))) for share in (0, 0.001, 0.1, 0.5,
                                                                              0.9, 0.999)),
    *(case(f"a byte in {every} flipped", Stock("nuts.nc", flipped(every)), EITHER)
      for every in (1, 50, 1000, 7919)),
    case("text", "hello"),
    case("a signature alone", b"\x89HDF\r\n\x1a\n"),
    case("classic NetCDF", b"CDF\x01" + bytes(100), says=r"ref\.nc is of NetCDF 3; save"),
    case("an HDF5 file with nothing in it", empty_hdf5()),
    case("a pickle", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93."),
    case("a folder", Folder(), 2),
    case("a pipe", Fifo(), (1, 2)),
    case("a link to itself", Link("ref.nc"), 2),
    case("a link to /dev/zero", Link("/dev/zero"), (1, 2), limits={"AS": 4_000_000_000}),
    case("unreadable", File(b"\x89HDF", 0), (1, 2), "ref.nc.*ermission|ermission.*ref.nc|readable",
         ordinary=True),
    case("no chains", made((0, 100))),
    case("no draws", made((4, 0))),
    case("one draw", made((4, 1)), EITHER),
    case("three draws", made((2, 3)), EITHER),
    case("one chain", made((1, 100)), EITHER),
    case("a thousand chains", made((1000, 4)), EITHER),
    case("no dimension of draws", made((4,))),
    case("a dimension more", made((4, 50, 2)), EITHER, "nuts|ref"),
    case("an empty dimension more", made((4, 50, 0)), EITHER, "nuts|ref"),
    case("draws of integers", made((4, 50), "i8"), EITHER),
    case("draws of text", made((4, 50), "S3")),
    case("draws of complex numbers", made((4, 50), "c16"), EITHER),
    case("draws of booleans", made((4, 50), "?"), EITHER, "reference"),
    case("the method as an array", made((4, 50), method=np.array([1.0, 2.0])), EITHER),
    case("the method as a number", made((4, 50), method=7), EITHER),
    case("the method as nothing", made((4, 50), method=""), EITHER),
    case("the model as an array", made((4, 50), model=np.array(["a", "b"], dtype="S1")), EITHER),
    case("ours, the method as an array", edited(attribute("method", np.array([1.0, 2.0]))), EITHER),
    case("ours, the method unknown", edited(attribute("method", "no such method")), EITHER),
    case("ours, the seed as text", edited(attribute("seed", "abc")), EITHER),
    case("ours, the model as an array", edited(attribute("model", np.arange(3))), EITHER),
    case("ours, the parameters as a number", edited(attribute("parameters", 3.5)), EITHER),
    case("ours, the parameters as broken JSON", edited(attribute("parameters", "[")), EITHER),
    case("ours, without attributes", edited(no_attributes), EITHER),
    case("ours, without draws", edited(without("posterior"))),
    case("ours, without a parameter", edited(without("posterior/x")), EITHER),
    case("ours, without statistics", edited(without("sample_stats")), EITHER),
    case("ours, a parameter NaN", edited(values("x", np.nan)), EITHER, command=WITH_PLOTS),
    case("ours, half of a parameter NaN", edited(values("x", np.nan, 0.5)), EITHER,
         command=WITH_PLOTS),
    case("ours, a parameter infinite", edited(values("x", np.inf)), EITHER, command=WITH_PLOTS),
    case("ours, a draw infinite", edited(values("x", -np.inf, 0.01)), EITHER, command=WITH_PLOTS),
    case("ours, a parameter constant", edited(values("x", 3.0)), EITHER, command=WITH_PLOTS),
    case("ours, a parameter enormous", edited(values("x", 1e308)), 1, "nuts", command=WITH_PLOTS),
    *(case(f"ours, groups in a circle, {name}", edited(linked(*link)), says="lie in each other")
      for name, link in CIRCLES.items()),
    case("of another model", Stock("other.nc"), (1, 2)),
    case("a fit as a reference", Stock("fit.nc"), EITHER),
)  # fmt: skip

OTHERS = (
    case("JSON, empty", "", file="ref.json"),
    case("JSON, cut", DRAWN[:500], file="ref.json"),
    case("JSON, no list", "{}", file="ref.json"),
    case("JSON, an empty list", "[]", file="ref.json"),
    case("JSON, chains without parameters", "[{}, {}]", file="ref.json"),
    case("JSON, no draws", '[{"x": [], "y": []}]', says="draws", file="ref.json"),
    case("JSON, chains of different lengths", '[{"x": [1, 2], "y": [1, 2]}, {"x": [1], "y": [1]}]',
         file="ref.json"),
    case("JSON, chains of different parameters", '[{"x": [1, 2]}, {"y": [1, 2]}]', file="ref.json"),
    case("JSON, text as draws", '[{"x": ["a", "b"], "y": [1, 2]}]', file="ref.json"),
    case("JSON, null as draws", '[{"x": [null, 1], "y": [1, 2]}]', EITHER, file="ref.json"),
    case("JSON, NaN", DRAWN.replace("0.1", "NaN"), EITHER, file="ref.json"),
    case("JSON, an integer of 400 digits", DRAWN.replace("0.1", "1" + "0" * 400, 1), (1, 2),
         r"ref\.json.*integer beyond", file="ref.json"),
    case("JSON, a script as a name", DRAWN.replace('"x"', '"<script>alert(1)</script>"'), (1, 2),
         r"ref\.json: .*under a Stan name", file="ref.json"),
    case("JSON, a name of 10,000 letters", DRAWN.replace('"x"', f'"<{"x" * 10_000}"'), (1, 2),
         "more characters.*under a Stan name", file="ref.json"),
    case("JSON, an index of 10^9", '[{"x[1000000000]": [1, 2]}]', file="ref.json"),
    case("JSON, nested 100,000 deep", "[" * 100_000, file="ref.json"),
    case("JSON, well but of others", '[{"a": [1, 2, 3, 4], "b": [1, 2, 4, 3]}]', (1, 2),
         "reference has a, b", file="ref.json"),
    case("an archive, empty", b"", file="ref.json.zip"),
    case("an archive, cut", zipped(a__json=DRAWN)[:300], file="ref.json.zip"),
    case("an archive that is text", "hello", file="ref.json.zip"),
    case("an archive of nothing", zipped(), file="ref.json.zip"),
    case("an archive of two", zipped(a__json=DRAWN, b__json=DRAWN), EITHER, file="ref.json.zip"),
    case("an archive of broken JSON", zipped(a__json=DRAWN[:99]), file="ref.json.zip"),
    case("an archive that unpacks to 400 MB", bomb(), file="ref.json.zip",
         limits={"AS": 4_000_000_000}),
    case("CSV, empty", "", file="ref.csv"),
    case("CSV, of a spreadsheet", "a,b\n1,2\n", file="ref.csv"),
    case("CSV, a header alone", HEADER, file="ref.csv"),
    case("CSV, columns alone", CSV, file="ref.csv"),
    case("CSV, well but short", RUN, 0, "reference", file="ref.csv"),
    case("CSV, cut in a row", CSV + ROWS[:-9], file="ref.csv"),
    case("CSV, fewer rows than it tells", CSV + ROW.format(x=1, y=2) + TIMES, file="ref.csv"),
    case("CSV, text in a row", RUN.replace("0.1", "abc"), file="ref.csv"),
    case("CSV, a row too long", RUN.replace(",2,0.1", ",2,7,0.1"), file="ref.csv"),
    case("CSV, NaN", RUN.replace("0.1", "nan"), file="ref.csv"),
    case("CSV, of ADVI", RUN.replace("sample", "variational"), file="ref.csv"),
    case("CSV, of optimisation", RUN.replace("sample", "optimize"), file="ref.csv"),
    case("CSV, of another model", RUN.replace(",x,y", ",a,b"), (1, 2), file="ref.csv"),
    *(case(f"CSV, a header with {new}", RUN.replace(old, new), file="ref.csv") for old, new in (
        ("thin = 1", "thin = 0"), ("num_samples = 4", "num_samples = many"),
        ("num_samples = 4", "num_samples = -4"), ("num_warmup = 4", "num_warmup = some"),
    )),
    *(case(f"CSV, columns {names}", RUN.replace(",x,y", f",{names}"), says=r"columns of x are not",
           file="ref.csv") for names in ("x,x", "x.1,x.3", "x.2,x.1", "x.0,y",
                                         "x.99999999999999999999,y")),
    case("CSV, a column twice", RUN.replace("energy__,x", "x,x"), file="ref.csv"),
    case("CSV, without the steps", RUN.replace("n_leapfrog__", "n_leap__"),
         says="column n_leapfrog__", file="ref.csv"),
    *(case(f"CSV, counts {counts}", RUN.replace("2,3,0,", counts), says="whole number",
           file="ref.csv") for counts in ("2,-inf,0,", "2,1e300,0,", "2,3,nan,", "2,3,7,")),
    case("CSV, a parameter enormous", RUN.replace(",0.3\n", ",-1e308\n").replace(",0.0", ",1e308"),
         says=r"values of [xy] in nuts are beyond 1e\+152", file="ref.csv",
         command=f"{COMPARE} --reference ref.csv --output out"),
    case("CSV, a seed and a depth that are text",
         RUN.replace("seed = 1", "seed = zz").replace("max_depth = 10", "max_depth = zz"), 0,
         "reference",
         file="ref.csv"),
    case("CSV, the same file four times", RUN, 0, "hold the same draws", file="ref.csv",
         command=COMPARE + 4 * " --reference ref.csv"),
    *(case(f"CSV, two files of which one has columns {names}", RUN, says="columns of other.csv",
           file="ref.csv", files={"other.csv": RUN.replace(",x,y", f",{names}")},
           command=f"{COMPARE} --reference ref.csv --reference other.csv")
      for names in ("y,x", "x,z")),
    *(case(f"{name} in {file}", content, says=f"{file}.*{says}", file=file)
      for name, content, says, file in (
        ("gzip", gzip.compress(RUN.encode()), "unpack it", "ref.csv.gz"),
        ("gzip", gzip.compress(RUN.encode()), "unpack it", "ref.csv"),
        ("gzip", gzip.compress(DRAWN.encode()), "unpack it", "ref.json"),
        ("zip", zipped(a__csv=RUN), "unpack it", "ref.csv.zip"),
        ("UTF-16", RUN.encode("utf-16"), "in UTF-8", "ref.csv"),
        ("UTF-16", DRAWN.encode("utf-16"), "in UTF-8", "ref.json"),
        ("a byte-order mark", RUN.encode("utf-8-sig"), "without one", "ref.csv"),
        ("Parquet", b"PAR1" + bytes(100), "of Parquet", "ref.parquet"),
    )),
    case("CSV, random bytes", HEADER.encode() + bytes(range(256)), file="ref.csv"),
    case("CSV, zero bytes", HEADER.encode() + bytes(100), file="ref.csv"),
    case("CSV, 200,000 columns", HEADER + ",".join(f"a{i}" for i in range(200_000)) + "\n",
         file="ref.csv"),
    case("CSV, and what lies beside it", RUN, 2,
         r"2 files, of which ref_config\.json is no CSV file", file="ref.csv",
         command=f"{COMPARE} --reference 'ref*'", files={"ref_config.json": "{}"}),
    case("an unknown ending", DRAWN, (1, 2), file="ref.txt"),
    case("a program as a reference", MODEL, (1, 2), file="ref.stan"),
    case("two references, one of them damaged", "hello", EITHER, "other|ref", file="other.nc",
         command=f"{COMPARE} --reference ref.nc --reference other.nc",
         files={"ref.nc": Stock("nuts.nc")}),
    case("by --nuts-csv, damaged", CSV + ROWS[:20], file="ref.csv",
         command=f"{COMPARE} --nuts-csv ref.csv"),
    case("starts from a damaged fit", Stock("fit.nc", cut(0.5)), file="fit.nc",
         command="nuts m.stan --engine stanli --init-from fit.nc --output out.nc"),
    case("starts from NUTS", Stock("nuts.nc"), (1, 2), "nuts", file="nuts.nc",
         command="nuts m.stan --engine stanli --init-from nuts.nc --output out.nc"),
    case("starts from a fit of NaN", edited(values("x", np.nan), "fit.nc"), EITHER, file="fit.nc",
         command="nuts m.stan --engine stanli --chains 2 --iter-warmup 20 --iter-sampling 20 "
         "--init-from fit.nc"),
)  # fmt: skip

REPORT = "report fit.nc nuts.nc --output out"
BOTH: dict[str, Content] = {"fit.nc": Stock("fit.nc"), "nuts.nc": Stock("nuts.nc")}


def report(
    name: str, code: int | tuple[int, ...], says: str, command: str = REPORT, **files: Content
) -> Case:
    """Report files that are not well."""
    laid = BOTH | {key.replace("_", "."): content for key, content in files.items()}
    return Case(name, command, laid, code, says)


REPORTS = (
    report("report, a fit cut", 1, r"fit\.nc", fit_nc=Stock("fit.nc", cut(0.5))),
    report("report, a reference cut", 1, r"nuts\.nc", nuts_nc=Stock("nuts.nc", cut(0.5))),
    report("report, an empty fit", 1, r"fit\.nc", fit_nc=""),
    report("report, a folder as a fit", 2, r"fit\.nc", fit_nc=Folder()),
    report("report, a pipe as a fit", (1, 2), r"fit\.nc", fit_nc=Fifo()),
    report("report, the same file twice", EITHER, "nuts|fit|same",
         "report nuts.nc nuts.nc --output out"),
    report("report, the reference first", EITHER, "fit|reference",
         "report nuts.nc fit.nc --output out"),
    report("report, models that differ", (1, 2), "nuts has x, y",
         "report other.nc nuts.nc --output out",
           other_nc=Stock("other.nc")),
    report("report, a missing file", 2, "nowhere", "report nowhere.nc nuts.nc --output out"),
    report("report, a fit of NaN", EITHER, "fit|x|NaN", fit_nc=edited(values("x", np.nan),
         "fit.nc")),
    report("report, a fit without attributes", EITHER, "fit", fit_nc=edited(no_attributes,
         "fit.nc")),
    report("report, a fit with broken modes", EITHER, "fit", fit_nc=edited(attribute("modes",
         "[{"), "fit.nc")),
    report("report, a fit with modes of another shape", EITHER, "fit",
           fit_nc=edited(attribute("modes", '[{"weight": "heavy"}]'), "fit.nc")),
    report("report, a fit with an array as its verdict", EITHER, "fit",
           fit_nc=edited(attribute("verdict", np.arange(3)), "fit.nc")),
    report("report, a fit with an unknown verdict", EITHER, "fit",
           fit_nc=edited(attribute("verdict", "splendid"), "fit.nc")),
    report("report, a fit with a trace that is none", EITHER, "fit",
           fit_nc=edited(attribute("trace", "[1, 2"), "fit.nc")),
    report("report, a fit with settings that are none", EITHER, "fit",
           fit_nc=edited(attribute("settings", "null"), "fit.nc")),
    report("report, a fit without its axes", EITHER, "fit", fit_nc=edited(without("fit"),
         "fit.nc")),
    report("report, a fit without itself", EITHER, "fit", fit_nc=edited(without("stored_fit"),
         "fit.nc")),
    report("report, a fit whose markup would run", 0, "", fit_nc=edited(
        attribute("model", "<script>alert(1)</script>"), "fit.nc")),
    report("report, a reference without draws", 1, r"nuts\.nc",
         nuts_nc=edited(without("posterior"))),
    report("report, a reference with one draw", EITHER, "reference|nuts", nuts_nc=made((1, 1))),
    report("report, a reference without chains", 1, r"nuts\.nc", nuts_nc=made((0, 5))),
    report("report, a reference that is constant", EITHER, "nuts|x", nuts_nc=edited(values("x",
         1.0))),
    report("report, a reference that is infinite", EITHER, "nuts|x", nuts_nc=edited(values("x",
         np.inf))),
    report("report, a reference that is text", 1, r"nuts\.nc", nuts_nc="hello"),
)  # fmt: skip

CASES = (*NETCDF, *OTHERS, *REPORTS)
