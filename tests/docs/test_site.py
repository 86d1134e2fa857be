"""The pages agree with the repository: names, links, formulas, and the site that they make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from pages import ROOT, SITE, Page, pages

from attnflow.cli.described import options_of

PAGES = pages()
IDS = [page.path for page in PAGES]
CONF = ROOT / "conf"
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
EXTENSIONS = SITE / "extensions"
HAS_SPHINX = all(find_spec(name) for name in ("sphinx", "furo", "myst_parser", "latex2mathml"))

# A path of the repository, in backticks or as a link's target.
NAMED = re.compile(r"`((?:tests|conf|src|benchmarks|docs|models)/[\w./*-]*)(?:::\w+)?`")
LINK = re.compile(r"(?:\]\(|<img src=\")(?!https?:)([^)\"\s#]*)(#[^)\"\s]*)?[)\"]")
CHOICE = re.compile(rf"(?<![\w.@/:-])({'|'.join(GROUPS)})=([a-z0-9][\w,]*)(?![\w./=(*])")
# What is made when the site is built.
BUILT = ("reference/config.md", "measured/", "_build/html")


def own_files(page: Page) -> set[str]:
    """The files that a page's blocks make, and those that its text tells the reader to make."""
    written = re.findall(r"> (conf/\w+/\w+\.yaml)", page.text)
    return {*written, *(block.file for block in page.blocks if block.file)}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_path_that_is_named_exists(page: Page) -> None:
    named = set(NAMED.findall(page.text)) - own_files(page)
    places = (ROOT, ROOT / "src" / "attnflow")
    missing = [n for n in named if not any(any(at.glob(n.rstrip("/"))) for at in places)]
    assert sorted(name for name in missing if name.removeprefix("docs/") not in BUILT) == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_option_that_is_named_exists(page: Page) -> None:
    """In text, commands and tables; not in Python, refused commands, or what the page makes."""
    own = own_files(page)
    text = re.sub(r"(?ms)^ *```python.*?^ *```|^! .*?$", "", page.text)
    unknown = [
        f"{group}={option}"
        for group, options in CHOICE.findall(text)
        for option in options.split(",")
        if option not in ("", "null", "none", "NAME")
        and not (CONF / group / f"{option}.yaml").is_file()
        and f"conf/{group}/{option}.yaml" not in own
    ]
    assert unknown == []


def test_options_are_looked_for() -> None:
    text = "`attention=itrans,imap placement=level_end` and data.size=3, `model=no`, prior.x=2"
    assert CHOICE.findall(text) == [
        ("attention", "itrans,imap"),
        ("placement", "level_end"),
        ("model", "no"),
    ]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Page) -> None:
    """To a file of the repository; anchors within the site are Sphinx's to check."""
    text = re.sub(r"(?ms)^ *```.*?^ *```", "", page.text)
    folder = (ROOT / page.path).parent
    for target, anchor in LINK.findall(text):
        if not target:
            continue
        path = (folder / unquote(target)).resolve()
        is_built = folder in (SITE, *SITE.rglob("*")) and any(name in str(path) for name in BUILT)
        assert path.exists() or is_built, f"{target}{anchor}"
        assert path.is_relative_to(ROOT), target


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SPHINX, reason="needs pip install 'attnflow[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), str(SITE), str(site)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-6000:]
    for page in PAGES:
        if page.path.startswith("docs/"):
            name = Path(page.path).relative_to("docs").with_suffix(".html")
            assert (site / name).is_file(), name
    check_it_asks_no_other_host(site)
    check_every_option_stands_in_the_reference(site)
    check_formulas_are_mathml(site)


def check_it_asks_no_other_host(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(https?:)?//[^\"]*\"")
    for html in site.rglob("*.html"):
        assert not loaded.search(html.read_text()), html


def check_every_option_stands_in_the_reference(site: Path) -> None:
    html = re.sub(r"</?span[^>]*>", "", (site / "reference" / "config.html").read_text())
    for group in GROUPS:
        for path in (CONF / group).glob("*.yaml"):
            assert f'"#config-{group}-{path.stem}"'.replace("_", "-") in html, path
            for option in options_of(path):
                if option.default and option.about:
                    assert f">{option.key}<" in html, (path, option.key)


def check_formulas_are_mathml(site: Path) -> None:
    found = [path.read_text() for path in (site / "mathematics").glob("*.html")]
    assert sum(text.count("<math ") for text in found) > 100
    for text in found:
        for formula in re.findall(r"<math .*?</math>", text, re.DOTALL):
            ElementTree.fromstring(formula)
            assert "\\" not in formula


FORMULAS = {
    r"\begin{aligned} a &= \frac{b}{c} \\ d &= e \end{aligned}": ("mtable", "mfrac"),
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}": ("mtable",),
    r"\operatorname{softmax}\left(\frac{QK^\top}{\sqrt d}\right)": ("mfrac", "msqrt"),
    r"\begin{cases} x & i < j \\ 0 & \text{else} \end{cases}": ("mtable", "mtext"),
}


@pytest.mark.skipif(not HAS_SPHINX, reason="needs pip install 'attnflow[docs]'")
@pytest.mark.parametrize("latex", FORMULAS)
def test_a_formula_has_its_parts(latex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from mathml import mathml

    formula = ElementTree.fromstring(mathml(latex, is_block=True))
    tags = [element.tag.rpartition("}")[2] for element in formula.iter()]
    assert set(FORMULAS[latex]) <= set(tags)
    assert "&" not in "".join(formula.itertext())
    if "mtable" in tags:
        assert tags.count("mtr") == 2
        assert tags.count("mtd") == 4


@pytest.mark.skipif(not HAS_SPHINX, reason="needs pip install 'attnflow[docs]'")
def test_a_function_has_thin_spaces_and_a_mistake_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    from mathml import mathml

    assert mathml(r"n \log x").count("<mspace") == 2
    assert mathml(r"\log(x)").count("<mspace") == 0
    for mistake in (r"\foo", r"\frac{a}", r"a & b"):
        with pytest.raises(ValueError, match="expected"):
            mathml(mistake)
