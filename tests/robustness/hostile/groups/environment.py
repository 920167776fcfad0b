"""Surroundings that are odd: variables, limits, places, users."""

from __future__ import annotations

from typing import Any

from hostile.case import Case
from hostile.files import Content, File, Folder, Stock

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
FIT = "fit m.stan --method gaussian --draws 50 --seed 1"
WRITE = f"{FIT} --output out.nc"
NUTS = "nuts m.stan --engine stanli --chains 2 --iter-warmup 50 --iter-sampling 50 --seed 1"
COMPARE = (
    "compare m.stan --methods gaussian --draws 100 --seed 1 --chains 2 --iter-warmup 50 "
    "--iter-sampling 100 --nuts-engine stanli --output out"
)
SBC = (
    "sbc sbc_regression --method gaussian --simulations 10 --draws 20 --seed 1 --jobs 1 "
    "--output out"
)
BENCH = "bench m.stan --methods gaussian --draws 50 --jobs 1 --output out"
DASK = f"{BENCH} --dask local"
MADE = {WRITE: "out.nc", COMPARE: "out/report.html", SBC: "out/sbc.json",
        BENCH: "out/bench.json", DASK: "out/bench.json"}  # fmt: skip
NAMES = {
    FIT: "fit",
    WRITE: "fit to a file",
    NUTS: "nuts",
    COMPARE: "compare",
    SBC: "sbc",
    BENCH: "bench",
    DASK: "bench by Dask",
}
KEPT = ("out", "out/.runs", "out/runs.jsonl*", "out/.*lock")


def case(
    name: str, command: str = FIT, code: int | tuple[int, ...] = 0, says: str = "", **rest: Any
) -> Case:
    """A command that should not mind its surroundings, or say what it minds."""
    files: dict[str, Content] = {"m.stan": NORMAL, **rest.pop("files", {})}
    makes = (MADE[command],) if code == 0 and command in MADE else ()
    rest.setdefault("keeps", KEPT)
    rest.setdefault("way", "fork" if rest.get("ordinary") else "exec")
    label = f"{name}, {NAMES.get(command, command)}"
    return Case(label, command, files, code, says, makes=makes, **rest)


def variable(name: str, value: str | None, command: str = FIT, **rest: Any) -> Case:
    """One variable of the environment."""
    shown = "unset" if value is None else value.encode("unicode_escape").decode()[:30] or "empty"
    return case(f"{name} {shown.replace('/', '|')}", command, environment={name: value}, **rest)


FEW = (0, 1, 2)
CACHES = (
    *(variable("XDG_CACHE_HOME", "/proc/y", command) for command in (FIT, NUTS, COMPARE, SBC)),
    variable("XDG_CACHE_HOME", "", NUTS),
    variable("XDG_CACHE_HOME", "relative/cache", NUTS, changes=("relative",)),
    variable("XDG_CACHE_HOME", "/dev/null", NUTS),
    variable("XDG_CACHE_HOME", "/dev/full/x", NUTS),
    variable("XDG_CACHE_HOME", "{work}/m.stan", NUTS),
    variable("XDG_CACHE_HOME", "{work}/closed", COMPARE, files={"closed": Folder(0o500)},
             ordinary=True),
    variable("XDG_CACHE_HOME", "x" * 300, NUTS),
    variable("XDG_CACHE_HOME", "\x1b[31m", FIT, changes=("*",)),
    variable("HOME", None, NUTS), variable("HOME", "", NUTS), variable("HOME", "/proc/y", NUTS),
    variable("HOME", "/nowhere", FIT), variable("HOME", "{work}/m.stan", NUTS),
    variable("HOME", "{work}/closed", NUTS, files={"closed": Folder(0o500)}, ordinary=True),
    case("neither HOME nor cache", NUTS, environment={"HOME": None, "XDG_CACHE_HOME": None}),
    case("neither HOME nor cache, closed", COMPARE, ordinary=True,
         environment={"HOME": "/proc/y", "XDG_CACHE_HOME": None, "MPLCONFIGDIR": "/proc/z"}),
    case("HOME that cannot be looked into", NUTS, ordinary=True, files={"closed": Folder(0o000)},
         environment={"HOME": "{work}/closed", "XDG_CACHE_HOME": None}),
    variable("XDG_CONFIG_HOME", "/proc/y", NUTS),
    variable("MPLCONFIGDIR", "/proc/y", COMPARE),
    variable("MPLCONFIGDIR", "{work}/m.stan", COMPARE),
    variable("XDG_RUNTIME_DIR", "/proc/y"), variable("XDG_DATA_HOME", "/proc/y", NUTS),
    variable("TMPDIR", "/nowhere", WRITE), variable("TMPDIR", "/proc/y", NUTS, way="fork"),
    variable("TMPDIR", "/dev/null", COMPARE, way="fork"), variable("TMPDIR", "", WRITE),
    variable("TMPDIR", "{work}/m.stan", BENCH),
    variable("TMPDIR", "{work}/closed", NUTS, files={"closed": Folder(0o500)}, ordinary=True),
    variable("STANROVI_CACHE", "/proc/y"), variable("CMDSTAN", "/nowhere", NUTS),
    variable("CMDSTAN", "{work}/m.stan", "nuts m.stan --engine cmdstan", code=(1, 2),
             says="CmdStan"),
    variable("BRIDGESTAN", "/nowhere", "check m.stan --engine bridgestan", code=(1, 2),
             says="BridgeStan|nowhere"),
    variable("BRIDGESTAN", "{work}", "check m.stan --engine bridgestan", code=(1, 2),
             says="BridgeStan|work"),
    variable("PATH", "", NUTS), variable("PATH", None),
)  # fmt: skip

PICTURES = (
    variable("MPLBACKEND", "bogus", COMPARE),
    variable("MPLBACKEND", "module://nowhere", COMPARE),
    variable("MPLBACKEND", "bogus", FIT),
    *(case(f"matplotlibrc: {name}", command, files={"matplotlibrc": text}, **rest)
      for name, text, command, rest in (
        ("usetex", "text.usetex: True\n", COMPARE, {}),
        ("odd throughout", "no.such.key: 3\n::: \x00 rubbish {{{\nsavefig.dpi: 1000000\n"
         "figure.figsize: 0, 0\naxes.facecolor: nocolour\n", COMPARE, {}),
        ("not UTF-8", b"font.family: caf\xe9\n", COMPARE, {}),
        ("a backend that is none", "backend: bogus\n", COMPARE, {}),
        ("a font that is none", "font.family: No Such Font\n", COMPARE, {}),
      )),
    case("matplotlibrc is a folder", COMPARE, files={"matplotlibrc": Folder()}),
    case("matplotlibrc is unreadable", COMPARE, files={"matplotlibrc": File("", 0)}, ordinary=True),
)  # fmt: skip

INTERPRETER = (
    variable("PYTHONWARNINGS", "error"), variable("PYTHONWARNINGS", "error", COMPARE),
    variable("PYTHONWARNINGS", "nonsense"),
    variable("PYTHONHASHSEED", "0"), variable("PYTHONOPTIMIZE", "2", asks=20),
         variable("PYTHONDEVMODE", "1"),
    variable("PYTHONUNBUFFERED", "1"),
    variable("PYTHONIOENCODING", "ascii"), variable("PYTHONIOENCODING", "utf-16"),
    variable("PYTHONUTF8", "0"), variable("PYTHONSAFEPATH", "1"),
    variable("PYTHONFAULTHANDLER", "1"), variable("PYTHONMALLOC", "debug"),
    variable("PYTHONNOUSERSITE", "1"), variable("PYTHONASYNCIODEBUG", "1"),
    variable("LANG", "C"), variable("LC_ALL", "C"),
    variable("LC_ALL", "no_SUCH.locale"), variable("LC_ALL", "tr_TR.UTF-8"),
    case("LC_ALL POSIX without coercion", environment={"LC_ALL": "POSIX",
         "PYTHONCOERCECLOCALE": "0",
                                                      "PYTHONUTF8": "0"}),
    case("ASCII alone, compare", COMPARE, environment={
        "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii"}),
    case("ASCII alone, a name in Unicode", "fit ü.stan --method gaussian --draws 50", (0, 1, 2),
         ".",
         files={"ü.stan": NORMAL}, environment={
             "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    case("files in the folder named as packages", files={
        "numpy.py": "raise SystemExit(7)", "random.py": "raise SystemExit(7)",
        "json.py": "raise SystemExit(7)"}, environment={"PYTHONSAFEPATH": "1"}),
    *(variable(name, "nonsense", WRITE)
      for name in ("HDF5_DRIVER", "HDF5_VOL_CONNECTOR")),
    variable("HDF5_DRIVER", "nonsense", "report fit.nc nuts.nc --output out",
             files={"fit.nc": Stock("fit.nc"), "nuts.nc": Stock("nuts.nc")}),
    variable("SOURCE_DATE_EPOCH", "abc", COMPARE, code=(0, 1), says="cannot be loaded"),
    variable("DASK_CONFIG", "{work}/dask", WRITE, files={"dask/x.yaml": "{: ["}, code=(0, 1),
             says="dask cannot be loaded.*malformed"),
    *(case(f"an empty module {path}", WRITE, 1, f"{path}.*lacks what", keeps=("out.nc",),
           files={f"lib/{path}": ""}, environment={"PYTHONPATH": "{work}/lib"})
      for path in ("numpy.py", "xarray.py", "h5netcdf.py", "stanli.py", "rich/__init__.py")),
    *(case(f"a library that says {text}", WRITE, 1, f"h5netcdf cannot be loaded.*{says}",
           files={"lib/h5netcdf.py": text}, environment={"PYTHONPATH": "{work}/lib"})
      for text, says in (("raise SystemExit(0)", "SystemExit"), ("1 // 0", "ZeroDivisionError"))),
)  # fmt: skip

PYTHONS_OWN = ("signal", "pickle", "select", "socket", "multiprocessing")
BESIDE = (
    *(case("files in the folder named as modules of Python", command,
           files={f"{module}.py": "raise SystemExit(7)" for module in PYTHONS_OWN}, asks=10,
           way="fork")
      for command in (BENCH, DASK)),
)  # fmt: skip

TERMINAL = (
    *(variable(name, value, way="fork") for name, value in (
        ("TERM", None), ("TERM", "dumb"), ("TERM", "no-such-terminal"), ("COLUMNS", "1"),
        ("COLUMNS", "0"), ("COLUMNS", "-5"), ("COLUMNS", "wide"), ("COLUMNS", "1000000000"),
        ("LINES", "0"), ("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("TZ", "No/Where"))),
    *(variable(name, value, command, way="fork") for name, value, command in (
        ("COLUMNS", "1", "models"), ("COLUMNS", "1", "fit --help"), ("COLUMNS", "0", "--help"),
        ("COLUMNS", "1", COMPARE), ("_STANROVI_COMPLETE", "bash_source", "models"),
  )),
    *(variable("_STANROVI_COMPLETE", value, "models", code=2, says="_STANROVI_COMPLETE.*unset",
               way="fork")
      for value in ("nonsense", "bash_nonsense", "bash_complete")),
    case("COMP_CWORD that is no number", "models", 2, "_STANROVI_COMPLETE.*unset", way="fork",
         environment={"_STANROVI_COMPLETE": "bash_complete", "COMP_WORDS": "stanrovi",
                      "COMP_CWORD": "x"}),
)  # fmt: skip

THREADS = (
    *(variable(name, value, command) for name, value, command in (
        ("STAN_NUM_THREADS", "many", FIT), ("STAN_NUM_THREADS", "-7", NUTS),
        ("STAN_NUM_THREADS", "99999999999", NUTS), ("STAN_NUM_THREADS", "", FIT),
        ("OMP_NUM_THREADS", "many", FIT), ("OMP_NUM_THREADS", "0", FIT),
        ("OMP_NUM_THREADS", "-1", FIT), ("OPENBLAS_NUM_THREADS", "many", FIT),
        ("OPENBLAS_NUM_THREADS", "0", FIT), ("OPENBLAS_NUM_THREADS", "100000", FIT),
        ("OPENBLAS_NUM_THREADS", "-3", NUTS), ("OPENBLAS_CORETYPE", "nonsense", FIT),
        ("MKL_NUM_THREADS", "many", FIT), ("HDF5_USE_FILE_LOCKING", "TRUE", FIT),
        ("HDF5_USE_FILE_LOCKING", "nonsense", FIT), ("HDF5_DISABLE_VERSION_CHECK", "1", FIT),
        ("MALLOC_ARENA_MAX", "1", FIT), ("GLIBC_TUNABLES", "nonsense", FIT),
        ("LD_LIBRARY_PATH", "/nowhere", FIT), ("DASK_CONFIG", "/proc/y", FIT))),
)  # fmt: skip

TIME = "processor time"
MEMORY = "memory|died|limit|cannot|ulimit|process|thread|open files|space"
LIMITS = (
    *(case(f"address space of {size} MB", command, FEW, MEMORY, limits={"AS": size * 1_000_000})
      for size, command in ((60, FIT), (100, FIT), (150, FIT), (200, FIT), (300, FIT), (400, FIT),
                            (600, FIT), (1000, FIT), (154, NUTS), (410, NUTS), (700, NUTS), (410,
                            COMPARE),
                            (700, COMPARE), (1000, SBC), (410, SBC), (700, BENCH), (150,
                            "models"))),
    *(case(f"{count} open files", command, FEW, "open files|descriptor|" + MEMORY,
          limits={"NOFILE": count})
      for count, command in ((5, "models"), (6, FIT), (8, FIT), (9, f"{FIT} --isolate"), (12, FIT),
                             (20, COMPARE), (12, NUTS), (12, SBC),
                             (20, BENCH), (30, SBC))),
    *(case(f"{count} processes", command, FEW, "process|thread|resource|" + MEMORY,
          limits={"NPROC": count},
           ordinary=True)
      for count, command in ((0, FIT), (1, FIT), (1, SBC), (1, NUTS), (2, NUTS), (3, COMPARE), (2,
      BENCH))),
    case("a second of processor time", "fit m.stan --seed 1", 1, TIME,
         files={"m.stan": "parameters { real x; } model { while (1) target += 0; }"},
         limits={"CPU": 1}),
    case("a second of processor time, isolated", "fit m.stan --seed 1 --isolate", 1, TIME,
         files={"m.stan": "parameters { real x; } model { while (1) target += 0; }"},
         limits={"CPU": 1}),
    case("a second of processor time, in a fork", "fit m.stan --seed 1", 1, TIME,
         files={"m.stan": "parameters { real x; } model { while (1) target += 0; }"},
         limits={"CPU": 1},
         way="fork"),
    *(case(f"a stack of {size} kB", command, FEW, MEMORY, limits={"STACK": size * 1024})
      for size, command in ((256, FIT), (256, NUTS), (512, COMPARE))),
    case("a stack of 256 kB, nested", "fit m.stan --seed 1 --draws 50", FEW,
         "nest|deep|m|" + MEMORY,
         files={"m.stan": "parameters { real x; } model { target += " + "(" * 5000 + "-x*x"
                + ")" * 5000 + "; }"},
         limits={"STACK": 256 * 1024}),
    case("no core files", limits={"CORE": 0}),
    case("no locked memory", limits={"MEMLOCK": 0}),
    case("data of 50 MB", FIT, FEW, MEMORY, limits={"DATA": 50_000_000}),
    case("data of 300 MB", NUTS, FEW, MEMORY, limits={"DATA": 300_000_000}),
)  # fmt: skip

MASKS = (
    case("umask 777", WRITE, umask=0o777), case("umask 777", COMPARE, umask=0o777, way="fork"),
    case("umask 777 as an ordinary user", WRITE, umask=0o777, ordinary=True, code=FEW, says="."),
    case("umask 777 as an ordinary user", COMPARE, umask=0o777, ordinary=True, code=FEW,
         says="ermission|written|read|folder"),
    case("umask 777 as an ordinary user", SBC, umask=0o777, ordinary=True, code=FEW,
         says="ermission|written|read|folder"),
    case("umask 777 as an ordinary user", BENCH, umask=0o777, ordinary=True, code=FEW,
         says="ermission|written|read|folder"),
    case("umask 0", WRITE, umask=0, way="fork"), case("as an ordinary user", WRITE, ordinary=True),
    case("umask 277 as an ordinary user", WRITE, umask=0o277, ordinary=True,
         code=FEW, says="ermission"),
         case("as an ordinary user", COMPARE, ordinary=True),
    case("no environment at all", environment=dict.fromkeys(
        ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "OPENBLAS_NUM_THREADS", "LANG"))),
    case("a thousand variables", environment={f"V{i}": "x" * 50 for i in range(1000)}),
    case("a variable of 100 kB", environment={"LONG": "x" * 100_000}),
    case("a variable that is no text", environment={"ODD": "\udcff\udcfe"}),
)  # fmt: skip

CASES = (*CACHES, *PICTURES, *INTERPRETER, *BESIDE, *TERMINAL, *THREADS, *LIMITS, *MASKS)
