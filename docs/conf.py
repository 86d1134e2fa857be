"""The configuration of the documentation, which ``make docs`` builds, strictly and offline."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent / "src")]

from attnflow.version import __version__  # noqa: E402

project = "attnflow"
author = "The attnflow authors"
copyright = "The attnflow authors"
release = version = __version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "mathml",
    "config_reference",
    "measured",
    "public_names",
]
exclude_patterns = ["_build", "extensions", "measured/RESULTS.md"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
# Of RESULTS.md and CHANGELOG.md, whose headings need no order.
suppress_warnings = ["myst.header"]

html_math_renderer = "mathml"
math_numfig = False

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# Of Lightning's methods that are overridden, which explain Lightning.
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Types of others, to which nothing links, as no network is asked for their indices.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(torch|torchvision|lightning|lightning_fabric|torchmetrics|numpy|np|PIL|matplotlib|omegaconf"
        r"|hydra|typing|typing_extensions|collections|pathlib|types|abc|datasets|wandb|argparse"
        r"|subprocess|concurrent|contextlib|enum|functools|rich)(\..*)?",
    ),
]

html_theme = "furo"
html_title = f"attnflow {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
# Pygments' styles of both of furo's schemes, with enough contrast for small print.
pygments_style = "friendly"
pygments_dark_style = "monokai"
