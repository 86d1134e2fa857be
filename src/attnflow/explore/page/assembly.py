"""The whole page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Default

from attnflow.explore.comparing import parameters, sizes
from attnflow.explore.opened import Opened, Shelf
from attnflow.explore.page.attention import attention_panel
from attnflow.explore.page.compare import compare_panel
from attnflow.explore.page.frame import ONE_AT_A_TIME, Frame, words
from attnflow.explore.page.levels import levels_panel
from attnflow.explore.page.sample import sample_panel
from attnflow.explore.page.score import score_panel
from attnflow.explore.page.walking import walk_panel

__all__ = ["STYLE", "THEME", "build_page"]

STYLE = Path(__file__).with_name("style.css")
FONT = ["Inter", "system-ui", "-apple-system", "Segoe UI", "Helvetica", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"]
# Fonts by their names alone are those of the browser's machine.
THEME = Default(font=FONT, font_mono=MONO, primary_hue="blue", radius_size="md")
TITLE = "attnflow explore"
KEPT = (600, 3600)  # uploads are looked at every 10 minutes, and gone after an hour
SHOWN = ("data", "model", "attention", "conditioning")


def build_page(shelf: Shelf, second: str) -> gr.Blocks:
    """The page over the models of a shelf.

    Args:
        shelf: the models.
        second: the one that the first is compared with until another is chosen.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        words(f"<h1>{TITLE}</h1>", elem_classes="af-title")
        with gr.Row():
            with gr.Column(min_width=280):
                model = gr.Dropdown(shelf.names, value=shelf.names[0], label="model")
            with gr.Column(min_width=280):
                about = words(elem_classes="af-about")
        frame = Frame(shelf, model)
        with gr.Tabs():
            for name, panel in PANELS.items():
                with gr.Tab(name):
                    panel(frame)
            with gr.Tab("Compare"):
                compare_panel(frame, second)
        said = words()
        outputs = [about, *frame.followed(), said]

        def chosen(name: str) -> Sequence[Any]:
            def action() -> Sequence[Any]:
                opened = shelf.open(name)
                return [described(opened), *frame.updates(opened)]

            return frame.told(action, len(outputs) - 1)

        for event in (page.load, model.change):
            event(chosen, [model], outputs, **ONE_AT_A_TIME)
    return page


PANELS = {
    "Sample": sample_panel,
    "Levels": levels_panel,
    "Walk": walk_panel,
    "Bits/dim": score_panel,
    "Attention": attention_panel,
}


def described(opened: Opened) -> str:
    """A model in a few words."""
    choices = opened.loaded.choices
    told = [f"{name} {choices[name]}" for name in SHOWN if name in choices]
    told += [sizes(opened), f"{parameters(opened):,} parameters", f"{opened.steps:,} steps"]
    return f'<ul class="af-chips">{"".join(f"<li>{escape(word)}</li>" for word in told)}</ul>'
