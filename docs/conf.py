"""How Sphinx builds the site from these pages; see `make docs`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = author = "stanrovi"
project_copyright = "The stanrovi developers"
version = release = version_of("stanrovi")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
    "offline",
    "plain_text",
    "repository_links",
    "schema_tables",
]
exclude_patterns = ["_build"]
# What docstrings put between single backticks are Python names of ours.
default_role = "py:obj"

# --json is --json.
smartquotes = False

# Anchors as the repository's own pages have them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]

# Notebooks are text, and run when they or the site are new; one that fails is a warning.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_output_stderr = "warn"

# Docstrings tell the types, with shapes and spaces.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False

# Commands are typed as shown, without the prompt and what they print.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"stanrovi {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
