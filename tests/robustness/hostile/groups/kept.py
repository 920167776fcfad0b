"""Ledgers, results and databases of earlier runs that are damaged, and resumed from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.case import Case
from hostile.files import (
    Content,
    Fifo,
    Folder,
    Link,
    Stock,
    cut,
    file_instead,
    folder_instead,
    gone,
    pipe_instead,
    within,
    written,
)  # fmt: skip

NORMAL = "parameters { real x; real y; } model { x ~ std_normal(); y ~ normal(x, 1); }\n"
SBC = (
    "sbc sbc_regression --method gaussian --simulations 10 --draws 50 --seed 1 --jobs 1 "
    "--output out"
)
BENCH = "bench m.stan --methods gaussian,mfvi --draws 200 --jobs 0 --output out"
COMMANDS = {"sbc": SBC, "bench": BENCH}
LEDGER = "runs.jsonl"
EITHER = (0, 1, 2)
KEPT = ("out", "out/*")


def edited(edit: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Damage to a ledger by its lines."""

    def damage(path: Path) -> None:
        lines = (path / LEDGER).read_text().splitlines(keepends=True)
        (path / LEDGER).write_text("".join(edit(lines)))

    return damage


def record(line: int, **changes: object) -> Callable[[Path], None]:
    """Damage to one record of a ledger."""

    def edit(lines: list[str]) -> list[str]:
        changed = json.loads(lines[line]) | changes
        return [*lines[:line], json.dumps(changed) + "\n", *lines[line + 1 :]]

    return edited(edit)


def value(**changes: object) -> Callable[[Path], None]:
    """Damage to what the first run of a ledger has come to; a mapping changes what it names."""

    def edit(lines: list[str]) -> list[str]:
        told = json.loads(lines[1])
        for name, new in changes.items():
            old = told["value"][name]
            told["value"][name] = old | new if isinstance(new, dict) else new
        return [lines[0], json.dumps(told) + "\n", *lines[2:]]

    return edited(edit)


def refused(command: str, name: str, **changes: object) -> Case:
    """Results that no run can have had, which are refused and change no file."""
    return Case(f"{command}, {name} that none can be", f"{COMMANDS[command]} --resume",
                {"m.stan": NORMAL, "out": Stock(command, value(**changes))}, (1, 2),
                "runs that are kept hold one that is none.*remove its line",
                changes=("out",))  # fmt: skip


REFUSED = (
    *(refused("sbc", f"a rank {rank!r}", ranks={"alpha": rank})
      for rank in ("x", -7, 1e20, 1.5, 51, True, None)),
    refused("sbc", "ranks in a list", ranks=[1, 2]),
    refused("sbc", "gradients in words", n_gradients="x"),
    refused("sbc", "a doubt in words", doubted="no"),
    refused("bench", "an ELBO in words", elbo="x"),
    refused("bench", "a k-hat in a list", khat=[1]),
    refused("bench", "a k-hat beyond numbers", khat=10**400),
    refused("bench", "a verdict in numbers", verdict=3),
)  # fmt: skip
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut in a line": within(LEDGER, cut(0.6)),
    "cut in the first line": within(LEDGER, cut(0.02)),
    "empty": written(LEDGER, ""),
    "text": written(LEDGER, "hello\nthere\n"),
    "zero bytes": written(LEDGER, bytes(500)),
    "not UTF-8": written(LEDGER, b"\xff\xfe\xff\n"),
    "numbers": written(LEDGER, "1\n2\n3\n"),
    "lists": written(LEDGER, "[]\n[]\n"),
    "nested deep": written(LEDGER, "[" * 100_000 + "\n"),
    "without its first line": edited(lambda lines: lines[1:]),
    "with its lines turned": edited(lambda lines: lines[::-1]),
    "with every line twice": edited(lambda lines: [line for line in lines for _ in range(2)]),
    "a line cut in the middle": edited(lambda lines: [lines[0], lines[1][:50] + "\n", *lines[2:]]),
    "a line of zero bytes, as after a crash": edited(lambda lines: [*lines, "\0" * 300]),
    "without the last line break": edited(lambda lines: [*lines[:-1], lines[-1].rstrip("\n")]),
    "a record without its value": record(1, value=None),
    "a record with a value of another kind": record(1, value="abc"),
    "a record with a list as its value": record(1, value=[1, 2]),
    "a record with an empty value": record(1, value={}),
    "a record with a key that is a number": record(1, key=7),
    "a record with an unknown status": record(1, status="splendid"),
    "a record with NaN as its time": record(1, seconds=float("nan")),
    "a record with words as its time": record(1, seconds="x"),
    "another command": record(0, command="nothing"),
    "another version": record(0, stanrovi="99.0"),
    "a folder": folder_instead(LEDGER),
    "gone": gone(LEDGER),
}  # fmt: skip


def resumed(
    command: str, name: str, damage: Callable[[Path], None], how: str = "--resume", **rest: Any
) -> Case:
    """A run that goes on from something damaged."""
    return Case(f"{command}, {name}, {how[2:]}", f"{COMMANDS[command]} {how}",
                {"m.stan": NORMAL, "out": Stock(command, damage)}, EITHER,
                "out|runs|ledger|line|resume",
                keeps=KEPT, changes=("out", "out/*"), **rest)  # fmt: skip


INSIDE = {
    "results that are a folder": {"sbc": folder_instead("sbc.json"),
    "bench": folder_instead("bench.json")},
    "results cut": {"sbc": within("sbc.json", cut(0.5)), "bench": within("bench.json", cut(0.5))},
    "the list of files cut": dict.fromkeys(COMMANDS, within(".stanrovi-files.json", cut(0.5))),
    "the list of files as a list": dict.fromkeys(COMMANDS, written(".stanrovi-files.json",
    "[1, 2]")),
    "the list of files that leads out": dict.fromkeys(
        COMMANDS, written(".stanrovi-files.json",
        '{"../m.stan": "abc", "/etc/passwd": "x", "..": "y"}')),
    "the list of files as a folder": dict.fromkeys(COMMANDS,
    folder_instead(".stanrovi-files.json")),
    "the list of files nested deep": dict.fromkeys(COMMANDS, written(".stanrovi-files.json",
    "[" * 200_000)),
    "the list of files as a pipe": dict.fromkeys(COMMANDS, pipe_instead(".stanrovi-files.json")),
    "results that are a pipe": {"sbc": pipe_instead("sbc.json"),
    "bench": pipe_instead("bench.csv")},
}  # fmt: skip


def database(name: str, files: dict[str, Content], code: int | tuple[int, ...] = (1, 2),
says: str = "db|p",
             words: str = "--posteriordb db p") -> Case:  # fmt: skip
    """A benchmark of a posterior in a folder of posteriordb that is not well."""
    entry = {"name": "p", "model_name": "m", "data_name": "d", "reference_posterior_name": "r"}
    usual: dict[str, Content] = {
        "db/posteriors/p.json": json.dumps(entry),
        "db/models/info/m.info.json": json.dumps(
            {"name": "m", "model_implementations": {"stan": {"model_code": "models/stan/m.stan"}}}
        ),
        "db/models/stan/m.stan": NORMAL,
        "db/data/info/d.info.json": json.dumps({"name": "d", "data_file": "data/data/d.json"}),
        "db/data/data/d.json": "{}",
        "db/reference_posteriors/draws/info/r.info.json": json.dumps({"name": "r"}),
        "db/reference_posteriors/draws/draws/r.json": json.dumps(
            [{"x": [0.1, 0.5, -0.3] * 50, "y": [1, 0.2, 0] * 50}] * 4
        ),
    }
    laid = {key: content for key, content in (usual | files).items() if content is not None}
    return Case(
        f"posteriordb, {name}",
        f"bench {words} --methods gaussian --draws 100 --jobs 0",
        laid,
        code,
        says,
    )


NOT_HERE: Any = None
ENTRY = "db/posteriors/p.json"
POSTERIORDB = (
    database("well", {}, 0),
    database("no such posterior", {}, says="nothing", words="--posteriordb db nothing"),
    database("a pattern without matches", {}, says=r"z\*", words="--posteriordb db 'z*'"),
    database("a missing folder", {}, says="nowhere", words="--posteriordb nowhere p"),
    database("an empty folder", {"empty": Folder()}, says="empty", words="--posteriordb empty p"),
    database("the program as the folder", {"m.stan": NORMAL}, says=r"m\.stan",
         words="--posteriordb m.stan p"),
    database("an entry cut", {ENTRY: '{"name": "p", "model'}),
    database("an entry that is a list", {ENTRY: "[1]"}),
    database("an entry that is a folder", {ENTRY: Folder()}),
    database("an entry that is a pipe", {ENTRY: Fifo()}),
    database("an entry that is empty", {ENTRY: ""}),
    database("an entry without a model", {ENTRY: '{"name": "p"}'}),
    database("an entry with numbers", {ENTRY: '{"name": 1, "model_name": 2, "data_name": 3}'}),
    database("an entry that leads out",
         {ENTRY: '{"name": "p", "model_name": "../../x", "data_name": "d"}'}),
    database("an entry in a circle", {ENTRY: Link("p.json")}),
    database("no information on the model", {"db/models/info/m.info.json": NOT_HERE}, EITHER),
    database("information on the model that is cut", {"db/models/info/m.info.json": "{"}),
    database("information without implementations", {"db/models/info/m.info.json": "{}"}, EITHER),
    database("implementations that are a list",
         {"db/models/info/m.info.json": '{"model_implementations": []}'}, EITHER),
    database("no program", {"db/models/stan/m.stan": NOT_HERE}),
    database("a broken program", {"db/models/stan/m.stan": "parameters {"}),
    database("no data", {"db/data/data/d.json": NOT_HERE}),
    database("broken data", {"db/data/data/d.json": "{"}),
    database("data that lead out",
         {"db/data/info/d.info.json": '{"data_file": "../../../../etc/passwd"}'}),
    database("a number as the file of data", {"db/data/info/d.info.json": '{"data_file": 7}'}),
    database("no reference", {"db/reference_posteriors/draws/draws/r.json": NOT_HERE}, EITHER),
    database("a broken reference", {"db/reference_posteriors/draws/draws/r.json": "[{"}, EITHER),
    database("an empty reference", {"db/reference_posteriors/draws/draws/r.json": "[]"}, EITHER),
    database("a reference without draws",
         {"db/reference_posteriors/draws/draws/r.json": '[{"x": [], "y": []}]'}, EITHER),
    database("a reference of NaN", {"db/reference_posteriors/draws/draws/r.json":
             '[{"x": [NaN, NaN, NaN, NaN], "y": [1, 2, 3, 4]}]'}, EITHER),
    database("a reference of something else", {"db/reference_posteriors/draws/draws/r.json":
             '[{"a": [1, 2, 3, 4]}]'}, EITHER),
    database("a zip that is none", {"db/reference_posteriors/draws/draws/r.json": NOT_HERE,
             "db/reference_posteriors/draws/draws/r.json.zip": "hello"}, EITHER),
)  # fmt: skip

CASES = (
    *REFUSED,
    *(resumed(command, f"ledger {name}", damage)
      for command in COMMANDS for name, damage in DAMAGES.items()),
    *(resumed("bench", f"ledger {name}", DAMAGES[name], "--overwrite")
      for name in ("cut in a line", "text", "zero bytes", "a folder", "gone")),
    *(resumed(command, name, damages[command], how)
      for how in ("--resume", "--overwrite") for command in ("bench",) for name,
      damages in INSIDE.items()),
    *(resumed("sbc", name, damages["sbc"]) for name, damages in INSIDE.items()),
    resumed("bench", "pictures that are a file", file_instead("plots")),
    *POSTERIORDB,
)  # fmt: skip
