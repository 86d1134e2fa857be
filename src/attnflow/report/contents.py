"""What a report tells of the runs in a folder, whatever it is written as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from attnflow.report.charts import Charts, draw_charts
from attnflow.report.comparable import Comparable, comparable
from attnflow.report.runs import STATES, TRAIN, Run
from attnflow.report.sweep import Sweep, bears_on_figures

__all__ = ["Report", "Section", "compare"]


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
        number = len(self.sweep.ranked)
        return f"{number} run{'s' * (number != 1)} with data={self.group.data}, {options}"

    @property
    def common(self) -> list[str]:
        """What all runs share, beside what makes them comparable."""
        told = ("data", *self.group.options)
        return [f"{key}={value}" for key, value in self.sweep.common.items() if key not in told]


def compare(runs: Sequence[Run], metric: str | None, by: Sequence[str]) -> list[Section]:
    """A section for each kind of images that any of the runs has figures of."""
    groups = [group for group in comparable(runs) if any(run.figures for run in group.runs)]
    sweeps = [Sweep(group.runs, metric, tuple(by)) for group in groups]
    return [Section(g, sweep, draw_charts(sweep)) for g, sweep in zip(groups, sweeps, strict=True)]


@dataclass(frozen=True)
class Report:
    """All runs of a folder, and those that are compared.

    Attributes:
        title: of the page.
        runs: all of them.
        sections: a table each.
        links: to the folders of the runs, by their name; those without one have none.
        most_pictured: of how many of a section's best runs the pictures are shown.
    """

    title: str
    runs: Sequence[Run]
    sections: Sequence[Section]
    links: Mapping[str, str]
    most_pictured: int

    @cached_property
    def charts(self) -> Charts:
        """The charts of all sections, by the names of their files."""
        charts = {}
        for number, section in enumerate(self.sections):
            group = f"{number}_{section.group.task}_{section.group.data}_"
            prefix = group if len(self.sections) > 1 else ""
            charts |= {f"{_plain(prefix + name)}.svg": c for name, c in section.charts.items()}
        return charts

    @property
    def in_order(self) -> list[Run]:
        """The runs with figures table by table, best first, then all others."""
        ranked = [run for section in self.sections for run in section.sweep.ranked]
        names = {run.name for run in ranked}
        return [*ranked, *(run for run in self.runs if run.name not in names)]

    @property
    def varying(self) -> list[str]:
        """The settings that vary in any of the tables."""
        return list(dict.fromkeys(key for s in self.sections for key in s.sweep.varying))

    @cached_property
    def by_status(self) -> dict[str, list[Run]]:
        """The runs of each status that there are any of."""
        found = {status: [run for run in self.runs if run.status == status] for status in STATES}
        return {status: runs for status, runs in found.items() if runs}

    @property
    def made_with(self) -> dict[str, list[str]]:
        """The versions of what the runs were made with."""
        made_with: dict[str, dict[str, None]] = {}
        for run in self.runs:
            for name, value in run.environment.items():
                if value:
                    made_with.setdefault(str(name), {})[str(value)[:12]] = None
        return {name: list(values) for name, values in made_with.items()}

    @cached_property
    def shared(self) -> set[tuple[str, str]]:
        """The options, with values, that all trainings were given, where there are several."""
        given = [run.overrides.items() for run in self.runs if run.task == TRAIN and run.overrides]
        return set.intersection(*map(set, given)) if len(given) > 1 else set()

    def chosen(self, run: Run) -> str:
        """The options of a run's command line that bear on what it finds, but for shared ones."""
        return " ".join(
            f"{key}={value}"
            for key, value in run.overrides.items()
            if bears_on_figures(key) and (key, value) not in self.shared
        )


def _plain(name: str) -> str:
    """A file's name of letters, digits, dots and lines alone."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
