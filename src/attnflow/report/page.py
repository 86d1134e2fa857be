"""The HTML page of a report: one file, which holds its pictures and asks for nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from attnflow.report.runs import DONE, FAILED, UNFINISHED, Run
from attnflow.report.sweep import Sweep
from attnflow.report.tables import cell, first_line, run_rows, setting_rows, spoken

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --card: #ffffff; --ink: #1c2329;
  --muted: #66707a; --line: #e3e6e8; --accent: #1f5fa8; --good: #e8f2ec; --bad: #a8322a; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181b; --card: #1b2125; --ink: #e4e8ea;
  --muted: #98a3ab; --line: #2d353a; --accent: #7fb2ec; --good: #1e3129; --bad: #f08b80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif;
  font-feature-settings: "tnum", "calt" 0; }
main { max-width: 1180px; margin: 0 auto; padding: 48px 28px 80px; }
header { border-bottom: 1px solid var(--line); padding-bottom: 20px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.015em; }
h2 { font-size: 18px; margin: 48px 0 4px; letter-spacing: -0.01em; }
h3 { font-size: 14px; margin: 0 0 6px; }
p { margin: 4px 0 14px; max-width: 75ch; }
.muted, figcaption { color: var(--muted); font-size: 13px; }
code { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; margin: 12px 0 0; padding: 0; list-style: none; }
.chips li { border: 1px solid var(--line); border-radius: 99px; padding: 1px 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 24px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; }
.tile.wide { grid-column: span 2; }
.tile b { display: block; font-size: 20px; letter-spacing: -0.01em; line-height: 1.35; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 7px 12px; text-align: left; white-space: nowrap; }
th { color: var(--muted); font-weight: 500; font-size: 12.5px;
  border-bottom: 1px solid var(--line); }
td { border-top: 1px solid var(--line); }
tr:first-child td { border-top: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.metric { font-weight: 600; }
tr.best td { background: var(--good); }
.failed { color: var(--bad); }
.unfinished { color: var(--muted); font-style: italic; }
figure { margin: 0; }
svg { max-width: 100%; height: auto; display: block; }
.charts figure:last-child { grid-column: 1 / -1; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr));
  gap: 28px 36px; margin-top: 14px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 18px;
  margin-top: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.shots { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; margin-top: 8px; }
.shots figure { flex: 1 1 200px; min-width: 0; }
.shots img { display: block; width: 100%; height: auto; border-radius: 6px; background: #ffffff; }
details { margin: 10px 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: 12px 14px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; white-space: pre-wrap; }
footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--line); }
@media (max-width: 640px) { .cards, .charts { grid-template-columns: 1fr; } }
"""


def page(sweep: Sweep, title: str, charts: Mapping[str, str], most_pictured: int) -> str:
    """The whole page.

    Args:
        sweep: the runs.
        title: of the page.
        charts: SVG elements by their caption.
        most_pictured: of how many of the best runs the pictures are shown.
    """
    sections = [_header(sweep, title), _ranking(sweep), _charts(charts)]
    if sweep.repeated or sweep.unfinished():
        sections.append(_all_runs(sweep))
    sections += [_pictures(sweep, most_pictured), _problems(sweep), _footer(sweep)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(sweep: Sweep, title: str) -> str:
    counts = ", ".join(
        f"{number} {status}"
        for status in (DONE, FAILED, UNFINISHED)
        if (number := sweep.count(status))
    )
    compared = " &times; ".join(
        f"{escape(factor)} ({len(sweep.levels(factor))})" for factor in sweep.varying
    )
    chips = "".join(
        f"<li><code>{escape(key)}={escape(value)}</code></li>"
        for key, value in sweep.common.items()
    )
    return (
        f"<header><h1>{escape(title)}</h1>"
        f'<div class="muted">{_plural(len(sweep.runs), "run")}: {counts}'
        f"{' · compared: ' + compared if compared else ''}</div>"
        f'<ul class="chips muted">{chips}</ul></header>{_tiles(sweep)}'
    )


def _tiles(sweep: Sweep) -> str:
    """The best setting at a glance."""
    if not sweep.settings or not (found := sweep.settings[0].figure(sweep.metric)):
        return ""
    best = sweep.settings[0]
    tiles = [("best setting", escape(best.name), " wide")]
    tiles.append((sweep.metric, cell(sweep.metric, found), ""))
    for name in ("test/bpd", "images_per_second", "params"):
        if name != sweep.metric and (figure := best.figure(name)):
            tiles.append((name, cell(name, figure), ""))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile{kind}"><span class="muted">{escape(spoken(label))}</span>'
            f"<b>{value}</b></div>"
            for label, value, kind in tiles
        )
        + "</div>"
    )


def _ranking(sweep: Sweep) -> str:
    """The settings, best first; of a sweep without repetitions, the runs themselves."""
    if not sweep.settings:
        return ""
    header, rows = setting_rows(sweep)
    spread = " Mean ± standard deviation over runs." if sweep.repeated else ""
    return (
        f"<h2>Ranking</h2><p class=muted>By {escape(sweep.metric)}, best first.{spread} "
        'All figures, unrounded: <a href="runs.csv">runs.csv</a>; to paste: '
        '<a href="report.md">report.md</a>.</p>'
        + _table(header, rows, len(sweep.factors), sweep.metric, best=True)
    )


def _all_runs(sweep: Sweep) -> str:
    header, rows = run_rows(sweep)
    return (
        "<h2>All runs</h2>"
        + _table(
            header[:-1],  # notes have a section of their own
            [row[:-1] for row in rows],
            len(sweep.varying) + 2,
            sweep.metric,
            links={run.name: _link(run) for run in sweep.runs},
        )
    )


def _table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int,
    metric: str,
    best: bool = False,
    links: Mapping[str, str] | None = None,
) -> str:
    """A table whose first ``words`` columns are text."""

    def kind(number: int, text: str = "") -> str:
        if number < words:
            return text if text in (FAILED, UNFINISHED) else ""
        return "number metric" if header[number] == metric else "number"

    def entry(number: int, text: str) -> str:
        shown = escape(text)
        if links and not number:
            shown = f'<a href="{links[text]}">{shown}</a>'
        return f'<td class="{kind(number, text)}">{shown}</td>'

    head = "".join(
        f'<th class="{kind(n)}">{escape(spoken(name))}</th>' for n, name in enumerate(header)
    )
    body = "".join(
        f'<tr class="{"best" if best and not place else ""}">'
        + "".join(entry(n, text) for n, text in enumerate(row))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _charts(charts: Mapping[str, str]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"
        for caption, svg in charts.items()
    )
    return f'<h2>At a glance</h2><div class="charts">{figures}</div>' if figures else ""


def _pictures(sweep: Sweep, most: int) -> str:
    """The best runs' pictures, in the page itself."""
    shown = [run for run in sweep.ranked if run.status == DONE and run.pictures][:most]
    if not shown:
        return ""
    cards = "".join(_card(sweep, run) for run in shown)
    return f'<h2>Pictures</h2><p class=muted>Best first.</p><div class="cards">{cards}</div>'


def _card(sweep: Sweep, run: Run) -> str:
    values = " · ".join(
        f"seed {run.setting(key)}" if key == "seed" else run.setting(key) or "default"
        for key in sweep.varying
    )
    figure = run.figures.get(sweep.metric)
    told = "" if figure is None else f"{sweep.metric} {figure:.3f} · "
    shots = "".join(
        f'<figure><a href="{_link(run)}samples/{quote(path.name)}">'
        f'<img alt="{escape(path.stem)}" loading="lazy" src="{_embedded(path)}"></a>'
        f"<figcaption>{escape(path.stem.replace('_', ' ').replace('final', 'samples'))}"
        "</figcaption></figure>"
        for path in run.pictures
    )
    return (
        f'<div class="card"><h3>{escape(values or run.name)}</h3><div class="muted">'
        f'{escape(told)}<a href="{_link(run)}">run {escape(run.name)}</a></div>'
        f'<div class="shots">{shots}</div></div>'
    )


def _problems(sweep: Sweep) -> str:
    """Failed runs with their errors, half-written ones with how far they came."""
    rows = []
    for run in sweep.unfinished():
        values = " ".join(f"{key}={run.setting(key)}" for key in sweep.varying)
        told = run.note or "nothing was written"
        rows.append(
            f'<details{" open" if len(told) < 400 else ""}><summary><b class="{run.status}">'
            f'{run.status}</b> <a href="{_link(run)}">run {escape(run.name)}</a> '
            f"<code>{escape(values)}</code> <span class=muted>"
            f"{escape(first_line(told)) if len(told) >= 400 else ''}</span></summary>"
            f"<pre><code>{escape(told)}</code></pre></details>"
        )
    return "<h2>Failed and unfinished runs</h2>" + "".join(rows) if rows else ""


def _footer(sweep: Sweep) -> str:
    """What the runs were made with."""
    made_with = {}
    for run in sweep.runs:
        try:
            made_with = json.loads((run.folder / "environment.json").read_text())
            break
        except (OSError, json.JSONDecodeError):
            continue
    told = " · ".join(
        f"{escape(name.replace('_', ' '))} {escape(str(value))[:12]}"
        for name, value in made_with.items()
        if value
    )
    return f"<footer class=muted>Written by <code>python -m attnflow.report</code>. {told}</footer>"


def _embedded(path: Path) -> str:
    """A picture as part of the page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _link(run: Run) -> str:
    """The run's folder, from the folder of the report."""
    return quote(f"../{run.name}/")


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)
