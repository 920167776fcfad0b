"""JSON files as posteriordb stores them: plain, or alone in an archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from stanrovi.errors import StanroviError
from stanrovi.io.json_values import MOST_JSON, parse_json
from stanrovi.io.reading import other_format, read_bytes


def read_json(source: Path, error: type[StanroviError]) -> Any:
    """Read a JSON file, whether zipped or not; what it holds tells, not its name.

    Parameters
    ----------
    source : Path
        A JSON text in UTF-8, or a zip archive of one. Among several files the one that is
        called like the archive, or else the only ``.json``, is meant; what systems add for
        themselves (``__MACOSX``, hidden files) does not count.
    error : type of StanroviError
        What to raise.

    Returns
    -------
    object

    Raises
    ------
    StanroviError
        Of the type given: the file is missing, empty, damaged, encrypted, no JSON in UTF-8, or
        an archive in which several files could be meant.
    """
    try:
        content = read_bytes(source, most=MOST_JSON)
        if content.startswith(b"PK"):  # as JSON never does
            content = _unpacked(content, source.name.removesuffix(".zip"))
        if told := "is empty" if not content.strip() else other_format(content):
            raise ValueError(f"it {told}")
        return parse_json(content.decode("utf-8-sig"), str(source))
    except Exception as problem:  # whatever zipfile and its decompressors raise, too
        raise error(
            f"{source} cannot be read as (zipped) JSON ({problem}); fetch it again."
        ) from problem


def _is_of_a_system(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")


def _unpacked(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [PurePosixPath(member) for member in dict.fromkeys(archive.namelist())
                 if not member.endswith("/")]  # fmt: skip
        files = [file for file in files if not any(map(_is_of_a_system, file.parts))]
        named = [file for file in files if file.name == name]
        json_files = [file for file in files if file.suffix == ".json"]
        meant = next((few for few in (named, json_files, files) if len(few) == 1), None)
        if meant is None:
            held = ", ".join(map(str, files[:5])) or "no file"
            raise ValueError(f"the archive holds {held}, and none or one of a known name is needed")
        if archive.getinfo(str(meant[0])).file_size > MOST_JSON:
            raise ValueError(f"unpacked it is larger than {MOST_JSON:,} bytes")
        return archive.read(str(meant[0]))
