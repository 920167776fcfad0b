"""What can lie in a folder, and how it gets there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class File:
    """A file with permissions of its own."""

    content: str | bytes = ""
    mode: int = 0o644


@dataclass(frozen=True)
class Folder:
    """A folder; what lies in it is told by names with slashes, before it is closed to writers."""

    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Fifo:
    """A named pipe, which nobody writes into."""


@dataclass(frozen=True)
class Stock:
    """Something that a run has made before: see `hostile.stock`, and what has been done to it."""

    name: str
    damage: Callable[[Path], None] | None = None


Content = str | bytes | File | Folder | Link | Fifo | Stock


def lay(content: Content, path: Path, stock: Callable[[str], Path]) -> None:
    """Put one thing where it belongs; folders get their mode by `close`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case str() | bytes() | File():
            file = content if isinstance(content, File) else File(content)
            text = file.content
            path.write_bytes(text.encode() if isinstance(text, str) else text)
            path.chmod(file.mode)
        case Folder():
            path.mkdir(exist_ok=True)
        case Link():
            path.symlink_to(content.target)
        case Fifo():
            os.mkfifo(path)
        case Stock():
            source = stock(content.name)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, path)
            if content.damage is not None:
                content.damage(path)


def close(content: Content, path: Path) -> None:
    """Give a folder its mode, once everything lies in it."""
    if isinstance(content, Folder):
        path.chmod(content.mode)


def cut(share: float) -> Callable[[Path], None]:
    """Damage: the file ends early."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def flipped(every: int) -> Callable[[Path], None]:
    """Damage: one byte in so many is turned round."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[::every] = bytes(byte ^ 0xFF for byte in content[::every])
        path.write_bytes(content)

    return damage


def written(inside: str, content: str | bytes) -> Callable[[Path], None]:
    """Damage to a folder: a file in it holds something else."""

    def damage(path: Path) -> None:
        (path / inside).parent.mkdir(parents=True, exist_ok=True)
        (path / inside).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def gone(inside: str) -> Callable[[Path], None]:
    """Damage to a folder: something in it is gone."""

    def damage(path: Path) -> None:
        inner = path / inside
        if inner.is_dir():
            shutil.rmtree(inner)
        else:
            inner.unlink()

    return damage


def within(inside: str, damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """Damage to a file in a folder."""
    return lambda path: damage(path / inside)


def folder_instead(inside: str) -> Callable[[Path], None]:
    """Damage to a folder: a folder with something in it where a file was."""

    def damage(path: Path) -> None:
        (path / inside).unlink(missing_ok=True)
        (path / inside).mkdir()
        (path / inside / "mine.txt").write_text("mine")

    return damage


def file_instead(inside: str) -> Callable[[Path], None]:
    """Damage to a folder: a file where a folder was."""

    def damage(path: Path) -> None:
        shutil.rmtree(path / inside, ignore_errors=True)
        (path / inside).write_text("mine")

    return damage


def pipe_instead(inside: str) -> Callable[[Path], None]:
    """Damage to a folder: a pipe that nobody writes into where a file was."""

    def damage(path: Path) -> None:
        (path / inside).unlink(missing_ok=True)
        os.mkfifo(path / inside)

    return damage
