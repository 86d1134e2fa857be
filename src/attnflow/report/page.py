"""A report as a page and as text: what the templates beside this file make of it."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from attnflow.report.contents import Report
from attnflow.report.runs import DONE
from attnflow.report.tables import NOTHING, OTHER, cell, first_line, ranking, run_table, spoken

__all__ = ["render"]


def render(template: str, report: Report) -> str:
    """Fill in a file of the folder ``templates``; in HTML, whatever a run holds is text."""
    return TEMPLATES.get_template(template).render(report=report, links=report.links)


def embedded(path: Path) -> str:
    """A picture as part of the page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def markdown(text: str) -> str:
    """A text that neither ends its cell of a table nor is read as HTML."""
    return " ".join(escape(text, quote=False).replace("|", "\\|").split())


TEMPLATES = Environment(
    loader=PackageLoader("attnflow.report"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters.update(embedded=embedded, first_line=first_line, markdown=markdown, spoken=spoken)
TEMPLATES.globals.update(
    DONE=DONE, NOTHING=NOTHING, OTHER=OTHER, cell=cell, ranking=ranking, run_table=run_table
)
