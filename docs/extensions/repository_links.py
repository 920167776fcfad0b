"""Links to files of the repository that are no pages: they lead to its address on the site.

Pages link to tests, benchmarks and examples by relative paths, which work where the repository
is read; what is included from elsewhere (CONTRIBUTING.md) links from where it stands.
"""

import os
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


class RepositoryLinks(SphinxTransform):
    """Turns relative links to anything in the tree into links to pages or to the repository."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Look at every link of a page that is not known to lead to another."""
        for node in list(self.document.findall(_is_open)):
            target, _, anchor = unquote(node["reftarget"]).partition("#")
            if node.get(
                "refdomain"
            ):  # Markdown that is no page: its absolute path, less the ending
                target, anchor = f"{target}.md", node["reftargetid"]
            path = self._path(target, node) if target else None
            if path is None:
                continue
            page = self.env.path2doc(str(path))
            if path.is_relative_to(self.env.srcdir) and page in self.env.found_docs:
                node["refdomain"], node["reftarget"] = "doc", page
                node["reftargetid"] = anchor or None
                continue
            kind = "tree" if path.is_dir() else "blob"
            address = f"{REPOSITORY}/{kind}/main/{path.relative_to(ROOT).as_posix()}"
            node.replace_self(
                nodes.reference(
                    "", "", *node.children, refuri=address + f"#{anchor}" * bool(anchor)
                )
            )

    def _path(self, target: str, node: nodes.Element) -> Path | None:
        """Find what a link leads to, from the page or from the file that it was included from."""
        page = Path(self.env.doc2path(self.env.docname))
        for origin in (page, Path(node.source or page)):
            path = Path(os.path.normpath(origin.parent / target))
            if path.is_relative_to(ROOT) and path.exists():
                return path
        return None


def _is_open(node: nodes.Node) -> bool:
    """Whether it is a Markdown link, and not to a page of the site that the parser found."""
    return (
        isinstance(node, addnodes.download_reference | addnodes.pending_xref)
        and node.get("reftype") == "myst"
        and (node.get("refdomain") is None or Path(node["reftarget"]).is_absolute())
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
