"""Link names of attnflow to where they are documented, whichever module they were named by.

A class is documented once, by its public name (``attnflow.transforms.ITrans``), but annotations
name its home (``attnflow.transforms.attention.itrans.ITrans``) and docstrings its bare name. A name
that exists and is not documented stands as it is, without a link; one that does not exist is warned
of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import walk_packages

from docutils import nodes
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import attnflow

__all__ = ["setup"]

MISSING = object()
# Where each documented object stands, by its identity; of this process, so not in the environment.
DOCUMENTED: dict[int, tuple[str, str]] = {}


def found(path: str) -> object:
    """What a dotted path names, imported; ``MISSING`` for nothing."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            it: object = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            it = _attribute(it, name)
        return it
    return MISSING


def _attribute(it: object, name: str) -> object:
    """An attribute, or an annotated one that instances alone have."""
    annotated = getattr(it, "__annotations__", {})
    return getattr(it, name, annotated.get(name, MISSING))


@cache
def modules() -> tuple[str, ...]:
    """Every module of the package."""
    walked = walk_packages(attnflow.__path__, "attnflow.", onerror=lambda _: None)
    return ("attnflow", *(module.name for module in walked if "__main__" not in module.name))


def candidates(target: str, near: tuple[str | None, ...]) -> Iterator[object]:
    """What a name may mean: as it is, then beside the class and module that it is written in, then
    anywhere in the package."""
    if target.startswith("attnflow"):
        yield found(target)
        return
    for place in filter(None, near):
        yield found(f"{place}.{target}")
    for module in modules():
        if module.count(".") < 4:
            yield _named(module, target)


def _named(module: str, target: str) -> object:
    try:
        it: object = import_module(module)
    except ImportError:  # of an extra that is not installed
        return MISSING
    for name in target.split("."):
        it = _attribute(it, name)
    return it


def documented(domain: PythonDomain) -> dict[int, tuple[str, str]]:
    """The name and the page of each documented object, by its identity."""
    held: dict[int, tuple[str, str]] = {}
    for name, entry in domain.objects.items():
        if name.startswith("attnflow") and (it := found(name)) is not MISSING:
            held.setdefault(id(it), (name, entry.docname))
    return held


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element
) -> Element | None:
    """Answer a reference that Sphinx does not find."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    near = (node.get("py:class"), node.get("py:module"))
    module = near[1]
    if module and near[0]:
        near = (f"{module}.{near[0]}", module)
    domain = env.domains.python_domain
    if not DOCUMENTED:
        DOCUMENTED.update(documented(domain))
    exists = False
    for it in candidates(target, near):
        if it is MISSING:
            continue
        exists = True
        if id(it) in DOCUMENTED:
            name, page = DOCUMENTED[id(it)]
            entry = domain.objects[name]
            return make_refnode(app.builder, node["refdoc"], page, entry.node_id, content, name)
    if exists:
        return nodes.inline("", "", content)
    return None


def setup(app: Sphinx) -> dict[str, object]:
    """Resolve references to attnflow's names."""
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
