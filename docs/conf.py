"""How Sphinx builds these pages: `tox -e docs`, or `sphinx-build -W docs DIR`."""

import re
from pathlib import Path

project = "Taba"
author = "The authors of Taba"
project_copyright = "Apache License 2.0"
_SOURCE = Path(__file__).resolve().parent.parent / "taba" / "__init__.py"
version = release = re.search(r'__version__ = "([^"]+)"', _SOURCE.read_text(encoding="utf-8")).group(1)

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["examples/*/README.md"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"Taba {version}"
html_copy_source = False
# Links to files of the repository, such as a script or a settings file, are for those who read it there.
suppress_warnings = ["myst.xref_missing"]
