"""Stan programs as text: reading, `#include`, blocks and data declarations.

The engines own the language. This module reads just enough of it to hash a
program, to name a data variable that is missing or of the wrong shape before
an engine sees it, and to know whether transformed data are drawn at random.
Whatever it does not understand it leaves to the engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stanrovi.errors import ModelError, UsageError, shortened
from stanrovi.io.reading import other_format, read_bytes
from stanrovi.stan.nesting import check_nesting

_INCLUDE = re.compile(
    r"^[ \t]*#include[ \t]+(?=\S)[\"<]?(?P<file>[^\s\">]*)[\">]?[ \t]*(?://.*)?$", re.M
)
_SKIP = re.compile(r"\"[^\"\n]*\"|//[^\n]*|/\*.*?(?:\*/|\Z)", re.S)
_BLOCK = re.compile(
    r"\b(?P<name>functions|transformed\s+data|data|transformed\s+parameters|parameters|model"
    r"|generated\s+quantities)\s*\{"
)
_BRACE, _END = re.compile(r"[{}]"), re.compile(r"[;()\[\]{}]")
_TYPE = re.compile(r"(?P<base>[a-z]\w*)")
_IDENTIFIER = re.compile(r"\s*(?P<name>[A-Za-z]\w*)\s*$")
_STRUCTURE = re.compile(r"\btuple\s*\(|\bcomplex(?:_(?:row_)?vector|_matrix)?\b")
_CONTROL = re.compile(r"\s*(?:\{|(?:for|while|if|else|profile)\b)")
_BOUND = re.compile(r"\b(?P<side>lower|upper)\s*=\s*(?P<value>-?\d+(?:\.\d+)?)\s*(?:,|$)")

# Programs that people and their tools write stay far below.
_MOST_BYTES = 5_000_000
_MOST_FILES, _MOST_NESTED = 1000, 100  # of #include

# Container dimensions of each type, and the sizes that its brackets hold.
_CONTAINER_DIMS = {
    "int": 0, "real": 0, "complex": 1,
    "vector": 1, "row_vector": 1, "simplex": 1, "unit_vector": 1, "ordered": 1,
    "positive_ordered": 1, "sum_to_zero_vector": 1,
    "matrix": 2, "cov_matrix": 2, "corr_matrix": 2, "cholesky_factor_corr": 2,
    "cholesky_factor_cov": 2, "row_stochastic_matrix": 2, "column_stochastic_matrix": 2,
    "sum_to_zero_matrix": 2,
    "complex_vector": 2, "complex_row_vector": 2, "complex_matrix": 3,
}  # fmt: skip
_SQUARE = {"cov_matrix", "corr_matrix", "cholesky_factor_corr", "cholesky_factor_cov"}
_COMPLEX = {"complex", "complex_vector", "complex_row_vector", "complex_matrix"}


@dataclass(frozen=True)
class Declaration:
    """One variable of the data block.

    Attributes
    ----------
    name : str
        Stan name.
    base : str
        Type without sizes and bounds: ``"int"``, ``"vector"``, ``"tuple"``, ...
    sizes : tuple of str
        Size expressions, outermost first, as written. Empty for scalars.
    lower, upper : float, optional
        Bounds written as plain numbers; other bounds are the engine's to check.
    """

    name: str
    base: str
    sizes: tuple[str, ...]
    lower: float | None = None
    upper: float | None = None

    @property
    def is_integer(self) -> bool:
        """Whether the values must be integers."""
        return self.base == "int"

    @property
    def is_structured(self) -> bool:
        """Whether the values are no plain array (tuples), so that only presence is checked."""
        return self.base not in _CONTAINER_DIMS

    def __str__(self) -> str:
        inner = _CONTAINER_DIMS.get(self.base, 0) - (self.base in _COMPLEX)
        split = len(self.sizes) - inner - (self.base in _COMPLEX)
        array = f"array[{', '.join(self.sizes[:split])}] " if split else ""
        own = self.sizes[split : split + inner]
        return f"{array}{self.base}{'[' + ', '.join(own) + ']' if own else ''} {self.name}"


@dataclass(frozen=True)
class Program:
    """A Stan program.

    Attributes
    ----------
    name : str
        What the model is called, usually the stem of the file.
    text : str
        The program as written.
    include_paths : tuple of str
        Folders searched in order for ``#include``.
    """

    name: str
    text: str
    include_paths: tuple[str, ...] = ()

    @cached_property
    def code(self) -> str:
        """The program with every ``#include`` that could be found replaced by its file."""
        code = _Includes(self.name, self.include_paths).expand(self.text)
        check_nesting(_blanked(code), self.name)
        return code

    @property
    def lost_includes(self) -> tuple[str, ...]:
        """Files of ``#include`` that no folder holds."""
        names = dict.fromkeys(match["file"] for match in _INCLUDE.finditer(self.code))
        folders = self.include_paths
        return tuple(n for n in names if not any(_resolved(f, n) for f in folders))

    @cached_property
    def bare(self) -> str:
        """`code` with comments and strings blanked out, every position kept."""
        return _blanked(self.code)

    @cached_property
    def _spans(self) -> tuple[tuple[str, slice], ...]:
        return tuple(_blocks(self.bare))

    def block(self, name: str) -> str:
        """Body of a top-level block without comments and strings; empty if absent."""
        for found, span in self._spans:
            if found == name:
                return self.bare[span].partition("{")[2].rpartition("}")[0]
        return ""

    def without(self, *names: str) -> Program:
        """Drop some of its top-level blocks."""
        code = self.code
        for found, span in reversed(self._spans):
            if found in names:
                code = code[: span.start] + code[span.stop :]
        return Program(self.name, code)

    @cached_property
    def data_declarations(self) -> tuple[Declaration, ...]:
        """Variables of the data block, in order."""
        return tuple(_declarations(self.block("data")))

    def declarations(self, block: str) -> tuple[Declaration, ...]:
        """Variables of a block that holds statements too, as far as they are understood."""
        found = _declarations(self.block(block))
        return tuple(item for item in found if item.base in {*_CONTAINER_DIMS, "tuple"})

    @cached_property
    def generated_declarations(self) -> tuple[Declaration, ...]:
        """Variables of the generated quantities block, as far as they are understood."""
        return self.declarations("generated quantities")

    @property
    def generates_structures(self) -> bool:
        """Whether the generated quantities hold tuples or complex numbers."""
        return bool(_STRUCTURE.search(self.block("generated quantities")))

    @property
    def integers(self) -> frozenset[str]:
        """Generated quantities that are integers, alone or in arrays."""
        return frozenset(item.name for item in self.generated_declarations if item.is_integer)

    @property
    def asks_for_nan(self) -> bool:
        """Whether it looks for NaN somewhere, as programs do that take it for a missing value."""
        return re.search(r"\bis_nan\s*\(", self.bare) is not None

    @property
    def keeps_constants(self) -> bool:
        """Whether no statement leaves out what does not depend on parameters."""
        return not re.search(r"~|_lup[dm]f\b", self.bare)

    @property
    def has_random_data(self) -> bool:
        """Whether transformed data are drawn at random, so that the seed changes the posterior."""
        return re.search(r"_rng\s*\(", self.block("transformed data")) is not None


def read_program(path: Path, include_paths: tuple[str, ...] = ()) -> Program:
    """Read a ``.stan`` file.

    Parameters
    ----------
    path : Path
        The file.
    include_paths : tuple of str
        Folders searched for ``#include`` before the file's own folder.

    Returns
    -------
    Program

    Raises
    ------
    UsageError
        If the file, or one of ``include_paths``, is not there or not readable.
    ModelError
        If the file is not UTF-8 text.
    """
    for folder in include_paths:
        if not Path(folder).is_dir():
            raise UsageError(f"include path {folder!r} is not a folder")
    folders = (*include_paths, str(path.resolve().parent))
    name = os.fsencode(path.stem).decode("utf-8", "replace")  # file names may be any bytes
    return Program(name, _read_text(path), folders)


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the path of a .stan file in it")
    try:
        text = read_bytes(path, most=_MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}; check the path of the Stan program") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        if told := other_format(error.object):
            raise ModelError(f"{path} {told} (a Stan program is needed)") from None
        raise ModelError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x}); "
            "is it a Stan program?"
        ) from None
    if "\0" in text:  # where engines would stop reading
        raise ModelError(f"{path} holds a zero byte; is it a Stan program?")
    return text


class _Includes:
    """Fills in ``#include``: of each file once, as often as it is named, within bounds."""

    def __init__(self, name: str, folders: tuple[str, ...]) -> None:
        self._name, self._folders = name, folders
        self._count = self._characters = 0

    def expand(self, text: str, seen: tuple[Path, ...] = ()) -> str:
        def replace(match: re.Match[str]) -> str:
            for folder in self._folders:
                path = _resolved(folder, match["file"])
                if path is not None and path not in seen:
                    return self._filled(path, seen)
            self._refuse_what_is_no_file(match["file"])
            return match[0]  # stanc reports what is missing, with its place

        return _INCLUDE.sub(replace, text)

    def _refuse_what_is_no_file(self, name: str) -> None:
        """Refuse a folder or a device, which stanc would read, in the working folder as well."""
        for folder in (*self._folders, "."):
            path = f"{folder}/{name}"  # as stanc joins them, an absolute name, too
            if os.path.exists(path) and not os.path.isfile(path):
                raise ModelError(
                    f'{self._name}.stan includes "{shortened(name)}", which is no file; name one'
                )

    def _filled(self, path: Path, seen: tuple[Path, ...]) -> str:
        text = _read_text(path)
        self._count += 1
        self._characters += len(text)
        if len(seen) >= _MOST_NESTED or self._count > _MOST_FILES or self._characters > _MOST_BYTES:
            raise ModelError(
                f"the #include of {self._name}.stan lead to too much: more than {_MOST_NESTED} "
                f"within each other, {_MOST_FILES:,} in all, or {_MOST_BYTES:,} bytes. Does a "
                "file include another many times over?"
            )
        return self.expand(text, (*seen, path))


def _resolved(folder: str, name: str) -> Path | None:
    try:
        path = Path(folder, name).resolve()
        return path if path.is_file() else None
    except OSError:  # no name that a file can have
        return None


def _blanked(code: str) -> str:
    """Blank comments and strings out, every position kept."""
    return _SKIP.sub(lambda match: " " * len(match[0]), code)


def _blocks(code: str) -> Iterator[tuple[str, slice]]:
    """Names and places of the top-level blocks, from name to closing brace."""
    position = 0
    while match := _BLOCK.search(code, position):
        depth, position = 1, len(code)
        for brace in _BRACE.finditer(code, match.end()):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                position = brace.end()
                break
        yield " ".join(match["name"].split()), slice(match.start(), position)


def _declarations(block: str) -> Iterator[Declaration]:
    for statement in _statements(block):
        type_text, array_sizes = _array_prefix(statement.strip())
        if match := _TYPE.match(type_text):
            yield from _declared(match["base"], type_text[match.end() :], array_sizes)


def _statements(block: str) -> Iterator[str]:
    """Statements at the top of a block; those with a body of their own end where it does."""
    depth, start = 0, 0
    for match in _END.finditer(block):
        position, character = match.start(), match[0]
        depth += (character in "([{") - (character in ")]}")
        ends_body = character == "}" and depth <= 0 and _CONTROL.match(block, start)
        if depth <= 0 and (character == ";" or ends_body):
            yield block[start : position + (character == "}")]
            start = position + 1


def _array_prefix(statement: str) -> tuple[str, list[str]]:
    match = re.match(r"array\s*(?=\[)", statement)
    if not match:
        return statement, []
    inside, rest = _bracketed(statement[match.end() :], "[", "]")
    return rest.strip(), _split(inside, ",")


def _declared(base: str, rest: str, array_sizes: list[str]) -> Iterator[Declaration]:
    _, rest = _bracketed(rest, "(", ")")  # the members of a tuple
    constraint, rest = _bracketed(rest, "<", ">")
    inside, rest = _bracketed(rest, "[", "]")
    own = _split(inside, ",") if inside else []
    if base in _SQUARE and len(own) == 1:
        own = own * 2
    if base in _COMPLEX:
        own = [*own, "2"]
    sizes = tuple(size.strip() for size in [*array_sizes, *own])
    bounds = {m["side"]: float(m["value"]) for m in _BOUND.finditer(constraint)}
    for declarator in _split(rest, ","):
        if match := _IDENTIFIER.match(declarator.split("=")[0]):
            yield Declaration(match["name"], base, sizes, bounds.get("lower"), bounds.get("upper"))


def _bracketed(text: str, opening: str, closing: str) -> tuple[str, str]:
    """Split ``[inside] rest``; inside is empty when the text does not open so."""
    text = text.lstrip()
    if not text.startswith(opening):
        return "", text
    depth = 0
    for position, character in enumerate(text):
        # Inside <...> comparisons must be parenthesised, so parentheses shield them.
        depth += (character in "([{" or (position == 0)) - (character in ")]}")
        if character == closing and depth == (1 if closing == ">" else 0):
            return text[1:position], text[position + 1 :]
    return "", ""


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{<") - (character in ")]}>")
        if character == separator and depth <= 0:
            parts.append(text[start:position])
            start = position + 1
    return [part for part in [*parts, text[start:]] if part.strip()]
