"""Charts and tables as HTML that takes the colours of the page, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from torch import Tensor

from attnflow.explore.comparing import Fact

__all__ = ["compare_table", "histogram_chart", "sentence", "table"]

BINS = 28
WIDTH, HEIGHT = 520, 220  # of the drawing
LEFT, RIGHT, TOP, BOTTOM = 14, 14, 26, 48
TICKS = 5
BEYOND = 0.04  # of the range, beyond its ends


def histogram_chart(
    kinds: Mapping[str, Tensor], label: str, marked: Mapping[str, float] | None = None
) -> str:
    """How the values of one kind of images or of two are spread, as SVG with a legend.

    Args:
        kinds: (N,) of each, by name.
        label: of the values.
        marked: values that a line stands at, by name.
    """
    values = {name: each.double().numpy() for name, each in kinds.items()}
    lines = dict(marked or {})
    every = np.concatenate([*values.values(), np.array(list(lines.values()))])
    low, high = float(every.min()), float(every.max())
    margin = BEYOND * (high - low) or 0.5
    low, high = low - margin, high + margin
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.histogram(each, edges)[0] / len(each) for each in values.values()]
    tallest = max(float(each.max()) for each in shares) or 1.0
    parts = [bars(each, tallest, number) for number, each in enumerate(shares)]
    parts += [line(at, low, high, name) for name, at in lines.items()]
    parts.append(axis(low, high, label))
    legend = "".join(
        f'<span class="key k{number}">{escape(name)}: {len(each)} images, '
        f"mean {each.mean():.3f}</span>"
        for number, (name, each) in enumerate(values.items())
    )
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
    return f'<figure class="af-chart">{drawing}<figcaption>{legend}</figcaption></figure>'


def bars(shares: np.ndarray, tallest: float, number: int) -> str:
    """The bars of one kind of images."""
    step = (WIDTH - LEFT - RIGHT) / len(shares)
    heights = shares / tallest * (HEIGHT - TOP - BOTTOM)
    return "".join(
        f'<rect class="k{number}" x="{LEFT + step * place:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" '
        f'width="{step - 1:.1f}" height="{tall:.1f}"/>'
        for place, tall in enumerate(heights)
        if tall
    )


def line(value: float, low: float, high: float, name: str) -> str:
    """A line at a value, with its name at the side where there is room."""
    at = LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    anchor = "end" if at > WIDTH / 2 else "start"
    beside = at - 6 if anchor == "end" else at + 6
    return (
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="6" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="mark" x="{beside:.1f}" y="18" text-anchor="{anchor}">'
        f"{escape(name)} {value:.3f}</text>"
    )


def axis(low: float, high: float, label: str) -> str:
    """The axis of the values, with round numbers."""
    base, width = HEIGHT - BOTTOM, WIDTH - LEFT - RIGHT
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>']
    for value in round_numbers(low, high):
        at = LEFT + (value - low) / (high - low) * width
        parts.append(f'<text x="{at:.1f}" y="{base + 17}" text-anchor="middle">{value:g}</text>')
    middle = LEFT + width / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def round_numbers(low: float, high: float) -> list[float]:
    """About TICKS round numbers between two."""
    rough = (high - low) / TICKS
    power = 10 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [round(float(number), 10) for number in numbers]


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names with their values."""
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows
    )
    return f'<table class="af-table"><tbody>{body}</tbody></table>'


def compare_table(facts: Sequence[Fact], names: tuple[str, str]) -> str:
    """Facts of two models; those that differ stand out."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    body = "".join(
        f'<tr class="{"differs" if fact.differs else ""}"><th>{escape(fact.name)}</th>'
        f"<td>{escape(fact.first)}</td><td>{escape(fact.second)}</td></tr>"
        for fact in facts
    )
    return f'<table class="af-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def sentence(words: str, kind: str = "note") -> str:
    """A sentence: ``note`` or ``error``; nothing for no words."""
    role = ' role="alert"' if kind == "error" else ""
    return f'<p class="af-{kind}"{role}>{escape(words)}</p>' if words else ""
