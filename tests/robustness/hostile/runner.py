"""Lays the folder of a case, has it run, and says what is there before and after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hostile import files, stock
from hostile.case import Case
from hostile.nursery import ORDINARY
from hostile.whole import broken

LIMIT = 10.0  # seconds beyond what a case asks for
HASH = 64  # letters of what tells the content of a file
HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    `code` is negative for a death by a signal; `busy` is processor time in seconds; `before` and
    `after` are the things in the folder with what tells their content; `broken` are new files
    that are not whole, and why; `scratch` is what is new in the place for temporary files.
    """

    code: int
    hung: bool
    seconds: float
    busy: float
    sent: list[int]
    left: list[str]
    out: str
    err: str
    folder: Path
    before: dict[str, str]
    after: dict[str, str]
    broken: dict[str, str]
    scratch: list[str]
    again: Outcome | None = None


def told(folder: Path) -> dict[str, str]:
    """Everything below a folder by its name, with its kind or a hash of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            kind = f"link to {os.readlink(path)}"
        elif path.is_dir():
            kind = "folder"
        elif path.is_file() and not os.access(path, os.R_OK):
            kind = "unreadable"
        elif path.is_file():
            kind = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            kind = "device"
        found[str(path.relative_to(folder))] = kind
    return found


class Runner:
    """Runs cases one after another, by a nursery of its own; closed by `close`.

    Parameters
    ----------
    ordinary
        Run all as an ordinary user.
    patience
        Times the ten seconds, on a busy machine.
    """

    def __init__(self, *, ordinary: bool = False, patience: float = 1.0) -> None:
        self._ordinary = ordinary
        self._patience = patience
        self._root = Path(tempfile.mkdtemp(prefix="hostile-"))
        self._root.chmod(0o755)
        self._count = 0

    def close(self) -> None:
        """End the nursery and clear up."""
        if "_nursery" in self.__dict__:
            self._nursery.communicate(timeout=30)
        shutil.rmtree(self._root, ignore_errors=True)

    def cannot(self, case: Case) -> str:
        """Why a case cannot be run here; empty if it can."""
        started = case.way in ("exec", "shell")
        if started and self._changes_user(case) and not self._ordinary_users_start_python:
            return "ordinary users cannot run this interpreter"
        return ""

    def run(self, case: Case) -> Outcome:
        """Run a case in a new folder, and what it asks for afterwards."""
        self._count += 1
        home = self._home(f"{self._count:03d}")
        work = home / "work"
        if self._fonts is not None:
            shutil.copytree(self._fonts, home / "cache" / "matplotlib")
        for name, content in case.files.items():
            files.lay(content, work / name, self._made)
        if self._changes_user(case):
            for path in [home, *home.rglob("*")]:
                os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
        for name, content in case.files.items():
            files.close(content, work / name)
        outcome = self._one(case, home)
        if case.again and outcome.code != 0:
            second = Case(case.name, case.again, ordinary=case.ordinary, asks=case.asks + 20)
            outcome = replace(outcome, again=self._one(second, home))
        return outcome

    def forget(self, outcome: Outcome) -> None:
        """Remove the folder of a case."""
        home = outcome.folder.parent
        for path in [home, *home.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)

    @cached_property
    def _nursery(self) -> subprocess.Popen[str]:
        home = self._home("nursery")
        environment = self._environment(Case("nursery", ""), home)
        nursery = subprocess.Popen(
            [sys.executable, "-m", "hostile.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**environment, "PYTHONPATH": str(HERE), "PYTHONUTF8": "1"},
        )  # fmt: skip
        assert nursery.stdout is not None
        assert nursery.stdout.readline() == "ready\n"
        return nursery

    @cached_property
    def _fonts(self) -> Path | None:
        """The list of fonts that matplotlib makes where there is none, which takes seconds."""
        assert self._nursery
        made = self._root / "nursery" / "cache" / "matplotlib"
        return made if made.exists() else None

    @cached_property
    def _ordinary_users_start_python(self) -> bool:
        case = Case("ordinary", "models", way="exec", ordinary=True)
        home = self._home("probe")
        for path in [home, *home.iterdir()]:
            os.chown(path, ORDINARY, ORDINARY)
        return self._ask(self._request(case, home))["code"] == 0

    def _changes_user(self, case: Case) -> bool:
        return os.getuid() == 0 and (case.ordinary or self._ordinary)

    def _home(self, name: str) -> Path:
        """Folders for one case: to work in, for temporary files, caches, and the user's own."""
        home = self._root / name
        for inner in ("work", "tmp", "cache", "home"):
            (home / inner).mkdir(parents=True, exist_ok=True)
        return home

    def _one(self, case: Case, home: Path) -> Outcome:
        work, scratch = home / "work", home / "tmp"
        before, waste = told(work), set(os.listdir(scratch))
        answer = self._ask(self._request(case, home))
        out, err = ((home / name).read_text(errors="replace") for name in ("out", "err"))
        after, killed = told(work), signal.SIGKILL in answer["sent"]
        new = [name for name in after if name not in before and len(after[name]) == HASH]
        # What is unfinished is hidden, and says so by its name; whether it may stay is checked.
        whole = [name for name in new if not re.search(r"(^|/)\.(unfinished|stanrovi)-", name)]
        whys = {name: broken(work / name, killed=killed) for name in whole}
        return Outcome(
            **answer, out=out, err=err, folder=work, before=before, after=after,
            broken={name: why for name, why in whys.items() if why},
            scratch=sorted(set(os.listdir(scratch)) - waste),
        )  # fmt: skip

    def _request(self, case: Case, home: Path) -> dict[str, Any]:
        """What the nursery needs to know."""
        return {
            "folder": str(home / "work"),
            "way": case.way,
            "words": case.words(),
            "limit": self._patience * LIMIT + case.asks,
            "environment": self._environment(case, home),
            "limits": dict(case.limits),
            "umask": case.umask,
            "streams": self._streams(case, home),
            "ordinary": case.ordinary or self._ordinary,
            "signals": [list(asdict(signal).values()) for signal in case.signals],
        }

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        print(json.dumps(request), file=self._nursery.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._nursery.stdout.readline())
        return answer

    @staticmethod
    def _streams(case: Case, home: Path) -> list[str]:
        usual = [os.devnull, str(home / "out"), str(home / "err")]
        for name in usual[1:]:
            Path(name).write_bytes(b"")
            Path(name).chmod(0o666)
        return [case.streams.get(number, name) for number, name in enumerate(usual)]

    @staticmethod
    def _environment(case: Case, home: Path) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        usual: dict[str, str | None] = {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            **case.environment,
        }
        return {
            name: value.replace("{work}", str(home / "work"))
            for name, value in usual.items()
            if value is not None
        }

    def _made(self, name: str) -> Path:
        """Something of the stock, made now if it has not been."""
        home = self._home("stock")
        for program, text in stock.FILES.items():
            (home / "work" / program).write_text(text)
        made = home / "work" / name
        if not made.exists():
            answer = self._ask(self._request(Case(name, stock.COMMANDS[name], asks=60), home))
            assert answer["code"] == 0, (home / "err").read_text()
        return made
