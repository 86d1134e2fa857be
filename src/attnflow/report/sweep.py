"""A set of runs, compared: what varies among them, and the figures of every setting."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from attnflow.report.runs import Run

__all__ = ["Figure", "Setting", "Sweep", "more_is_better"]

# Runs that differ in nothing else are repetitions of one another.
REPETITIONS = ("seed", "ckpt_path")
FIRST = ("attention", "placement")  # the axes of the heat map, where they vary
DEFAULT_METRICS = ("val/bpd", "test/bpd", "val/noisy_bpd", "test/noisy_bpd")
# The standard error of a figure over the images that it is of.
ERRORS = {
    "test/bpd": "test/bpd_std_err",
    "test/noisy_bpd": "test/noisy_bpd_std_err",
}
# Groups and options that bear on where and how a run is made, not on what it finds.
ASIDE = (
    "hydra",
    "paths",
    "logger",
    "metrics",
    "callbacks",
    "debug",
    "experiment",
    "hparams_search",
    "launcher",
    "overwrite",
    "resume",
    "task_name",
    "test",
    "choices",
    "data.in_memory",
    "data.num_workers",
)
# Callbacks change what is shown, but for these.
CALLBACKS = ("callbacks.ema", "callbacks.checkpoint", "callbacks.non_finite")
# Names of figures, or parts of them, of which more is better.
MORE_IS_BETTER = ("images_per_second", "score", "accuracy", "iou", "psnr", "ssim", "diversity")


@dataclass(frozen=True)
class Figure:
    """A number of one or several runs.

    Attributes:
        mean: over the runs.
        spread: the standard deviation over them; of one run, the standard error over its images,
            None where it is not known.
    """

    mean: float
    spread: float | None


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but their seed or checkpoint.

    Attributes:
        values: of :attr:`Sweep.factors`.
        runs: at least one.
    """

    values: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Its values in words."""
        alone = self.runs[0].name if len(self.runs) == 1 else "all runs"
        return " · ".join(value or "-" for value in self.values) or alone

    def figure(self, name: str) -> Figure | None:
        """Over the runs that have it; None where none does."""
        return figure_of(self.runs, name)


def figure_of(runs: Sequence[Run], name: str) -> Figure | None:
    """A figure over the runs that have it; None where none does."""
    having = [(run, value) for run in runs if (value := run.figures.get(name)) is not None]
    if len(having) == 1:
        run, value = having[0]
        return Figure(value, run.figures.get(ERRORS.get(name, "")))
    values = [value for _, value in having]
    return Figure(statistics.fmean(values), statistics.stdev(values)) if values else None


@dataclass(frozen=True)
class Sweep:
    """Runs, compared by one metric.

    Attributes:
        runs: at least one.
        asked_metric: what they are sorted by, if one of them has it; else, or for None, val/bpd,
            or test/bpd without it, or else those of noisy images.
        by: the settings that rows are made of; none for all that vary.
    """

    runs: Sequence[Run]
    asked_metric: str | None = None
    by: tuple[str, ...] = ()

    @cached_property
    def metric(self) -> str:
        """The name of the figure that runs are sorted by."""
        known = {name for run in self.runs for name in run.figures}
        asked = (self.asked_metric,) if self.asked_metric else ()
        return next((n for n in (*asked, *DEFAULT_METRICS) if n in known), DEFAULT_METRICS[0])

    @cached_property
    def varying(self) -> list[str]:
        """The settings in which the runs differ, those of the heat map first.

        What a group's choice implies is left out, and what does not bear on what a run finds.
        """
        runs = self.compared
        chosen = {key: None for run in runs for key in (*run.choices, *run.overrides)}
        composed = {key: None for run in runs for key in run.leaves if key not in run.derived}
        differing = {
            **{key: None for key in (*FIRST, *chosen) if len(self.values_of(key)) > 1},
            **{key: None for key in composed if self._differs_within(key)},
        }
        bearing = [key for key in differing if key not in self.by and bears_on_figures(key)]
        return [*self.by, *bearing]

    @cached_property
    def compared(self) -> list[Run]:
        """The runs that have figures; all of them where none has."""
        return [run for run in self.runs if run.figures] or list(self.runs)

    def values_of(self, key: str) -> set[str]:
        """The values that a setting has."""
        return {run.setting(key) for run in self.compared}

    def _differs_within(self, key: str) -> bool:
        """Whether runs with the same choice of its group have a setting, but not the same one."""
        group = key.split(".")[0]
        having = [run for run in self.compared if key in run.leaves]
        values = {(run.choices.get(group), run.leaves[key]) for run in having}
        return len(values) > len({choice for choice, _ in values})

    @property
    def factors(self) -> list[str]:
        """What rows are made of: what varies, but for the seed or, of evaluations, the checkpoint.

        Where the checkpoint is all that varies, it is what is compared.
        """
        if self.by:
            return list(self.by)
        factors = [key for key in self.varying if key not in REPETITIONS]
        return factors or [key for key in self.varying if key == "ckpt_path"]

    @property
    def axes(self) -> tuple[str, ...]:
        """The one or two factors of the heat maps; none where nothing varies."""
        return tuple(self.factors[:2])

    @property
    def crossed(self) -> bool:
        """Whether all values of :attr:`axes` met the same values of all other factors.

        If not, means over these are not of the same settings; unless they were asked for.
        """
        others: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for setting in self.settings:
            others.setdefault(setting.values[:2], set()).add(setting.values[2:])
        return bool(self.by) or len(set(map(frozenset, others.values()))) == 1

    @property
    def common(self) -> dict[str, str]:
        """What all runs share of attention, placement and the command line's options."""
        run = self.compared[0]
        return {
            key: run.setting(key)
            for key in dict.fromkeys((*FIRST, *run.overrides))
            if key not in self.varying and bears_on_figures(key) and run.setting(key)
        }

    @cached_property
    def settings(self) -> list[Setting]:
        """The runs that have figures by their factors, best first; without the metric last."""
        groups: dict[tuple[str, ...], list[Run]] = {}
        for run in self.compared:
            groups.setdefault(tuple(run.setting(key) for key in self.factors), []).append(run)
        settings = [Setting(values, tuple(runs)) for values, runs in groups.items()]
        return sorted(settings, key=lambda setting: self._place(setting.figure(self.metric)))

    @cached_property
    def ranked(self) -> list[Run]:
        """The runs that have figures, best first; those without the metric last."""
        runs = [run for run in self.compared if run.figures]
        return sorted(runs, key=lambda run: self._place(figure_of([run], self.metric)))

    @property
    def repeated(self) -> bool:
        """Whether a setting has several runs."""
        return len(self.settings) < len(self.compared)

    @property
    def has_errors(self) -> bool:
        """Whether the standard error of a run's figure over its images is known."""
        return any(
            run.figures.get(name) is not None for name in ERRORS.values() for run in self.runs
        )

    def levels(self, factor: str) -> list[str]:
        """The values of a factor: numbers by value, words in the order of the runs."""
        values = list({run.setting(factor): None for run in self.runs})
        try:
            return sorted(values, key=float)
        except ValueError:
            return values

    def cell(self, values: Sequence[str], name: str) -> tuple[Figure | None, list[Run]]:
        """A figure over all runs with these values of :attr:`axes`, and the runs."""
        chosen = [
            run
            for run in self.runs
            if all(run.setting(key) == v for key, v in zip(self.axes, values, strict=True))
        ]
        return figure_of(chosen, name), chosen

    def _place(self, figure: Figure | None) -> tuple[bool, float]:
        """Where a figure of the metric stands: the best first, none last."""
        if figure is None:
            return True, 0.0
        return False, -figure.mean if more_is_better(self.metric) else figure.mean


def bears_on_figures(key: str) -> bool:
    """Whether an option or a group can change what a run finds."""
    if key.startswith(CALLBACKS):
        return True
    return key not in ASIDE and key.split(".")[0] not in ASIDE and not key.endswith(".seed")


def more_is_better(name: str) -> bool:
    """Of a figure's name."""
    return any(part in name for part in MORE_IS_BETTER)
