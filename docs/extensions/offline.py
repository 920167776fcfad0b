"""The site is read without a network: no page loads anything from elsewhere."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

LOADS = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=\"(?:https?:)?//[^\"]*"
    r"|<link\b[^>]*\brel=\"(?:stylesheet|icon|preload|preconnect)\"[^>]*\bhref=\"(?:https?:)?//[^\"]*"
    r"|url\([\"']?(?:https?:)?//[^)]*"
    r"|@import[^;]*https?://[^;]*"
)


def _check(app: Sphinx, error: Exception | None) -> None:
    """Warn of everything that a browser would fetch."""
    if error is not None:
        return
    for path in Path(app.outdir).rglob("*"):
        if path.suffix in (".html", ".css"):
            for found in LOADS.findall(path.read_text(encoding="utf-8")):
                logging.getLogger(__name__).warning("%s loads %s", path.name, found)


def setup(app: Sphinx) -> dict[str, bool]:
    """Look at the site once it is built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
