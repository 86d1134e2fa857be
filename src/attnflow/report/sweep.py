"""A set of runs, compared: what varies among them, and the figures of every setting."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from attnflow.errors import AttnFlowError
from attnflow.report.runs import DONE, Run

__all__ = ["Figure", "Setting", "Sweep", "more_is_better"]

# Runs that differ in nothing else are repetitions of one another.
REPETITIONS = ("seed", "ckpt_path")
FIRST = ("attention", "placement")  # the axes of the heat map, where they vary
DEFAULT_METRICS = ("val/bpd", "test/bpd")
# Names of figures, or parts of them, of which more is better.
MORE_IS_BETTER = ("images_per_second", "score", "accuracy", "iou", "psnr", "ssim", "diversity")


@dataclass(frozen=True)
class Figure:
    """A number of one or several runs.

    Attributes:
        mean: over the runs.
        spread: the standard deviation over them; None for one run.
        count: of the runs.
    """

    mean: float
    spread: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure | None:
        """None for no values."""
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, len(values))


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
        return " · ".join(value or "default" for value in self.values) or "all runs"

    def figure(self, name: str) -> Figure | None:
        """Over the runs that have it; None where none does."""
        return figure_of(self.runs, name)


def figure_of(runs: Sequence[Run], name: str) -> Figure | None:
    """A figure over the runs that have it; None where none does."""
    values = [run.figures.get(name) for run in runs]
    return Figure.of([value for value in values if value is not None])


@dataclass(frozen=True)
class Sweep:
    """Runs, compared by one metric.

    Attributes:
        runs: at least one.
        asked_metric: what they are sorted by; None for val/bpd, or test/bpd without it.
    """

    runs: Sequence[Run]
    asked_metric: str | None = None

    @cached_property
    def metric(self) -> str:
        """The name of the figure that runs are sorted by.

        Raises:
            AttnFlowError: a metric was asked for that no run has.
        """
        known = {name for run in self.runs for name in run.figures}
        if self.asked_metric is not None:
            if self.asked_metric not in known:
                raise AttnFlowError(
                    f"metric is {self.asked_metric!r}, which no finished run has; accepted are "
                    f"{', '.join(sorted(known)) or 'none, as no run is finished'}."
                )
            return self.asked_metric
        return next((name for name in DEFAULT_METRICS if name in known), DEFAULT_METRICS[0])

    @cached_property
    def varying(self) -> list[str]:
        """The settings in which the runs differ, those of the heat map first."""
        keys = dict.fromkeys((*FIRST, *(k for run in self.known for k in run.settings)))
        return [key for key in keys if len({run.setting(key) for run in self.known}) > 1]

    @property
    def known(self) -> list[Run]:
        """The runs whose settings are known; of an empty folder they are not."""
        return [run for run in self.runs if run.settings]

    @property
    def factors(self) -> list[str]:
        """What varies, but for the seed or, of evaluations, the checkpoint.

        Where the checkpoint is all that varies, it is what is compared.
        """
        factors = [key for key in self.varying if key not in REPETITIONS]
        return factors or [key for key in self.varying if key == "ckpt_path"]

    @property
    def axes(self) -> tuple[str, ...]:
        """The one or two factors of the heat maps; none where nothing varies."""
        return tuple(self.factors[:2])

    @property
    def common(self) -> dict[str, str]:
        """The overrides that all runs share and that bear on what they found."""
        return {
            key: value
            for run in self.known[:1]
            for key, value in run.settings.items()
            if key not in self.varying
            and (key in (*FIRST, "data") or "." in key)
            and not key.startswith(("callbacks.", "logger.", "paths."))
        }

    @cached_property
    def settings(self) -> list[Setting]:
        """The runs by their factors, best first; those without the metric last."""
        groups: dict[tuple[str, ...], list[Run]] = {}
        for run in self.known:
            groups.setdefault(tuple(run.setting(key) for key in self.factors), []).append(run)
        settings = [Setting(values, tuple(runs)) for values, runs in groups.items()]
        return sorted(settings, key=self._rank(lambda setting: setting.figure(self.metric)))

    @cached_property
    def ranked(self) -> list[Run]:
        """The runs, best first; those without the metric last."""
        return sorted(self.runs, key=self._rank(lambda run: figure_of([run], self.metric)))

    @property
    def repeated(self) -> bool:
        """Whether a setting has several runs."""
        return len(self.settings) < len(self.known)

    def unfinished(self) -> list[Run]:
        """Failed and half-written runs."""
        return [run for run in self.runs if run.status != DONE]

    def count(self, status: str) -> int:
        """How many runs have a status."""
        return sum(run.status == status for run in self.runs)

    def levels(self, factor: str) -> list[str]:
        """The values of a factor: numbers by value, words in the order of the runs."""
        values = list({run.setting(factor): None for run in self.known})
        try:
            return sorted(values, key=float)
        except ValueError:
            return values

    def cell(self, values: Sequence[str], name: str) -> tuple[Figure | None, list[Run]]:
        """A figure over all runs with these values of :attr:`axes`, and the runs."""
        chosen = [
            run
            for run in self.known
            if all(run.setting(key) == v for key, v in zip(self.axes, values, strict=True))
        ]
        return figure_of(chosen, name), chosen

    def _rank(self, figure: Callable[[object], Figure | None]) -> Callable[[object], tuple]:
        sign = -1 if more_is_better(self.metric) else 1

        def key(item: object) -> tuple:
            found = figure(item)
            return (found is None, sign * found.mean if found else 0.0)

        return key


def more_is_better(name: str) -> bool:
    """Of a figure's name."""
    return any(part in name for part in MORE_IS_BETTER)
