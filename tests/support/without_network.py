"""Runs commands with internet sockets refused, and writes who asked for one to found.json.

usage: python without_network.py COMMAND... (in an empty folder, in this order)

It is a process of its own, so that what is imported is watched too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

INTERNET = {socket.AF_INET, socket.AF_INET6, -1}  # -1: what socket.socket() takes by itself
LOOKUPS = {
    "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
    "urllib.Request",
}  # fmt: skip
MODULES = (
    "arviz", "bridgestan", "bridgestan.download", "cmdstanpy", "dask", "distributed",
    "matplotlib.pyplot", "stanli", "stanrovi", "stanrovi.benchmark", "stanrovi.calibration",
    "stanrovi.comparison", "stanrovi.plots",
)  # fmt: skip
MODEL = ("eight_schools", "--seed", "1")
COMMANDS = {
    "models": (),
    "check": ("eight_schools",),
    "fit": (*MODEL, "--method", "mfvi", "--output", "fit.nc"),
    "nuts": (*MODEL, "--iter-sampling", "500", "--output", "nuts.nc", "--csv", "chains"),
    "report": ("fit.nc", "nuts.nc", "--output", "reported"),
    "sample": (*MODEL, "--ess", "50"),
    "modes": MODEL,
    "compare": (*MODEL, "--methods", "mfvi", "--output", "compared"),
    "bench": ("eight_schools", "--methods", "mfvi", "--jobs", "1", "--output", "bench"),
    "sbc": ("sbc_regression", "--method", "gaussian", "--simulations", "10", "--jobs", "1"),
    "demo": (),
}


def run(*words: str) -> int:
    """Run a command in this process; returns its exit code."""
    from stanrovi_cli.app import cli

    try:
        cli(words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main(names: list[str]) -> None:
    """Import everything, run the commands, and see last that the watch would have told."""
    asked: dict[str, list[str]] = {}
    step = ""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LOOKUPS or (event == "socket.__new__" and arguments[1] in INTERNET):
            asked.setdefault(step, []).append(f"{event}{arguments}")
            raise PermissionError(f"{event}: nobody asked for the network")

    sys.addaudithook(watch)
    for name in MODULES:
        step = f"import {name}"
        importlib.import_module(name)
    codes = {}
    for step in names:
        codes[step] = run(step, *COMMANDS[step])
    step = "the watch"
    for call in (lambda: socket.socket(), lambda: socket.getaddrinfo("localhost", 80)):
        with contextlib.suppress(PermissionError):
            call()
    found = {"codes": codes, "asked": asked, "interfaces": socket.if_nameindex()}
    Path("found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
