"""Copy what ``benchmarks/`` measured beside the pages, before they are read.

``results.md`` includes ``RESULTS.md``, whose links to pictures and tables then lead to pages and
files of the site. The tables have no heading of their own, and get their file's name as one.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

__all__ = ["copy", "setup"]

PLACE = "measured"  # in the folder of the pages


def copy(benchmarks: Path, pages: Path) -> None:
    """Copy ``RESULTS.md``, its pictures and its tables, each that is not there already."""
    held = {Path("RESULTS.md"): (benchmarks / "RESULTS.md").read_bytes()}
    for path in sorted((benchmarks / "results").iterdir()):
        content = path.read_bytes()
        if path.suffix == ".md":
            title = path.stem.replace("_", " ").capitalize()
            content = f"# {title}\n\n".encode() + content
        if path.suffix in (".md", ".png"):
            held[Path("results", path.name)] = content
    for name, content in held.items():
        target = pages / PLACE / name
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def setup(app: Sphinx) -> dict[str, object]:
    """Copy before Sphinx looks for pages."""
    source = Path(app.srcdir)
    app.connect("builder-inited", lambda app: copy(source.parent / "benchmarks", source))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
