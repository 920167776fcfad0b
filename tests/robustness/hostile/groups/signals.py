"""Signals at any moment, of any kind, once and twice; kill -9, and the same command again."""

from __future__ import annotations

from typing import Any

from hostile.case import Case, Signal

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
SLOW = """parameters { vector[20] x; }
model {
  x ~ std_normal();
  for (i in 1:100000) target += 1e-9 * sin(x[1 + i % 20] * i);
  print("still here");
}
"""
ENDLESS = "parameters { real x; } model { x ~ std_normal(); while (1) target += 0; }"
DATA = "transformed data { while (1) { } } " + NORMAL
QUANTITIES = NORMAL + " generated quantities { real y = x; while (1) y += 1; }"
TRANSFORMED = ("parameters { real x; } transformed parameters { real y = x; while (y > -1e300) "
               "y = abs(y); } model { x ~ std_normal(); }")  # fmt: skip
FIT = "fit m.stan --seed 1 --output out.nc"
NUTS = "nuts m.stan --engine stanli --chains 2 --seed 1 --output out.nc"
SAMPLE = "sample m.stan --chains 2 --seed 1 --output out.nc"
MODES = "modes m.stan --seed 1"
COMPARE = "compare m.stan --methods gaussian,mfvi --seed 1 --nuts-engine stanli --output out"
JOBS = f"{COMPARE} --jobs 2"
SBC = "sbc sbc_regression --method rovi --simulations 400 --draws 50 --seed 1 --jobs 2 --output out"
BENCH = "bench m.stan --methods gaussian,mfvi,rovi --seeds 0-19 --draws 100 --jobs 2 --output out"
SERIAL = BENCH.replace("--jobs 2", "--jobs 0")
KEPT = ("out", "out/.runs", "out/runs.jsonl*", "out/.*lock")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
WORDS = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "."}


def stopped(
    name: str,
    command: str,
    program: str,
    *signals: Signal,
    code: int | tuple[int, ...] | None = None,
    **rest: Any,
) -> Case:
    """A run that signals stop; the code is that of the first."""
    first = signals[0].name
    code = CODES[first] if code is None else code
    rest.setdefault("says", WORDS.get(first, "."))
    return Case(name, command, {"m.stan": program}, code, signals=signals, keeps=KEPT, **rest)


BLOCKS = {
    "slow": SLOW, "endless model": ENDLESS, "endless data": DATA, "endless quantities": QUANTITIES,
    "endless transformed parameters": TRANSFORMED,
}  # fmt: skip
ONCE = (
    *(stopped(f"{name}, fit, {block}", FIT, program, Signal(name, 0.7))
      for name in CODES for block, program in BLOCKS.items()),
    *(stopped(f"{name}, {label}", command, SLOW, Signal(name, 0.7))
      for name in CODES
      for label, command in (("nuts", NUTS), ("sample", SAMPLE), ("modes", MODES), ("compare",
      COMPARE),
                             ("compare by workers", JOBS))),
    *(stopped(f"{name} to the group, {label}", command, SLOW, Signal(name, 1.0, "group"))
      for name in ("SIGINT", "SIGTERM", "SIGHUP")
      for label, command in (("fit", FIT), ("compare by workers", JOBS), ("sbc", SBC), ("bench",
      BENCH))),
    *(stopped(f"{name} to the process, {label}", command, SLOW, Signal(name, 2.0))
      for name in ("SIGINT", "SIGTERM") for label, command in (("sbc", SBC), ("bench", BENCH),
                                                                ("bench without workers", SERIAL))),
    *(stopped(f"SIGTERM at {when} s, {label}", command, SLOW, Signal("SIGTERM", when), code=(143,
          -15))
      for when in (0.0, 0.03, 0.15) for label, command in (("fit", FIT), ("bench", BENCH))),
    *(stopped(f"SIGINT at {when} s, {label}", command, SLOW, Signal("SIGINT", when), code=(130, -2))
      for when in (0.1, 0.25) for label, command in (("fit", FIT), ("compare", COMPARE))),
    *(stopped(f"SIGINT at {when} s, as a Dask cluster starts", f"{BENCH} --dask local", SLOW,
              Signal("SIGINT", when, "group"))
      for when in (0.6, 1.0, 1.4, 2.0)),
    stopped("SIGTERM while a program starts", FIT, SLOW, Signal("SIGTERM", 0.02), code=(143, -15),
            way="exec"),
    stopped("SIGINT, endless by NUTS", NUTS, ENDLESS, Signal("SIGINT", 0.7)),
    stopped("SIGTERM, endless by NUTS", NUTS, ENDLESS, Signal("SIGTERM", 0.7)),
    stopped("SIGINT, endless by modes", MODES, ENDLESS, Signal("SIGINT", 0.7)),
    stopped("SIGINT, endless by compare", COMPARE, ENDLESS, Signal("SIGINT", 0.7)),
    stopped("SIGTERM, endless by workers", BENCH, ENDLESS, Signal("SIGTERM", 2.0)),
    stopped("SIGINT, endless by workers", JOBS, ENDLESS, Signal("SIGINT", 2.0, "group")),
)  # fmt: skip

TWICE = (
    *(stopped(f"{first} and {second}, {block}", FIT, program, Signal(first, 0.6), Signal(second,
          0.8))
      for first, second in (("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"))
      for block, program in (("slow", SLOW), ("endless model", ENDLESS))),
    stopped("three at once", FIT, SLOW, Signal("SIGINT", 0.6), Signal("SIGINT", 0.01),
            Signal("SIGINT", 0.01)),
    stopped("two to the group, by workers", BENCH, ENDLESS, Signal("SIGINT", 1.5, "group"),
            Signal("SIGINT", 0.8, "group")),
    stopped("two, endless by NUTS", NUTS, ENDLESS, Signal("SIGINT", 0.7), Signal("SIGINT", 0.8)),
)  # fmt: skip

OTHERS = (
    *(Case(f"{name} is passed over",
          "fit m.stan --method gaussian --draws 100 --seed 1 --output out.nc",
           {"m.stan": SLOW.replace("100000", "2000")}, makes=("out.nc",), signals=(Signal(name,
           0.3),))
      for name in ("SIGCHLD", "SIGWINCH", "SIGCONT", "SIGURG", "SIGPIPE")),
    *(Case(f"stopped and continued, {label}", f"{command} --max-seconds 3", {"m.stan": SLOW}, (0,
          1), ".",
           signals=(Signal("SIGSTOP", 0.4, to), Signal("SIGCONT", 0.8, to)), asks=6)
      for label, command, to in (("the process", FIT, "process"), ("the group", FIT, "group"))),
    *(Case(f"{name}, fit", FIT, {"m.stan": SLOW}, (-number, 1, 128 + number), ".", silent=True,
           signals=(Signal(name, 0.5),))
      for name, number in (("SIGUSR1", 10), ("SIGUSR2", 12), ("SIGALRM", 14))),
    Case("SIGTERM where SIGINT is ignored", "trap '' INT; exec stanrovi " + FIT, {"m.stan": SLOW},
         143,
         "Terminated", way="shell", signals=(Signal("SIGINT", 1.0), Signal("SIGTERM", 0.7))),
    Case("SIGHUP by nohup",
         "trap '' HUP; exec stanrovi fit m.stan --method gaussian --draws 100 --seed 1 "
         "--output out.nc", {"m.stan": SLOW.replace("100000", "2000")}, way="shell",
         signals=(Signal("SIGHUP", 0.5),), makes=("out.nc",)),
    Case("a pipeline is interrupted", f"stanrovi {FIT} | cat; exit 130", {"m.stan": SLOW}, (130,
         -2),
         way="shell", signals=(Signal("SIGINT", 1.2, "group"),), silent=True),
)  # fmt: skip


def killed(name: str, command: str, program: str, *when: float | str, again: str,
to: str = "process",
           **rest: Any) -> Case:  # fmt: skip
    """A run that kill -9 ends; the same command goes on."""
    signals = tuple(Signal("SIGKILL", moment, to) for moment in when)  # type: ignore[arg-type]
    return Case(
        name,
        command,
        {"m.stan": program},
        (-9, 0),
        ".",
        signals=signals,
        again=again,
        keeps=KEPT,
        **rest,
    )


SMALL = SLOW.replace("100000", "1000")
QUICK = ("compare m.stan --methods gaussian,mfvi --draws 200 --nuts-engine stanli --chains 2 "
         "--seed 1 --iter-warmup 60 --iter-sampling 100 --output out")  # fmt: skip
RANKS = ("sbc sbc_regression --method gaussian --simulations 16 --draws 20 --seed 1 --jobs 2 "
         "--output out")  # fmt: skip
RUNS = "bench m.stan --methods gaussian,mfvi --seeds 0-2 --draws 50 --jobs 2 --output out"
MOMENTS = (0.1, 0.4, 0.8, 1.3, 2.0)
KILLS = (
    *(killed(f"kill -9 at {when} s, compare", QUICK, SMALL, when, again=f"{QUICK} --resume")
      for when in (*MOMENTS, 2.8)),
    *(killed(f"kill -9 at {when} s, sbc", RANKS, NORMAL, when, again=f"{RANKS} --resume")
      for when in (0.3, 1.0, 2.0)),
    *(killed(f"kill -9 at {when} s, bench", RUNS, NORMAL, when, again=f"{RUNS} --resume")
      for when in (0.3, 1.0, 2.0)),
    killed("kill -9 to the group, compare", QUICK, SMALL, 1.0, again=f"{QUICK} --resume",
         to="group"),
    killed("kill -9 to the group, sbc", RANKS, NORMAL, 1.5, again=f"{RANKS} --resume", to="group"),
    killed("kill -9 to the group, bench", RUNS, NORMAL, 1.5, again=f"{RUNS} --resume", to="group"),
    killed("kill -9 once a run is kept, compare", QUICK, SMALL, "out/.runs/*.nc",
         again=f"{QUICK} --resume"),
    *(stopped(f"{name} as the first run is kept, compare", QUICK, NORMAL,
              Signal(name, "out/.runs"), code=(CODES[name], 0), again=QUICK)
      for name in CODES),
    killed("kill -9 once the ledger is there, sbc", RANKS, NORMAL, "out/runs.jsonl",
         again=f"{RANKS} --resume"),
    killed("kill -9 once the ledger is there, bench", RUNS, NORMAL, "out/runs.jsonl",
         again=f"{RUNS} --resume"),
    killed("kill -9 while it publishes, compare", QUICK, SMALL, "out/comparison.json",
           again=f"{QUICK} --overwrite"),
    killed("kill -9 once the report is there, compare", QUICK, SMALL, "out/report.html",
           again=f"{QUICK} --resume"),
    killed("kill -9 while it publishes, hidden, compare", QUICK, SMALL, "out/.unfinished*",
           again=f"{QUICK} --resume"),
    killed("kill -9, fit", FIT, SMALL, 0.4, again=f"{FIT} --overwrite --method gaussian"),
    killed("kill -9 as it writes, fit", FIT, NORMAL, ".unfinished*", again=f"{FIT} --overwrite"),
    killed("kill -9, nuts", NUTS, SMALL, 0.5,
         again=f"{NUTS} --overwrite --iter-warmup 50 --iter-sampling 50"),
    killed("kill -9, sample", f"{SAMPLE} --max-seconds 3", SMALL, 0.6,
           again=f"{SAMPLE} --max-seconds 3 --overwrite"),
)  # fmt: skip

CASES = (*ONCE, *TWICE, *OTHERS, *KILLS)
