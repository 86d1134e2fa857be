"""The HTML page of a report: one file, which holds its pictures and asks for nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from attnflow.report.charts import Charts
from attnflow.report.comparable import Comparable
from attnflow.report.runs import STATES, Run
from attnflow.report.sweep import Sweep
from attnflow.report.tables import (
    NOTHING,
    OTHER,
    cell,
    chosen,
    first_line,
    ranking,
    run_rows,
    setting_columns,
    shared_overrides,
    spoken,
)

__all__ = ["Section", "page"]

LONG_NOTE = 400  # letters
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
h2 { font-size: 21px; margin: 56px 0 4px; letter-spacing: -0.01em; }
h3 { font-size: 16px; margin: 36px 0 4px; }
h4 { font-size: 14px; margin: 0 0 6px; }
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
.tile b { display: block; font-size: 18px; letter-spacing: -0.01em; line-height: 1.35; }
.tile:not(.wide) b { white-space: nowrap; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 7px 12px; text-align: left; white-space: nowrap; vertical-align: top; }
td.words { white-space: normal; min-width: 240px; overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 500; font-size: 12.5px;
  border-bottom: 1px solid var(--line); }
td { border-top: 1px solid var(--line); }
tr:first-child td { border-top: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.metric { font-weight: 600; }
tr.best td { background: var(--good); }
.failed, .damaged { color: var(--bad); }
figure { margin: 0; }
svg { max-width: 100%; height: auto; display: block; }
figure.curves { grid-column: 1 / -1; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr));
  gap: 28px 36px; margin-top: 14px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 18px;
  margin-top: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.shots { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; margin-top: 8px; }
.shots figure { flex: 1 1 200px; min-width: 0; max-width: 400px; }
.shots img { display: block; width: 100%; height: auto; border-radius: 6px; background: #ffffff; }
details { margin: 10px 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: 12px 14px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; white-space: pre-wrap; }
footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--line); }
@media (max-width: 640px) { .cards, .charts { grid-template-columns: 1fr; }
  .charts figure { overflow-x: auto; min-width: 0; }
  figure.curves svg { max-width: none; width: 760px; } }
"""


@dataclass(frozen=True)
class Section:
    """Runs that are compared in one table, with their charts."""

    group: Comparable
    sweep: Sweep
    charts: Charts

    @property
    def told(self) -> str:
        """What makes the runs comparable, and how many they are."""
        options = ", ".join(f"{key}={value}" for key, value in self.group.options.items())
        return f"{_plural(len(self.sweep.ranked), 'run')} with data={self.group.data}, {options}"


def page(
    sections: Sequence[Section],
    runs: Sequence[Run],
    title: str,
    links: Mapping[str, str],
    most_pictured: int,
) -> str:
    """The whole page.

    Args:
        sections: a table each.
        runs: all of them.
        title: of the page.
        links: to the folders of the runs, by their name; those without one have none.
        most_pictured: of how many of a section's best runs the pictures are shown.
    """
    parts = [_header(sections, runs, title)]
    for number, section in enumerate(sections):
        parts += [_ranking(section, number, links), _charts(section.charts)]
        if section.sweep.repeated:
            parts.append(_all_runs(section.sweep, links))
        parts.append(_pictures(section.sweep, links, most_pictured))
    parts += [*(_apart(status, runs, links) for status in STATES[1:]), _footer(runs)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(sections: Sequence[Section], runs: Sequence[Run], title: str) -> str:
    counts = ", ".join(
        f"{number} {status}"
        for status in STATES
        if (number := sum(run.status == status for run in runs))
    )
    contents = "".join(
        f'<li><a href="#table_{number}">{escape(section.group.name)}</a> '
        f'<span class="muted">{escape(section.told)}</span></li>'
        for number, section in enumerate(sections)
    )
    several = "Figures of different images cannot be compared: a table for each kind of images."
    told = "" if sections else "No run has figures to compare."
    if len(sections) > 1:
        told = f"{several}</p><ul>{contents}</ul><p>"
    return (
        f'<header><h1>{escape(title)}</h1><div class="muted">{_plural(len(runs), "run")}: '
        f"{counts}</div><p>{told}</p></header>"
    )


def _tiles(sweep: Sweep) -> str:
    """The best setting at a glance."""
    if len(sweep.ranked) < 2 or not (found := sweep.settings[0].figure(sweep.metric)):
        return ""
    best = sweep.settings[0]
    label = f"best {' · '.join(sweep.factors) or 'run'}"
    tiles = [(label, escape(best.name), " wide")]
    tiles.append((spoken(sweep.metric), cell(sweep.metric, found), ""))
    for name in ("test/bpd", "images_per_second", "params"):
        if name != sweep.metric and (figure := best.figure(name)):
            tiles.append((spoken(name), cell(name, figure), ""))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile{kind}"><span class="muted">{escape(label)}</span>'
            f"<b>{value}</b></div>"
            for label, value, kind in tiles
        )
        + "</div>"
    )


def _ranking(section: Section, number: int, links: Mapping[str, str]) -> str:
    """The settings, best first; of runs without repetitions, the runs themselves."""
    sweep = section.sweep
    header, rows, words = ranking(sweep)
    compared = ", ".join(
        f"{key} ({len({run.setting(key) for run in sweep.compared})})" for key in sweep.varying
    )
    common = "".join(
        f"<li><code>{escape(f'{key}={value}')}</code></li>"
        for key, value in sweep.common.items()
        if key not in ("data", *section.group.options)
    )
    return (
        f'<h2 id="table_{number}">{escape(section.group.name)}</h2>'
        f'<p class="muted">{escape(section.told)}.'
        f"{escape(f' Compared: {compared}.') if compared else ''}</p>"
        f'{f"""<ul class="chips muted">{common}</ul>""" if common else ""}{_tiles(sweep)}'
        f'<h3>Ranking</h3><p class="muted">{escape(_ranked_by(sweep))} '
        'All figures, unrounded: <a href="runs.csv">runs.csv</a>; to paste: '
        '<a href="report.md">report.md</a>.</p>'
        + _table(header, rows, words, sweep.metric, links, best=True)
    )


def _ranked_by(sweep: Sweep) -> str:
    """How the table came about."""
    told = f"By {sweep.metric}, best first."
    if sweep.asked_metric not in (None, sweep.metric):
        told = f"No run of these has {sweep.asked_metric}. {told}"
    if sweep.repeated:
        rest = [key for key in sweep.varying if key not in sweep.factors]
        over = f", which differ in {', '.join(rest)}" if rest else ""
        told += f" Mean ± standard deviation over several runs{over}."
    if any(run.figures.get("test/bpd_std_err") is not None for run in sweep.runs):
        told += " ± of one run's test/bpd: the standard error over its test images."
    return told


def _all_runs(sweep: Sweep, links: Mapping[str, str]) -> str:
    header, rows = run_rows(sweep)
    words = len(setting_columns(sweep.varying)) + 1
    return "<h3>All runs</h3>" + _table(header, rows, words, sweep.metric, links)


def _table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int,
    metric: str,
    links: Mapping[str, str],
    best: bool = False,
) -> str:
    """A table whose first ``words`` columns are text."""

    def kind(number: int) -> str:
        if number < words:
            return "words" if header[number] == OTHER else ""
        return "number metric" if header[number] == metric else "number"

    def entry(number: int, text: str) -> str:
        shown = _linked(text, links) if header[number] == "run" else escape(text)
        return f'<td class="{kind(number)}">{shown}</td>'

    head = "".join(
        f'<th class="{kind(n)}">{escape(name if n < words else spoken(name))}</th>'
        for n, name in enumerate(header)
    )
    body = "".join(
        f'<tr class="{"best" if best and not place and len(rows) > 1 else ""}">'
        + "".join(entry(n, text) for n, text in enumerate(row))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _charts(charts: Charts) -> str:
    figures = "".join(
        f'<figure class="{name}"><figcaption>{escape(caption)}</figcaption>{svg}</figure>'
        for name, (caption, svg) in charts.items()
    )
    return f'<h3>At a glance</h3><div class="charts">{figures}</div>' if figures else ""


def _pictures(sweep: Sweep, links: Mapping[str, str], most: int) -> str:
    """The best runs' pictures, in the page itself."""
    shown = [run for run in sweep.ranked if run.pictures][:most]
    if not shown:
        return ""
    cards = "".join(_card(sweep, run, links) for run in shown)
    return f'<h3>Pictures</h3><p class="muted">Best first.</p><div class="cards">{cards}</div>'


def _card(sweep: Sweep, run: Run, links: Mapping[str, str]) -> str:
    values = " · ".join(
        f"{key} {run.setting(key)}" if key == "seed" else run.setting(key) or NOTHING
        for key in sweep.varying
    )
    figure = run.figures.get(sweep.metric)
    told = "" if figure is None else f"{sweep.metric} {figure:.3f} · "
    shots = "".join(
        f'<figure><a href="{links[run.name]}samples/{quote(path.name)}">'
        f'<img alt="{escape(path.stem)}" loading="lazy" src="{_embedded(path)}"></a>'
        f"<figcaption>{escape(path.stem.replace('_', ' ').replace('final', 'samples'))}"
        "</figcaption></figure>"
        for path in run.pictures
    )
    return (
        f'<div class="card"><h4>{escape(values or run.name)}</h4><div class="muted">'
        f"{escape(told)}run {_linked(run.name, links)}</div>"
        f'<div class="shots">{shots}</div></div>'
    )


APART = {
    "failed": "These runs ended by an error.",
    "damaged": "A file of these runs cannot be read; what can be is in the tables above.",
    "running": "A process holds the folders of these runs.",
    "unfinished": "These runs were killed, or stopped by hand.",
    "skipped": "These jobs would have repeated another run of their sweep.",
    "never started": "Nothing of these jobs is there.",
}


def _apart(status: str, runs: Sequence[Run], links: Mapping[str, str]) -> str:
    """The runs of one status, with what they were to do and what became of it."""
    shared = shared_overrides(runs)
    rows = "".join(
        f"<tr><td>{_linked(run.name, links)}</td>"
        f'<td class="words"><code>{escape(chosen(run, shared)) or NOTHING}</code></td>'
        f'<td class="words">{_told(run.note)}</td></tr>'
        for run in runs
        if run.status == status
    )
    if not rows:
        return ""
    return (
        f'<h2 class="{status.replace(" ", "-")}">{status.capitalize()}</h2>'
        f'<p class="muted">{APART[status]}</p><div class="scroll"><table>'
        "<thead><tr><th>run</th><th>settings</th><th>what is known</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _told(note: str) -> str:
    """A note; of a long one its line that says most, and the rest on demand."""
    if "\n" not in note and len(note) < LONG_NOTE:
        return escape(note)
    return (
        f"<details><summary>{escape(first_line(note)[:LONG_NOTE])}</summary>"
        f"<pre><code>{escape(note)}</code></pre></details>"
    )


def _footer(runs: Sequence[Run]) -> str:
    """What the runs were made with."""
    made_with: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in run.environment.items():
            if value:
                made_with.setdefault(str(name), {})[str(value)[:12]] = None
    told = " · ".join(
        f"{name.replace('_', ' ')} {' / '.join(values)}" for name, values in made_with.items()
    )
    return (
        "<footer class=muted>Written by <code>python -m attnflow.report</code>. "
        f"{escape(told)}</footer>"
    )


def _embedded(path: Path) -> str:
    """A picture as part of the page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _linked(name: str, links: Mapping[str, str]) -> str:
    """A run's name, with a link to its folder if there is one."""
    shown = escape(name)
    return f'<a href="{links[name]}">{shown}</a>' if name in links else shown


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)
