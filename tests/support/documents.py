"""What a document holds: blocks that run, links, anchors; and what they print, compared."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(
    r"(?:^<!-- *not run: *(?P<why>[^\n]+?) *-->\n+)?"
    r"^(?P<fence>`{3,}) *(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
SHELL = ("sh", "bash")
# 4,420 and -0.06 and 1e-05, but neither the 31 of p_31 nor the minus of 0.06-1.00.
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")
SECONDS = re.compile(r"\d[\d.,]* [mu]?s\b")
_FAR = 4  # one number of so many may be far from what is shown: all of a few must be near


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes
    ----------
    language : str
    text : str
    line : int
        Of its first line, from 1.
    skipped : str
        Why it does not run, by a comment ``<!-- not run: ... -->`` before it; empty where it does.
    """

    language: str
    text: str
    line: int
    skipped: str


def blocks(text: str) -> Iterator[Block]:
    """Fenced blocks of a document, in order."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(found["language"].strip(), found["text"], line, found["why"] or "")


def runs(block: Block) -> bool:
    return not block.skipped and block.language in ("python", "console", *SHELL)


@dataclass(frozen=True)
class Reader:
    """Somebody who types what a page says into an empty folder, block by block.

    Attributes
    ----------
    page : str
        For messages.
    folder : Path
    names : dict
        What the Python blocks have defined so far.
    """

    page: str
    folder: Path
    names: dict[str, Any]

    def follow(self, text: str) -> None:
        """Run every block; what the page shows of its output must be what comes."""
        every = list(blocks(text))
        for block, after in zip(every, [*every[1:], None], strict=True):
            where = f"{self.page}:{block.line}"
            if not runs(block):
                continue
            if block.language == "python":
                printed = self._python(block, where)
                if after is not None and after.language == "text" and not after.skipped:
                    compare(after.text, printed, where)
            elif block.language == "console":
                for command, shown in commands(block.text):
                    compare(shown, self._shell(command).stdout, f"{where}: {command}")
            else:
                done = self._shell("set -e\n" + block.text)
                assert done.returncode == 0, f"{where}\n{done.stdout}"

    def _python(self, block: Block, where: str) -> str:
        # Blank lines before it, so that a traceback names the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, where, "exec")
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.chdir(self.folder),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", ResourceWarning)  # as in a session: nobody closes files
            exec(code, self.names)
        return out.getvalue()

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "COLUMNS": "80", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Commands after ``$ ``, with lines that continue them, and what each prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        n = 1
        while lines[n - 1].endswith("\\"):
            n += 1
        yield "\n".join(lines[:n]), "\n".join(lines[n:])


def masked(text: str) -> tuple[str, list[float]]:
    """Words of a text, with # for numbers, and the numbers.

    Seconds are anybody's guess, and so is how many threads they are worth.
    """
    text = SECONDS.sub("# s", re.sub("[─═-]{3,}", " ", text))
    text = re.sub(r"\d+ threads?", "# threads", text)
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(text)]
    return " ".join(NUMBER.sub("#", text).split()), numbers


def compare(shown: str, printed: str, where: str) -> None:
    """What is printed has the words that are shown; of the numbers all but a few are near.

    Another processor may take other steps to the same fit, and times are its own. Lines may be
    wrapped elsewhere, as numbers are longer. ``...`` stands for anything.
    """
    words, expected = masked(shown)
    found, numbers = masked(printed)
    if "..." in words:
        pattern = ".*".join(map(re.escape, words.split("...")))
        assert re.fullmatch(pattern, found), f"{where} shows\n{shown}\nand prints\n{printed}"
        return
    assert words == found, f"{where} shows\n{shown}\nand prints\n{printed}"
    far = [
        (a, b) for a, b in zip(expected, numbers, strict=True) if abs(a - b) > 0.02 + 0.1 * abs(a)
    ]
    assert len(far) <= len(numbers) // _FAR, f"{where}: {far}\n{printed}"


def links(text: str) -> Iterator[str]:
    """Targets of links and images, of Markdown and HTML."""
    yield from re.findall(r"^```\{(?:image|figure)\} *(\S+)", text, re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    yield from re.findall(r"\]\(<?([^)\s>]+)", text)
    yield from re.findall(r"^\[[^\]]+\]: *(\S+)", text, re.MULTILINE)
    yield from re.findall(r"(?:src|href)=\"([^\"]+)\"", text)


def anchors(text: str) -> set[str]:
    """Anchors of headings, as GitHub makes them, and those set by hand."""
    found: set[str] = set(re.findall(r"^\(([\w-]+)\)=", text, re.MULTILINE))
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        n = 0
        while (unique := f"{slug}-{n}" if n else slug) in found:
            n += 1
        found.add(unique)
    return found
