"""Places to write to that are taken, closed, full, gone or none."""

from __future__ import annotations

from typing import Any

from hostile.case import Case, Signal
from hostile.files import Content, Fifo, File, Folder, Link, Stock

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
PATHS = {"m.stan": NORMAL}
FIT = "fit m.stan --method gaussian --draws 100 --seed 1"
NUTS = "nuts m.stan --engine stanli --chains 2 --iter-warmup 50 --iter-sampling 50 --seed 1"
SLOW = f"{FIT} --resample --max-seconds 0.5"
SAMPLE = "sample m.stan --chains 2 --seed 1"
SHELL_FIT = "stanrovi " + FIT
COMPARE = (
    "compare m.stan --methods gaussian --draws 100 --seed 1 --chains 2 --iter-warmup 50 "
    "--iter-sampling 100 --nuts-engine stanli"
)
SBC = "sbc sbc_regression --method gaussian --simulations 10 --draws 20 --seed 1 --jobs 1"
BENCH = "bench m.stan --methods gaussian --draws 50 --jobs 0"
REPORT = "report fit.nc nuts.nc"
RUNS = {"fit.nc": Stock("fit.nc"), "nuts.nc": Stock("nuts.nc")}
KEPT = ("out/.runs", "out/runs.jsonl*", "out/.*lock")  # what was computed before the failure
KEPT_OUT = (*KEPT, "out")
LONG = "x" * 300
LONGEST = "x" * 250
BYTES = "m\udcff.stan"


def case(
    name: str, command: str, code: int | tuple[int, ...] = 2, says: str = "out", **rest: Any
) -> Case:
    """A run whose result has to go somewhere."""
    files: dict[str, Content] = {**PATHS, **rest.pop("files", {})}
    return Case(name, command, files, code, says, **rest)


TAKEN = (
    case("a file exists", f"{FIT} --output out.nc", files={"out.nc": "mine"}),
    case("an empty file exists", f"{FIT} --output out.nc", files={"out.nc": ""}),
    case("a file exists, by NUTS", f"{NUTS} --output out.nc", files={"out.nc": "mine"}),
    case("a folder in place of a file", f"{FIT} --output out.nc --overwrite",
         files={"out.nc": Folder()}),
    case("a full folder in place of a file", f"{FIT} --output out.nc --overwrite",
         files={"out.nc/mine": "mine"}),
    case("a pipe in place of a file", f"{FIT} --output out.nc", files={"out.nc": Fifo()}),
    case("a pipe in place of a file, overwritten", f"{FIT} --output out.nc --overwrite", (0, 2),
         files={"out.nc": Fifo()}, changes=("out.nc",)),
    case("a link to nothing", f"{FIT} --output out.nc", (0, 2),
         files={"out.nc": Link("nothing.nc")},
         changes=("out.nc",)),
    case("a link to itself", f"{FIT} --output out.nc", files={"out.nc": Link("out.nc")}),
    case("a link to itself, overwritten", f"{FIT} --output out.nc --overwrite", (0, 2),
         files={"out.nc": Link("out.nc")}, changes=("out.nc",)),
    case("the program as output", f"{FIT} --output m.stan", says=r"m\.stan"),
    case("the program as output, overwritten", f"{FIT} --output m.stan --overwrite",
         says=r"m\.stan"),
    case("a link to the program, overwritten", f"{FIT} --output out.nc --overwrite",
         says=r"m\.stan", files={"out.nc": Link("m.stan")}),
    case("below a file", f"{FIT} --output m.stan/out.nc", says=r"m\.stan"),
    case("a missing folder", f"{FIT} --output no/such/out.nc", says="no/such"),
    case("the folder itself", f"{FIT} --output .", says=r"\."),
    case("the root", f"{FIT} --output /", says="/"),
    case("a slash behind", f"{FIT} --output out.nc/", (0, 2)),
    case("no ending", f"{FIT} --output out", (0, 2)),
    case("an ending of another format", f"{FIT} --output out.json", says="out.json"),
    case("a name of 300 letters", f"{FIT} --output {LONG}.nc", says="too long"),
    case("a path of 5,000 letters", f"{FIT} --output {'a/' * 2500}out.nc", says="too long"),
    case("a name of 250 letters", f"{FIT} --output {'x' * 250}.nc", 0, "x"),
    case("a name of blanks", f"{FIT} --output '   .nc'", 0, ""),
    case("a name with a line break", f"{FIT} --output 'a\nb.nc'", 0, "a"),
    case("a name with control characters", f"{FIT} --output 'a\x1b[31m\x07.nc'", 0, "a"),
    case("a name with a dash", f"{FIT} --output=-out.nc", 0, "out"),
    case("a name in Unicode", f"{FIT} --output ünï😀.nc", 0, "nc"),
    case("a name that is no text", f"{FIT} --output 'a\udcff.nc'", 0, ""),
    *(case(f"a name that is no text, {name}", f"{command} --output 'a\udcff'", 0, "")
      for name, command in (("compare", COMPARE), ("bench", BENCH))),
    *(case(f"a program of a name that is no text, {name}", command.replace("m.stan", BYTES), 0, "",
           files={BYTES: NORMAL})
      for name, command in (("fit", f"{FIT} --output out.nc --csv out"),
      ("compare", f"{COMPARE} --output out"), ("bench", f"{BENCH} --output out"))),
    case("a hidden name", f"{FIT} --output .nc", (0, 2), "nc"),
    case("standard output as a name", f"{FIT} --output -", (0, 2), "-", makes=()),
    case("the bit bucket", f"{FIT} --output /dev/null", (0, 2), "/dev/null"),
    case("the full device", f"{FIT} --output /dev/full", 2, "/dev/full"),
    case("the full device, overwritten", f"{FIT} --output /dev/full --overwrite", 2, "/dev/full"),
    case("the bit bucket, overwritten", f"{FIT} --output /dev/null --overwrite", (0, 2),
         "/dev/null"),
    case("standard output as a device", f"{FIT} --output /dev/stdout --overwrite", (0, 2),
         "stdout"),
    case("in /proc", f"{FIT} --output /proc/out.nc", 2, "/proc"),
    case("in /proc/self", f"{FIT} --output /proc/self/out.nc --overwrite", 2, "/proc"),
    case("in /sys", f"{FIT} --output /sys/out.nc", 2, "/sys"),
    case("in /dev/fd", f"{FIT} --output /dev/fd/9/out.nc", 2, "fd/9"),
    case("a closed folder", f"{FIT} --output closed/out.nc", says="closed",
         files={"closed": Folder(0o500)},
         ordinary=True),
    case("a folder that cannot be looked into", f"{FIT} --output closed/out.nc",
         files={"closed": Folder(0o000)}, ordinary=True, says="closed"),
    case("a file that may not be written", f"{FIT} --output out.nc --overwrite", (0, 2),
         files={"out.nc": File("mine", 0o400)}, ordinary=True, changes=("out.nc",)),
    case("a closed folder, by NUTS", f"{NUTS} --output closed/out.nc", says="closed",
         files={"closed": Folder(0o500)}, ordinary=True),
    case("a closed folder, by compare", f"{COMPARE} --output closed/out",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed"),
    case("a closed folder itself, by compare", f"{COMPARE} --output closed",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed"),
    case("a closed folder itself, by sbc", f"{SBC} --output closed",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed"),
    case("a closed folder itself, by bench", f"{BENCH} --output closed",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed"),
    case("a closed folder itself, by CSV", f"{FIT} --csv closed",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed"),
)  # fmt: skip

FOLDERS = (
    case("a file in place of a folder, compare", f"{COMPARE} --output out", files={"out": "mine"}),
    case("a file in place of a folder, compare, overwritten", f"{COMPARE} --output out --overwrite",
         files={"out": "mine"}),
    case("a file in place of a folder, sbc", f"{SBC} --output out", files={"out": "mine"}),
    case("a file in place of a folder, bench", f"{BENCH} --output out", files={"out": "mine"}),
    case("a file in place of a folder, report", f"{REPORT} --output out", files={"out": "mine",
         **RUNS}),
    case("a file in place of a folder, CSV", f"{FIT} --csv out", files={"out": "mine"}),
    case("a file in place of a folder, inits", f"{FIT} --inits out", files={"out": "mine"}),
    case("a file in place of a folder, demo", "demo --output out", files={"out": "mine"}),
    case("files of others, compare", f"{COMPARE} --output out", files={"out/mine": "mine"}),
    case("files of others, sbc", f"{SBC} --output out", files={"out/mine": "mine"}),
    case("files of others, bench", f"{BENCH} --output out", files={"out/mine": "mine"}),
    case("files of others, report", f"{REPORT} --output out", files={"out/mine": "mine", **RUNS}),
    case("files of others are kept, compare", f"{COMPARE} --output out --overwrite", 0, "",
         files={"out/mine": "mine"}, makes=("out/report.html",)),
    case("a report that is a folder", f"{COMPARE} --output out --overwrite",
         files={"out/report.html/mine": "mine"}, keeps=KEPT),
    case("plots that are a file", f"{COMPARE} --output out --overwrite",
         files={"out/plots": "mine"}, keeps=KEPT),
    *(case(f"plots that are closed, {mode:o}", f"{COMPARE} --output out --overwrite",
           says="out/plots is read-only", files={"out": Stock("comparison"),
           "out/plots": Folder(mode)}, ordinary=True) for mode in (0o555, 0o000)),
    case("plots that are a link to nothing", f"{COMPARE} --output out --overwrite", (0, 2),
         files={"out/plots": Link("nowhere")}, changes=("out/*",), keeps=KEPT),
    case("results that are a folder, sbc", f"{SBC} --output out --overwrite",
         files={"out/sbc.json/mine": "mine"}, keeps=KEPT),
    case("tables that are a folder, bench", f"{BENCH} --output out --overwrite",
         files={"out/bench.md/mine": "mine"}, keeps=KEPT),
    case("a ledger that is a folder, bench", f"{BENCH} --output out --overwrite",
         files={"out/runs.jsonl/mine": "mine"}),
    case("a ledger that is a folder, sbc", f"{SBC} --output out --overwrite",
         files={"out/runs.jsonl/mine": "mine"}),
    case("a ledger that is a folder, compare", f"{COMPARE} --output out --overwrite",
         files={"out/runs.jsonl/mine": "mine"}),
    case("a ledger that is a pipe, bench", f"{BENCH} --output out --overwrite", (0, 2),
         files={"out/runs.jsonl": Fifo()}, changes=("out/*",)),
    case("a ledger that is a pipe, resumed", f"{BENCH} --output out --resume",
         files={"out/runs.jsonl": Fifo()}),
    case("runs that are a file, compare", f"{COMPARE} --output out --overwrite", (0, 2),
         files={"out/.runs": "mine"}, changes=("out/.runs",)),
    case("CSV files that exist", f"{FIT} --csv out", files={"out/m_1.csv": "mine"}),
    case("CSV files of a program whose name is as long as names can be",
         f"fit {LONGEST}.stan --method gaussian --draws 100 --seed 1 --csv out", 0, "",
         files={f"{LONGEST}.stan": NORMAL}, makes=(f"out/{LONGEST[:240]}_1.csv",)),
    case("a CSV file that is a folder", f"{FIT} --csv out --overwrite",
         files={"out/m_1.csv/mine": "mine"}),
    case("starts that exist", f"{FIT} --inits out", files={"out/init_1.json": "mine"}),
    case("starts of which one is a folder", f"{FIT} --inits out --overwrite",
         files={"out/inv_metric.json/mine": "mine"}),
    case("a folder of another command, sbc", f"{SBC} --output out",
         files={"out": Stock("comparison")}),
    case("a folder of another command, compare", f"{COMPARE} --output out",
         files={"out": Stock("sbc")}),
    case("a folder of another command, bench", f"{BENCH} --output out",
         files={"out": Stock("sbc")}),
    case("a folder of another command, bench, resumed", f"{BENCH} --output out --resume",
         files={"out": Stock("sbc")}),
    case("a folder of another command, sbc, resumed", f"{SBC} --output out --resume",
         files={"out": Stock("bench")}),
    case("the working folder", f"{COMPARE} --output .", says=r"\.|m\.stan"),
    case("the root as a folder", f"{SBC} --output /", says="/"),
    case("the root as a folder, overwritten", f"{COMPARE} --output / --overwrite", says="/ is the"),
    case("the root as a folder, CSV", f"{FIT} --csv // --overwrite", says="/ is the"),
    case("a folder in /proc", f"{COMPARE} --output /proc/out", says="/proc"),
    case("a folder in /proc, sbc", f"{SBC} --output /proc/out", says="/proc"),
    case("a folder in /proc, bench", f"{BENCH} --output /proc/out", says="/proc"),
    case("a folder in /proc, CSV", f"{FIT} --csv /proc/out", says="/proc"),
    case("a device as a folder", f"{COMPARE} --output /dev/null", says="/dev/null"),
    case("a link in a circle as a folder", f"{COMPARE} --output out", files={"out": Link("out")}),
    case("a link to a folder", f"{FIT} --csv out", 0, "", files={"real": Folder(),
         "out": Link("real")},
         makes=("real/m_1.csv",)),
    case("a long name as a folder", f"{COMPARE} --output {LONG}", says="too long|x"),
    case("folders 60 deep", f"{FIT} --csv {'a/' * 60}out", (0, 2), "a"),
    case("one name for two outputs", f"{FIT} --csv out --inits out", (0, 2), "out"),
    case("NetCDF inside the CSV folder", f"{FIT} --csv out --output out/fit.nc", (0, 2), "out"),
    *(case(f"outputs in each other's way, {options}", f"{command} {options}",
           says="in each other's way", files={"out": Folder(), "link": Link("out")})
      for command, options in ((FIT, "--output out/fit.nc --csv out"),
      (NUTS, "--output link/nuts.nc --csv out"), (SAMPLE, "--output out/draws.nc --csv out"),
      (FIT, "--csv out --inits link"), (FIT, "--csv out --inits out --overwrite"),
      (FIT, "--csv out/csv --inits out"), (FIT, "--output out.nc --csv out.nc/csv"))),
    case("outputs in each other, overwritten", f"{FIT} --output out/fit.nc --csv out/csv "
         "--inits out --overwrite", 0, "", files={"out": Folder()},
         makes=("out/fit.nc", "out/csv/m_1.csv", "out/inv_metric.json")),
    *(case(f"a folder below a file, {name}", f"{command} mine/out", says="mine is a file",
           files={"mine": "mine"}) for name, command in (("CSV", f"{SLOW} --csv"),
           ("compare", f"{COMPARE} --output"), ("bench", f"{BENCH} --output"))),
    case("a link to nothing as a folder", f"{SLOW} --csv out", says="out is a link to nothing",
         files={"out": Link("nowhere")}),
    case("a closed folder before the work", f"{SLOW} --csv closed/out",
         files={"closed": Folder(0o500)}, ordinary=True, says="closed is read-only"),
    case("output and CSV are one", f"{FIT} --output out.nc --csv out.nc", 2, "out"),
)  # fmt: skip

FULL = (
    *(
        # The streams are files, too: nothing can be said in none or in ten bytes.
        case(f"files end at {size} bytes, {name}", f"{command} --output {out}", (1, 2),
             "large|space|written", limits={"FSIZE": size}, keeps=keeps, way=way,
             silent=size == 0)
        for name, command, out, size, keeps, way in (
            ("fit", FIT, "out.nc", 0, (), "exec"), ("fit", FIT, "out.nc", 4096, (), "fork"),
            ("nuts", NUTS, "out.nc", 4096, (), "fork"), ("compare", COMPARE, "out", 20_000,
            KEPT_OUT, "fork"),
            ("compare", COMPARE, "out", 4096, KEPT_OUT, "fork"), ("sbc", SBC, "out", 1024,
            KEPT_OUT, "fork"),
            ("sbc", SBC, "out", 0, KEPT_OUT, "exec"), ("bench", BENCH, "out", 100, KEPT_OUT,
            "fork"),
        )
    ),
    case("files end early, report", f"{REPORT} --output out", 2, "Error: out/", files=RUNS,
         limits={"FSIZE": 20_000}),
    case("files end early, CSV", f"{FIT} --csv out", 2, r"Error: out/m_1\.csv.*free some space",
         limits={"FSIZE": 1000}),
    case("files end early, an old file is kept", f"{FIT} --output out.nc --overwrite", 2,
         "large|space|written", limits={"FSIZE": 4096}, files={"out.nc": "mine"}),
    case("files end early, an old comparison is kept", f"{COMPARE} --output out --overwrite", 2,
         "large|space|written", limits={"FSIZE": 30_000}, files={"out": Stock("comparison")},
         keeps=KEPT_OUT, changes=("out/runs.jsonl", "out/.runs*")),
    case("standard output is full", FIT, 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, JSON", f"{FIT} --json", 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, models", "models", 2, "space", streams={1: "/dev/full"},
         way="exec"),
    case("standard output is full, help", "fit --help", 2, "space", streams={1: "/dev/full"},
         way="exec"),
    case("standard output is full, version", "--version", 2, "space", streams={1: "/dev/full"},
         way="exec"),
    case("standard output is full, check", "check m.stan", 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, modes", "modes m.stan", 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, nuts", NUTS, 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, sbc", SBC, 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, bench", BENCH, 2, "space", streams={1: "/dev/full"}),
    case("standard output is full, the file is kept", f"{FIT} --output out.nc", 2, "space",
         streams={1: "/dev/full"}, keeps=("out.nc",), makes=("out.nc",)),
    case("standard output is full, the file of NUTS is kept", f"{NUTS} --output out.nc", 2, "space",
         streams={1: "/dev/full"}, keeps=("out.nc",), makes=("out.nc",)),
    case("standard output is full, the comparison is kept", f"{COMPARE} --output out", 2, "space",
         streams={1: "/dev/full"}, keeps=("out", "out/*"), makes=("out/report.html",)),
    case("standard error is full", f"{FIT} --output out.nc", 0, "", streams={2: "/dev/full"},
         makes=("out.nc",)),
    case("standard error is full, a wrong request", "fit nowhere.stan", 2, streams={2: "/dev/full"},
         silent=True, way="exec"),
    case("standard error is full, a failure", "fit m.stan", 1, streams={2: "/dev/full"},
         silent=True,
         files={"m.stan": "parameters { real x; } model { x ~ nothing(); }"}),
    case("both are full", FIT, 2, streams={1: "/dev/full", 2: "/dev/full"}, silent=True,
         way="exec"),
)  # fmt: skip

CLOSED = (
    case("standard output is closed", f"{SHELL_FIT} >&-", (1, 2), "output|closed|descriptor",
         way="shell"),
    case("standard output is open for reading alone", f"{SHELL_FIT} --output out.nc 1</dev/null",
         says="output", way="shell"),
    case("standard output is closed, JSON", f"{SHELL_FIT} --json >&-", (1, 2),
         "output|closed|descriptor",
         way="shell"),
    case("standard output is closed, models", "stanrovi models >&-", (1, 2),
         "output|closed|descriptor",
         way="shell"),
    case("standard output is closed, the file is kept", f"{SHELL_FIT} --output out.nc >&-", (0, 1,
         2),
         "", way="shell", keeps=("out.nc",), silent=True),
    case("standard error is closed", f"{SHELL_FIT} --output out.nc 2>&-", 0, "", way="shell",
         makes=("out.nc",)),
    case("standard error is closed, a wrong request", "stanrovi fit nowhere.stan 2>&-", 2,
         way="shell",
         silent=True),
    case("standard input is closed", f"{SHELL_FIT} --output out.nc <&-", 0, "", way="shell",
         makes=("out.nc",)),
    case("all are closed", f"{SHELL_FIT} --output out.nc <&- >&- 2>&-", (0, 1, 2), "", way="shell",
         silent=True, keeps=("out.nc",)),
    case("all are closed, compare", f"stanrovi {COMPARE} --output out <&- >&- 2>&-", (0, 1, 2), "",
         way="shell", silent=True, keeps=KEPT_OUT),
    case("all are closed, sbc by workers",
         "stanrovi sbc sbc_regression --method gaussian --simulations 10 --draws 20 --jobs 2 "
         "--output out <&- >&- 2>&-", (0, 1, 2), "", way="shell", silent=True, keeps=KEPT_OUT),
    case("output and error are closed, nuts", f"stanrovi {NUTS} >&- 2>&-", (0, 1, 2), "",
         way="shell",
         silent=True),
    # The shell tells the code of the first by a file, for its own is that of the last.
    *(
        case(f"the reader has gone, {name}",
             f"(stanrovi {command}; echo $? > code) | head -c {size}; "
             "read code < code; rm code; exit $code", (0, 1, 141), "", way="shell", silent=True)
        for name, command, size in (
            ("models", "models", 0), ("help", "fit --help", 0), ("fit", FIT, 0), ("JSON",
            f"{FIT} --json", 1),
            ("check", "check m.stan --json", 0), ("help of all", "--help", 1), ("version",
            "--version", 0),
        )
    ),
    case("the reader has gone, error",
         f"(stanrovi {FIT} --output out.nc 2>&1 >/dev/null; echo $? > code) "
         "| head -c 0; read code < code; rm code; exit $code", 0, "", way="shell", silent=True),
    case("the working folder is gone", f"mkdir d; cd d; rmdir ../d; stanrovi {FIT}; exit $?", (0,
         1, 2),
         "folder|m.stan", way="shell"),
    case("the working folder is gone, a bundled model", "mkdir d; cd d; rmdir ../d; stanrovi fit "
         "eight_schools --method gaussian --draws 50; exit $?", (0, 1, 2), "folder|eight",
         way="shell"),
    case("the working folder is gone, an output", "mkdir d; cd d; rmdir ../d; stanrovi fit "
         "eight_schools --method gaussian --draws 50 --output out.nc; exit $?", (1, 2),
         "folder|out.nc", way="shell"),
    case("the working folder is gone, models",
         "mkdir d; cd d; rmdir ../d; stanrovi models; exit $?",
         (0, 1, 2), "folder|eight", way="shell"),
    case("the working folder is gone, sbc",
         "mkdir d; cd d; rmdir ../d; stanrovi sbc sbc_regression "
         "--method gaussian --simulations 10 --draws 20 --jobs 2; exit $?", (0, 1, 2),
         "folder|sbc|calib",
         way="shell"),
    case("the output goes while it is filled", f"(sleep 1.2; rm -rf out) & stanrovi {COMPARE} "
         "--output out; code=$?; wait; exit $code", (0, 1, 2), "out|written", way="shell",
         keeps=KEPT_OUT,
         silent=True),
    case("the terminal has gone", "stanrovi fit m.stan --method gaussian --draws 50", 0, "",
         way="shell",
         signals=(Signal("SIGCONT", 0.2),)),
)  # fmt: skip

CASES = (*TAKEN, *FOLDERS, *FULL, *CLOSED)
