"""Formulas as MathML, written into the pages when they are built: nothing is loaded to show them.

``latex2mathml`` translates; what browsers show otherwise than TeX is mended here: ``aligned``, the
alignment of a table's columns, which MathML Core takes as a style alone, and the thin spaces
around the names of functions.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

__all__ = ["mathml", "setup"]

LOG = logging.getLogger(__name__)
SPACE = "http://www.w3.org/1998/Math/MathML"
THIN = "0.1667em"
# Environments that latex2mathml does not have or numbers, as one that it has.
ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|align|split)\}")
BARS = ("|", "‖")
SCRIPTS = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
# How many parts an element has.
PARTS = dict.fromkeys(("mfrac", "mroot", *SCRIPTS), 2) | {"msubsup": 3, "munderover": 3}


def mathml(latex: str, is_block: bool = False) -> str:
    """A formula of LaTeX as a ``<math>`` element.

    Args:
        latex: without dollars.
        is_block: whether it stands in a line of its own.

    Raises:
        ValueError: where something in it is not understood, and would be shown as it is.
    """
    source = ALIGNED.sub(r"\\\1{align*}", latex.strip())
    try:
        math = ElementTree.fromstring(convert(source, display="block" if is_block else "inline"))
    except Exception as error:  # latex2mathml has an exception a mistake, or gives bad XML
        raise ValueError(f"{latex!r}: expected LaTeX that latex2mathml reads") from error
    for element in math.iter():
        element.tag = element.tag.removeprefix(f"{{{SPACE}}}")
        if "\\" in (element.text or ""):
            raise ValueError(f"{latex!r}: expected commands of LaTeX, got {element.text!r}")
        if len(element) != PARTS.get(element.tag, len(element)):
            raise ValueError(f"{latex!r}: expected {PARTS[element.tag]} parts of a {element.tag}")
    for element in list(math.iter()):
        _align(element)
        _name_function(element)
    for element in list(math.iter()):
        _space_functions(element)
    math.set("xmlns", SPACE)
    return ElementTree.tostring(math, encoding="unicode")


def _align(cell: Element) -> None:
    """Align a cell by a style, and close the gap before a relation of ``aligned``."""
    align = cell.get("columnalign")
    if cell.tag != "mtd" or align not in ("left", "right"):
        return
    side = "padding-right:0;" if align == "right" else ""
    if align == "left" and len(cell) > 1 and cell[0].tag == "mi" and not cell[0].text:
        side = "padding-left:0;"
    cell.set("style", f"text-align:{align};{side}")


def _name_function(element: Element) -> None:
    """Take the wide spaces of operators from names, as of ``\\operatorname``, and from bars."""
    if element.tag == "mo" and element.text in BARS:
        element.set("lspace", "0")
        element.set("rspace", "0")
    elif element.tag == "mo" and len(element.text or "") > 1 and (element.text or "").isalpha():
        if "movablelimits" in element.attrib:
            element.set("lspace", "0")
            element.set("rspace", "0")
        else:
            element.tag = "mi"


def _space_functions(row: Element) -> None:
    """Put a thin space before and after each function of a row, where TeX has one."""
    if row.tag not in ("mrow", "math", "mtd", "mstyle", "msqrt"):
        return
    children = list(row)
    for number, child in enumerate(children):
        if not _is_function(child):
            continue
        following = children[number + 1] if number + 1 < len(children) else None
        if following is not None and (_is_function(following) or not _is_operator(following)):
            row.insert(list(row).index(child) + 1, Element("mspace", width=THIN))
        before = children[number - 1] if number else None
        if before is not None and _ends_value(before):
            row.insert(list(row).index(child), Element("mspace", width=THIN))


def _is_function(element: Element) -> bool:
    if element.tag in SCRIPTS and len(element):
        return _is_function(element[0])
    text = element.text or ""
    return element.tag in ("mi", "mo") and len(text) > 1 and text.isascii() and text.isalpha()


def _is_operator(element: Element) -> bool:
    """Whether it is a sign that has spaces of its own, or an opening one."""
    if element.tag == "mrow" and len(element):
        return element[0].get("form") == "prefix" and element[0].text not in BARS
    return element.tag == "mspace" or (element.tag == "mo" and element.text not in BARS)


def _ends_value(element: Element) -> bool:
    """Whether it is a value, beside which a function's name needs a space."""
    if element.tag == "mo":
        return element.text in (")", "]", "}")
    return element.tag != "mspace" and not _is_function(element)


def _translated(node: nodes.Element, is_block: bool) -> str:
    try:
        return mathml(node.astext(), is_block)
    except ValueError as error:
        LOG.warning(str(error), location=node)
        return node.astext()


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_translated(node, is_block=False))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math-block"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_translated(node, is_block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, object]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
