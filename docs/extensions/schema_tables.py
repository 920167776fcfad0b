"""The JSON schemas as tables: a section for each, a row for each field."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCHEMAS = Path(__file__).parents[1] / "schemas"
Schema = dict[str, Any]


class SchemaTables(SphinxDirective):
    """Makes the sections, where ``{schema-tables}`` stands."""

    def run(self) -> list[nodes.Node]:
        """Read every schema, in the order of their names."""
        found = []
        for path in sorted(SCHEMAS.glob("*.schema.json")):
            self.env.note_dependency(str(path))
            schema = json.loads(path.read_text(encoding="utf-8"))
            section = nodes.section(ids=[nodes.make_id(schema["title"])])
            section += nodes.title("", schema["title"])
            section += nodes.paragraph("", schema["description"])
            section += _table(list(_fields(schema, schema)))
            section += _raw(path.name)
            found.append(section)
        return found


def _fields(field: Schema, root: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and meaning of every field, inner ones after the one that holds them."""
    required = field.get("required", ())
    for name, inner in field.get("properties", {}).items():
        inner = _resolved(inner, root)
        absent = "" if name in required else "May be absent. "
        yield f"{prefix}{name}", _type(inner, root), absent + inner.get("description", "")
        yield from _fields(inner, root, f"{prefix}{name}.")
        for key, step in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(inner.get(key), dict):
                yield from _fields(_resolved(inner[key], root), root, f"{prefix}{name}{step}.")


def _resolved(field: Schema, root: Schema) -> Schema:
    """Put what a field refers to in the place of the reference; what stands beside it stays."""
    if "$ref" not in field:
        return field
    found = root
    for step in field["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return {**found, **field}


def _type(field: Schema, root: Schema) -> str:
    """Tell the type of a field in words."""
    values = [field["const"]] if "const" in field else field.get("enum")
    if values is not None:
        return " | ".join(json.dumps(value) for value in values)
    names = field.get("type", "any")
    names = [names] if isinstance(names, str) else names
    return " | ".join(_one_type(name, field, root) for name in names)


def _one_type(name: str, field: Schema, root: Schema) -> str:
    """Tell a type with what it holds."""
    for kind, key, word in (("array", "items", "of"), ("object", "additionalProperties", "to")):
        if name == kind and isinstance(field.get(key), dict):
            return f"{name} {word} {_type(_resolved(field[key], root), root)}"
    return name


def _table(rows: list[tuple[str, str, str]]) -> nodes.table:
    """Build a table of three columns."""
    group = nodes.tgroup(cols=3)
    group.extend(nodes.colspec(colwidth=width) for width in (30, 25, 45))
    words = [nodes.Text(word) for word in ("field", "type", "meaning")]
    group += nodes.thead("", _row(*words))
    body = nodes.tbody()
    for name, kind, meaning in rows:
        body += _row(nodes.literal("", name), nodes.Text(kind), nodes.Text(meaning))
    group += body
    return nodes.table("", group, classes=["schema"])


def _row(*cells: nodes.Node) -> nodes.row:
    """Build a row of one paragraph a cell; a cell without text stays empty."""
    filled = ([nodes.paragraph("", "", cell)] if cell.astext() else [] for cell in cells)
    return nodes.row("", *(nodes.entry("", *content) for content in filled))


def _raw(name: str) -> nodes.paragraph:
    """Link to the schema itself."""
    link = nodes.reference("", name, refuri=f"../schemas/{name}")
    return nodes.paragraph("", "", nodes.Text("The schema itself: "), link, nodes.Text("."))


def _copy(app: Sphinx, error: Exception | None) -> None:
    """Put the schemas beside the pages."""
    if error is None and app.builder.format == "html":
        shutil.copytree(SCHEMAS, Path(app.outdir) / "schemas", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("schema-tables", SchemaTables)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
